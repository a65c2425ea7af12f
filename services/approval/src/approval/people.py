"""Realistic synthetic people: the same seed and number always give the same person.

This module uses only the standard library and imports nothing else from the package, because the load generator copies
this one file to a host that has nothing else. `person` returns the data in the registers (loaded by
`approval.registers`), `applicant` returns the request that a person sends. Both are derived from the same digest, so
they agree without communication.

Identity numbers start with 99, a region that no real number has, and are unique per seed for n < 4 000 000. Cities,
districts and universities are real. Names are combinations of common ones.

    python -m approval.people --seed 1 --count 3
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

GENERATOR = 1
"""Version of the generator. Increase it if the same seed gives different people, so that loaded registers count as
outdated."""

GRADUATED_FROM, GRADUATED_TO = 2024, 2026
"""First and last year of graduation in the generated admission plans."""

TEST_NUMBERS = "1540"
"""First digits of the mobile numbers of a lab's test population, in a segment that no operator has. A message to such a
number is sent only if the settings of both services allow it (`APPROVAL_DELIVER_SYNTHETIC`,
`MESSAGES_DELIVER_SYNTHETIC`)."""

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁"
    "沈任姚卢傅钟姜崔谭廖范汪陆金石戴贾韦夏邱方侯邹熊孟秦白江阎薛尹段雷黎史龙陶贺顾毛郝龚邵万钱严赖覃"
    "洪武莫孔"
)
_COMPOUND_SURNAMES = ("欧阳", "司徒", "上官", "诸葛", "东方", "皇甫")
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉梅建文斌宇浩凯健俊帆雪倩婷雨欣怡梓涵轩睿博思佳"
    "晨嘉昊子墨一诺泽语萱瑶琪彤颖慧琳楠萍红鹏飞翔龙志远海波云峰林森川岚晓东晴月星辰安宁乐康仁义信诚德"
    "才学立"
)
_TRANSLITERATED = ("阿依古丽·买买提", "迪丽努尔·艾合麦提", "艾力·吐尔逊", "古丽娜尔·阿不都", "巴特尔·苏和", "扎西·顿珠")
_UNIVERSITIES = (
    "深圳大学",
    "南方科技大学",
    "深圳技术大学",
    "哈尔滨工业大学（深圳）",
    "香港中文大学（深圳）",
    "中山大学",
    "华南理工大学",
    "暨南大学",
    "华南师范大学",
    "华南农业大学",
    "广东工业大学",
    "广州大学",
    "汕头大学",
    "清华大学",
    "北京大学",
    "武汉大学",
    "华中科技大学",
    "中南大学",
    "湖南大学",
    "厦门大学",
    "西安交通大学",
    "浙江大学",
    "南京大学",
    "复旦大学",
    "同济大学",
    "四川大学",
    "电子科技大学",
    "重庆大学",
    "吉林大学",
    "兰州大学",
)
_HOMES = (
    "广州市",
    "东莞市",
    "汕头市",
    "梅州市",
    "湛江市",
    "长沙市",
    "衡阳市",
    "武汉市",
    "黄冈市",
    "南昌市",
    "赣州市",
    "桂林市",
    "郑州市",
    "成都市",
    "西安市",
    "哈尔滨市",
)
_STREETS = {
    "福田区": ("莲花街道", "香蜜湖街道", "梅林街道", "沙头街道"),
    "罗湖区": ("东门街道", "翠竹街道", "笋岗街道"),
    "盐田区": ("沙头角街道", "海山街道"),
    "南山区": ("粤海街道", "西丽街道", "蛇口街道", "桃源街道"),
    "宝安区": ("新安街道", "西乡街道", "福永街道"),
    "龙岗区": ("坂田街道", "布吉街道", "龙城街道"),
    "龙华区": ("民治街道", "大浪街道", "观湖街道"),
    "坪山区": ("坪山街道", "坑梓街道"),
    "光明区": ("公明街道", "凤凰街道"),
    "大鹏新区": ("葵涌街道", "南澳街道"),
}
_EMPLOYERS = (
    "深圳市前海智联科技有限公司",
    "深圳市湾区生物医药有限公司",
    "深圳市鹏程精密制造有限公司",
    "深圳市云帆软件有限公司",
    "深圳市岭南建筑设计院",
    "深圳市第九人民医院",
)
_FIRST_BIRTH = date(1992, 1, 1)
_BIRTH_DAYS = 4000
_SEQUENCES = 1000
_SPACE = _BIRTH_DAYS * _SEQUENCES
_STRIDE = 1_618_033
"""Coprime with the space: consecutive people are born years apart, and no two people have the same number."""


class Case(Enum):
    """The special property of a person."""

    GRADUATE = "graduate"
    NO_DEGREE = "no degree"
    HOUSEHOLD = "has a household in Shenzhen already"
    DUPLICATE = "applies twice"
    UNKNOWN = "not in the population register"
    NAME_DIFFERS = "gives another name"
    DEGREE_DIFFERS = "gives another year of graduation"
    DEGREE_MISSING = "degree not recorded yet"
    CREDIT_LISTED = "has a credit record"
    CANCELLED = "registration cancelled"
    LONG_GRADUATED = "graduated long ago"


SHARES = {
    Case.GRADUATE: 900,
    Case.NO_DEGREE: 25,
    Case.HOUSEHOLD: 25,
    Case.DUPLICATE: 20,
    Case.UNKNOWN: 6,
    Case.NAME_DIFFERS: 6,
    Case.DEGREE_DIFFERS: 6,
    Case.DEGREE_MISSING: 4,
    Case.CREDIT_LISTED: 4,
    Case.CANCELLED: 2,
    Case.LONG_GRADUATED: 2,
}
"""People per thousand of each case."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """One resident in the registers. `level` is None without a recorded degree. `home` is the city of the household."""

    number: int
    case: Case
    id_number: str
    name: str
    level: str | None
    university: str
    graduated_year: int
    home: str
    address: str
    active: bool
    credit_listed: bool
    on_record: bool


class _Choices:
    """Successive choices of 16 bits each from one digest. It has 32 of them, which is enough for one person."""

    def __init__(self, seed: int, n: int) -> None:
        self._digest = hashlib.blake2b(f"{GENERATOR}:{seed}:{n}".encode(), digest_size=64).digest()
        self._at = 0

    def below(self, bound: int) -> int:
        """Return a number in 0 … bound - 1, for a bound far below 65 536."""
        value = int.from_bytes(self._digest[self._at : self._at + 2], "big")
        self._at += 2
        return value * bound >> 16

    def one(self, options: tuple[str, ...] | str) -> str:
        """Return one of the options."""
        return options[self.below(len(options))]


def id_number(seed: int, n: int) -> str:
    """Return the valid identity number of person n, in the unassigned region 99."""
    index = (n * _STRIDE + seed * 7919) % _SPACE
    born = _FIRST_BIRTH + timedelta(days=index // _SEQUENCES)
    first17 = f"99{seed % 10000:04d}{born:%Y%m%d}{index % _SEQUENCES:03d}"
    total = sum(int(digit) * weight for digit, weight in zip(first17, _WEIGHTS, strict=True))
    return first17 + "10X98765432"[total % 11]


def person(seed: int, n: int) -> Person:
    """Return person n of a seed with the data in the registers of the three agencies."""
    choose = _Choices(seed, n)
    case = _case(choose.below(1000))
    level = ("bachelor", "bachelor", "bachelor", "master", "master", "doctor")[choose.below(6)]
    year = GRADUATED_FROM + choose.below(GRADUATED_TO - GRADUATED_FROM + 1)
    district = choose.one(tuple(_STREETS))
    street = choose.one(_STREETS[district])
    home = "深圳市" if case is Case.HOUSEHOLD else choose.one(_HOMES)
    number = 1 + choose.below(300)
    return Person(
        number=n,
        case=case,
        id_number=id_number(seed, n),
        name=_name(choose),
        level=None if case in (Case.NO_DEGREE, Case.DEGREE_MISSING) else level,
        university=choose.one(_UNIVERSITIES),
        graduated_year=GRADUATED_FROM - 6 if case is Case.LONG_GRADUATED else year,
        home=home,
        address=f"深圳市{district}{street}{number}号" if home == "深圳市" else f"{home}{number}号",
        active=case is not Case.CANCELLED,
        credit_listed=case is Case.CREDIT_LISTED,
        on_record=case is not Case.UNKNOWN,
    )


def _case(per_thousand: int) -> Case:
    for case, share in SHARES.items():
        per_thousand -= share
        if per_thousand < 0:
            return case
    raise AssertionError("the shares of the cases add up to 1000")


def _name(choose: _Choices) -> str:
    kind = choose.below(100)
    if kind == 0:
        return choose.one(_TRANSLITERATED)
    surname = choose.one(_COMPOUND_SURNAMES) if kind < 3 else choose.one(_SURNAMES)
    given = choose.one(_GIVEN)
    return surname + given + (choose.one(_GIVEN) if kind < 80 else "")


def applicant(seed: int, n: int) -> dict[str, object]:
    """Return the request body that applicant n sends, ready to be serialised.

    It is deterministic, and consistent with registers that were loaded with the same seed and more than n people. An
    applicant of the case DUPLICATE repeats the application of the person just before, under another key.
    """
    who = person(seed, n)
    if who.case is Case.DUPLICATE and n > 0:
        return applicant(seed, n - 1)
    choose = _Choices(seed, -n - 1)
    name = _another_name(who.name) if who.case is Case.NAME_DIFFERS else who.name
    year = who.graduated_year - 1 if who.case is Case.DEGREE_DIFFERS else who.graduated_year
    degree: dict[str, object] = {"level": who.level or "bachelor", "university": who.university, "graduated_year": year}
    if who.case is Case.NO_DEGREE:
        nothing: dict[str, object] = {"level": "none", "university": None, "graduated_year": None}
        return _body(who, name, choose, nothing if choose.below(2) else None)
    return _body(who, name, choose, degree)


def _body(who: Person, name: str, choose: _Choices, degree: dict[str, object] | None) -> dict[str, object]:
    return {
        "name": name,
        "id_number": who.id_number,
        "degree": degree,
        "employer": choose.one(_EMPLOYERS) if choose.below(4) else None,
        "district": choose.one(tuple(_STREETS)),
        "synthetic": True,
    }


def _another_name(name: str) -> str:
    return ("李" if name[0] != "李" else "王") + name[1:]


def with_mobile(body: dict[str, object], n: int) -> dict[str, object]:
    """Return the request body with a mobile number of the test population. It is unique for n < 10 000 000."""
    return {**body, "mobile": f"{TEST_NUMBERS}{n:07d}"}


def applicants(seed: int, count: int, first: int = 0) -> Iterator[dict[str, object]]:
    """Return the request bodies of the applicants first … first + count - 1."""
    return (applicant(seed, n) for n in range(first, first + count))


def main(argv: list[str] | None = None) -> int:
    """Print one request body per line."""
    parser = argparse.ArgumentParser(
        prog="python -m approval.people", description="Synthetic applicants as JSON lines."
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first applicant")
    arguments = parser.parse_args(argv)
    for body in applicants(arguments.seed, arguments.count, arguments.first):
        print(json.dumps(body, ensure_ascii=False, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
