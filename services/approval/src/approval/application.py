"""An application as the citizen sends it. `parse` validates it once; all later code trusts the result."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, NoReturn

from approval.identity import (
    id_number_problem,
    is_synthetic,
    is_synthetic_mobile,
    name_problem,
    normal_mobile,
    text_problem,
)
from approval.problems import Problem

MAX_BODY_BYTES = 16 * 1024
LONGEST_UNIVERSITY = 60
LONGEST_EMPLOYER = 100
EARLIEST_GRADUATION = 1950

DISTRICTS = (
    "福田区",
    "罗湖区",
    "盐田区",
    "南山区",
    "宝安区",
    "龙岗区",
    "龙华区",
    "坪山区",
    "光明区",
    "大鹏新区",
)
"""Shenzhen's nine districts and the Dapeng New Area."""


class Level(StrEnum):
    """Academic degree. An applicant without a degree states NONE."""

    BACHELOR = "bachelor"
    MASTER = "master"
    DOCTOR = "doctor"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Degree:
    """The degree that the applicant states."""

    level: Level
    university: str
    graduated_year: int


@dataclass(frozen=True, kw_only=True)
class Application:
    """A valid application. `digest` is the SHA-256 of its canonical JSON `body` and identifies the request's body.

    `mobile` is the normalised number for the message about the decision, or None if the applicant gave none.
    """

    name: str
    id_number: str
    degree: Degree | None
    employer: str | None
    district: str
    synthetic: bool
    mobile: str | None
    digest: str
    body: str


def parse(raw: bytes, today: date) -> Application:
    """Parse the application in a request body. Raise Problem with the first error."""
    body = _object(raw)
    _members(body, {"name", "id_number", "degree", "employer", "district", "synthetic"}, "", optional={"mobile"})
    canonical = canonical_json(body)
    name = _text(body, "name", "name")
    _refuse(name_problem(name), "name")
    id_number = _text(body, "id_number", "id_number")
    _refuse(id_number_problem(id_number, today), "id_number")
    district = _text(body, "district", "district")
    _refuse(None if district in DISTRICTS else "district_unknown", "district")
    if not isinstance(body["synthetic"], bool):
        raise Problem("field_type", "synthetic")
    _refuse(None if body["synthetic"] == is_synthetic(id_number) else "synthetic_mismatch", "synthetic")
    employer = body["employer"]
    if employer is not None:
        _refuse(text_problem(_text(body, "employer", "employer"), LONGEST_EMPLOYER), "employer")
    return Application(
        name=name,
        id_number=id_number,
        degree=_degree(body["degree"], today),
        employer=employer,
        district=district,
        synthetic=body["synthetic"],
        mobile=_mobile(body),
        digest=hashlib.sha256(canonical.encode()).hexdigest(),
        body=canonical,
    )


def canonical_json(body: Any) -> str:
    """Return equal text for equal content: sorted members, no spaces, no escapes. Clients and the ledger use it too."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("body_encoding") from None
    try:
        body = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        canonical_json(body).encode()
    except (ValueError, RecursionError):
        raise Problem("body_malformed") from None
    if not isinstance(body, dict):
        raise Problem("field_type")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with a repeated member, because two readers could each use a different one."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _no_constant(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


def _members(body: dict[str, Any], expected: set[str], prefix: str, optional: Collection[str] = frozenset()) -> None:
    for name in sorted(set(body) - expected - set(optional)):
        raise Problem("field_unknown", prefix + _printable(name))
    for name in sorted(expected - set(body)):
        raise Problem("field_missing", prefix + name)


def _mobile(body: dict[str, Any]) -> str | None:
    """Parse the optional number. The member may be absent or null. A synthetic applicant has a synthetic number."""
    if body.get("mobile") is None:
        return None
    number = normal_mobile(_text(body, "mobile", "mobile"))
    if number is None:
        raise Problem("mobile_malformed", "mobile")
    _refuse(None if is_synthetic_mobile(number) == body["synthetic"] else "mobile_synthetic", "mobile")
    return number


def _printable(name: str) -> str:
    return ascii(name[:40])[1:-1]


def _text(body: dict[str, Any], member: str, field: str) -> str:
    value = body[member]
    if not isinstance(value, str):
        raise Problem("field_type", field)
    return value


def _refuse(code: str | None, field: str) -> None:
    if code is not None:
        raise Problem(code, field)


def _degree(value: Any, today: date) -> Degree | None:
    """Parse the degree. Return None for null, and for the level "none", whose other members may be null."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Problem("field_type", "degree")
    _members(value, {"level", "university", "graduated_year"}, "degree.")
    if value["level"] not in list(Level):
        raise Problem("degree_level", "degree.level")
    university, year = value["university"], value["graduated_year"]
    if university is not None:
        _refuse(text_problem(_text(value, "university", "degree.university"), LONGEST_UNIVERSITY), "degree.university")
    if year is not None and (isinstance(year, bool) or not isinstance(year, int)):
        raise Problem("field_type", "degree.graduated_year")
    if year is not None and not EARLIEST_GRADUATION <= year <= today.year + 1:
        raise Problem("degree_year", "degree.graduated_year")
    level = Level(value["level"])
    if level is Level.NONE:
        return None
    if university is None or year is None:
        raise Problem("degree_incomplete", "degree")
    return Degree(level=level, university=university, graduated_year=year)
