"""Malformed and malicious applications, each with the status, code and field of its refusal."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

JSON = "application/json"
Body = bytes | Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One hostile application. `make` builds its body from the form of a person who would be approved."""

    name: str
    make: Callable[[dict[str, Any]], Body]
    status: int
    code: str
    field: str = ""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", JSON),)


def _with(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda form: json.dumps(form | changes, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _degree(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda form: _with(degree=form["degree"] | changes)(form)


def _spelt(old: str, new: str) -> Callable[[dict[str, Any]], bytes]:
    """Return the form's JSON with one text replaced. No JSON encoder would produce it."""

    def make(form: dict[str, Any]) -> bytes:
        text = json.dumps(form, ensure_ascii=False)
        assert old in text
        return text.replace(old, new, 1).encode()

    return make


def _wrong_digit(form: dict[str, Any]) -> bytes:
    number = form["id_number"]
    return _with(id_number=number[:-1] + ("1" if number[-1] != "1" else "2"))(form)


def _full_width(form: dict[str, Any]) -> bytes:
    return _with(id_number=form["id_number"].translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789X"}))(form)


def _ten_megabytes(form: dict[str, Any]) -> bytes:
    return _with(employer="x" * 10_000_000)(form)


def _in_chunks(form: dict[str, Any]) -> Iterator[bytes]:
    body = _ten_megabytes(form)
    return (body[i : i + 65536] for i in range(0, len(body), 65536))


def _gzip_bomb(_: dict[str, Any]) -> bytes:
    """Return ten megabytes compressed to ten kilobytes."""
    return gzip.compress(b" " * 10_000_000)


def _case(name: str, make: Callable[[dict[str, Any]], Body], status: int, code: str, about: str = "") -> Hostile:
    return Hostile(name=name, make=make, status=status, code=code, field=about)


def _of_type(name: str, media_type: str) -> Hostile:
    headers = (("Content-Type", media_type),)
    return Hostile(name=name, make=_with(), status=415, code="content_type", field="Content-Type", headers=headers)


def _packed(encoding: str, make: Callable[[dict[str, Any]], Body]) -> Hostile:
    headers = (("Content-Type", JSON), ("Content-Encoding", encoding))
    return Hostile(
        name=f"packed by {encoding}",
        make=make,
        status=415,
        code="content_encoding",
        field="Content-Encoding",
        headers=headers,
    )


YEAR = '"graduated_year": '
HOSTILE = (
    _case("half a JSON", lambda form: _with()(form)[:-10], 400, "body_malformed"),
    _case("JSON with a comma too many", _spelt('"synthetic"', ', "synthetic"'), 400, "body_malformed"),
    _case("two JSONs", lambda form: _with()(form) * 2, 400, "body_malformed"),
    _case("GBK", lambda form: json.dumps(form, ensure_ascii=False).encode("gbk"), 400, "body_encoding"),
    _case("UTF-16", lambda form: json.dumps(form).encode("utf-16"), 400, "body_encoding"),
    _case("overlong UTF-8", lambda form: _with()(form).replace(b"/", b"\xc0\xaf") + b"\xc0\x80", 400, "body_encoding"),
    _case("a member twice", _spelt('"synthetic"', '"name": "张三", "synthetic"'), 400, "body_malformed"),
    _case("a member of the degree twice", _spelt(YEAR, f"{YEAR}2020, {YEAR}"), 400, "body_malformed"),
    _case("NaN", _degree(graduated_year=float("nan")), 400, "body_malformed"),
    _case("Infinity", _degree(graduated_year=float("inf")), 400, "body_malformed"),
    _case("a number that is infinite", _spelt(YEAR, f'{YEAR}1e999, "x": '), 422, "field_unknown", "degree.x"),
    _case("a year that is infinite", lambda form: _degree(graduated_year="@")(form).replace(b'"@"', b"1e999"),
          422, "field_type", "degree.graduated_year"),
    _case("an integer of 30 digits", _degree(graduated_year=10**30), 422, "degree_year", "degree.graduated_year"),
    _case("an integer of 10 000 digits", lambda form: _degree(graduated_year="@")(form).replace(b'"@"', b"9" * 10_000),
          400, "body_malformed"),
    _case("a negative year", _degree(graduated_year=-1), 422, "degree_year", "degree.graduated_year"),
    _case("a year with a fraction", _degree(graduated_year=2020.5), 422, "field_type", "degree.graduated_year"),
    _case("nested arrays", lambda _: b"[" * 16_000, 400, "body_malformed"),
    _case("nested objects", lambda form: b'{"a":' * 2500 + b"1" + b"}" * 2500, 400, "body_malformed"),
    _case("a nested member", lambda form: _with(employer="@")(form).replace(b'"@"', b"[" * 7000 + b"]" * 7000),
          400, "body_malformed"),
    _case("a lone surrogate, escaped", lambda form: json.dumps(form | {"name": "张\ud800"}).encode(),
          400, "body_malformed"),
    _case("a lone surrogate, encoded", _with(name="张\ud800"), 400, "body_encoding"),
    _case("NUL in the name", _with(name="张\0三"), 422, "name_control", "name"),
    _case("NUL in the employer", _with(employer="公司\0"), 422, "text_control", "employer"),
    _case("NUL in the district", _with(district="南山区\0"), 422, "district_unknown", "district"),
    _case("NUL unescaped", lambda form: _with()(form).replace(b'"synthetic"', b'"synthetic\0"'), 400, "body_malformed"),
    _case("NUL in a member's name", _with(**{"name\0": "x"}), 422, "field_unknown", "name\\x00"),
    _case("a member named for a prototype", _with(__proto__={"a": 1}), 422, "field_unknown", "__proto__"),
    _case("a wrong check digit", _wrong_digit, 422, "id_number_check_digit", "id_number"),
    _case("a full-width number", _full_width, 422, "id_number_malformed", "id_number"),
    _case("a number as a number", _with(id_number=110101199003074514), 422, "field_type", "id_number"),
    _case("a name of 41", _with(name="张" * 41), 422, "name_length", "name"),
    _case("a name of 5 000", _with(name="张" * 5000), 422, "name_length", "name"),
    _case("an employer of 101", _with(employer="司" * 101), 422, "text_length", "employer"),
    _case("a university of 61", _degree(university="大" * 61), 422, "text_length", "degree.university"),
    _case("a name in Cyrillic", _with(name="Иван"), 422, "name_characters", "name"),
    _case("a homoglyph radical", _with(name="张⼀"), 422, "name_lookalike", "name"),
    _case("a compatibility ideograph", _with(name="張\uf92f"), 422, "name_lookalike", "name"),
    _case("a full-width name", _with(name="Ｚｈａｎｇ"), 422, "name_lookalike", "name"),
    _case("another middle dot", _with(name="阿卜杜拉・艾山"), 422, "name_dot", "name"),
    _case("a zero-width space", _with(name="张\u200b三"), 422, "name_control", "name"),
    _case("a zero-width joiner", _with(name="张\u200d三"), 422, "name_control", "name"),
    _case("a byte order mark within", _with(name="张\ufeff三"), 422, "name_control", "name"),
    _case("a text turned around", _with(employer="深圳\u202e司公"), 422, "text_control", "employer"),
    _case("a list for a form", lambda form: json.dumps([form]).encode(), 422, "field_type"),
    _case("lists in a form", lambda form: json.dumps({name: [] for name in form}).encode(), 422, "field_type", "name"),
    _case("SQL for a district", _with(district="'; DROP TABLE application; --"), 422, "district_unknown", "district"),
    _case("16 KB and a byte", lambda _: b" " * (16 * 1024 + 1), 413, "body_too_large"),
    _case("10 MB with a Content-Length", _ten_megabytes, 413, "body_too_large"),
    _case("10 MB in chunks", _in_chunks, 413, "body_too_large"),
    _case("nothing", lambda _: b"", 400, "body_malformed"),
    _case("null", lambda _: b"null", 422, "field_type"),
    _case("a byte order mark before", lambda form: b"\xef\xbb\xbf" + _with()(form), 400, "body_malformed"),
    _case("an object for a name", _with(name={"$ne": ""}), 422, "field_type", "name"),
    _case("a name turned around", _with(name="王\u202e芳"), 422, "name_control", "name"),
    _case("a district of 400 digits", _with(district=10**400), 422, "field_type", "district"),
    _packed("gzip", _gzip_bomb),
    _packed("br", _with()),
    _packed("gzip, identity", _with()),
    _of_type("a form's content type", "application/x-www-form-urlencoded"),
    _of_type("plain text", "text/plain;charset=UTF-8"),
    _of_type("XML", "application/xml"),
    _of_type("another charset", "application/json; charset=gbk"),
    _of_type("no media type at all", "nonsense"),
)  # fmt: skip
