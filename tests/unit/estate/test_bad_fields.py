"""An unknown or missing field, or a wrong type, is refused with file, key path, value and next step."""

from __future__ import annotations

from typing import Any

import pytest

from estate.field_types import PATTERN_MESSAGES
from estate.model import Estate
from tests.unit.estate.documents import SOUND, Document, Refused, named, only

WRONG = "[a list where none belongs]"


def leaves(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the key paths of all fields in the document, only for the first entry of each list."""
    if isinstance(node, dict):
        return [p for key, value in node.items() for p in [(*path, key), *leaves(value, (*path, key))]]
    if isinstance(node, list) and node and isinstance(node[0], dict):
        return leaves(node[0], (*path, 0))
    return []


def fields() -> list[tuple[str | int, ...]]:
    """Return all fields of an estate."""
    return leaves(SOUND)


def parent(document: Document, path: tuple[str | int, ...]) -> Any:
    """Return the container of the last part of the path."""
    node: Any = document
    for part in path[:-1]:
        node = node[part]
    return node


def required() -> list[tuple[str | int, ...]]:
    """Return the fields without a default."""
    optional = {
        "cpus",
        "memory_mib",
        "etcd_votes",
        "database",
        "disk",
        "platform",
        "address",
        "user",
        "nested",
        "cgroups",
    }
    optional |= {"kubernetes", "clusters"}
    found = [
        path
        for path in fields()
        if path[-1] not in ("ready", "gateway")
        and path[0] != "carrier"
        and not (path[0] in ("hosts", "kubernetes") and path[-1] in optional)
    ]
    assert len(found) > 50
    return found


@pytest.mark.parametrize("path", required(), ids=lambda path: ".".join(map(str, path)))
def test_a_missing_field_is_named(document: Document, refused: Refused, path: tuple[str | int, ...]) -> None:
    """Every field without a default is required."""
    del parent(document, path)[path[-1]]
    found = [p for p in refused(document) if p.key.endswith(str(path[-1]))]
    assert found
    assert found[0].key.startswith(str(path[0]))
    assert found[0].message == "is missing; add it"


@pytest.mark.parametrize("path", fields(), ids=lambda path: ".".join(map(str, path)))
def test_a_field_of_the_wrong_type_is_named_with_its_value(
    document: Document, refused: Refused, path: tuple[str | int, ...]
) -> None:
    """No field takes a mapping of something else, and none is silently turned into what was meant."""
    parent(document, path)[path[-1]] = {"nonsense": WRONG}
    found = [p for p in refused(document) if p.key.startswith(str(path[0]))]
    assert any("nonsense" in p.value or WRONG in p.value for p in found)
    assert all(p.message for p in found)


@pytest.mark.parametrize(
    ("section", "misspelt", "meant"),
    [("sites", "asm", "asn"), ("links", "delay_mss", "delay_ms"), ("hosts", "etcd_vote", "etcd_votes")],
)
def test_an_unknown_field_is_named_with_the_nearest_known_one(
    document: Document, refused: Refused, section: str, misspelt: str, meant: str
) -> None:
    """A misspelt field is reported with the name that was probably intended."""
    name = document[section][0]["name"]
    document[section][0][misspelt] = 1
    problem = only(refused(document), f"{section}[0]({name}).{misspelt}")
    assert problem.value == "1"
    assert f"did you mean '{meant}'" in problem.message


def mappings() -> list[tuple[str | int, ...]]:
    """Key paths of every mapping with declared fields; in the others each key is a site's name."""
    return sorted({path[:-1] for path in fields()} - BY_SITE, key=str)


BY_SITE: set[tuple[str | int, ...]] = {("services", 0, "pods", "replicas")}


@pytest.mark.parametrize("path", mappings(), ids=lambda path: ".".join(map(str, path)) or "top")
def test_an_unknown_field_is_refused_in_every_mapping(
    document: Document, refused: Refused, path: tuple[str | int, ...]
) -> None:
    """Nothing that somebody wrote is passed over in silence."""
    parent(document, (*path, "colour"))["colour"] = "red"
    found = [problem for problem in refused(document) if problem.key.endswith("colour")]
    assert len(found) == 1
    assert "unknown field" in found[0].message


def test_an_unknown_section_is_refused(document: Document, refused: Refused) -> None:
    """No top-level key is ignored."""
    document["colours"] = ["red"]
    problem = only(refused(document), "colours")
    assert problem.value == "['red']"
    assert "unknown field" in problem.message


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("sites", "asn", "4200000001"),
        ("sites", "asn", 1.5),
        ("sites", "number", True),
        ("links", "delay_ms", "12"),
        ("links", "bandwidth_mbit", True),
        ("hosts", "database", "yes"),
        ("hosts", "etcd_votes", 2),
        ("hosts", "cpus", float("inf")),
        ("peers", "prefix4", 3221225985),
    ],
)
def test_no_value_is_coerced(document: Document, refused: Refused, section: str, field: str, value: object) -> None:
    """Text is not a number, a number is not an address, and `yes` is not true."""
    document[section][0][field] = value
    problem = only(refused(document), f"{section}[0]({document[section][0]['name']}).{field}")
    assert repr(value) in problem.value


@pytest.mark.parametrize(
    "name", ["Futian", "福田", "futian-", "-futian", "fu tian", "ｆｕｔｉａｎ", "futiаn", "x" * 40, ""]
)
def test_a_name_is_plain(document: Document, refused: Refused, name: str) -> None:
    """Capital, full-width and homoglyph letters are refused: names become host names and interfaces."""
    document["sites"][0]["name"] = name
    assert any(p.key.endswith(".name") and p.key.startswith("sites[0]") for p in refused(document))


def test_several_problems_are_reported_together(document: Document, refused: Refused) -> None:
    """The author sees the next problem without correcting the first one."""
    document["sites"][0]["asn"] = 0
    document["links"][0]["delay_ms"] = -1
    named(document["hosts"], "citizen1")["kind"] = "visitor"
    keys = {problem.key for problem in refused(document)}
    assert {"sites[0](futian).asn", "links[0](city-a).delay_ms", "hosts[15](citizen1).kind"} <= keys


def patterns(node: Any) -> set[str]:
    """Return all patterns of a JSON schema, also those of keys."""
    if isinstance(node, list):
        return set().union(*map(patterns, node))
    if not isinstance(node, dict):
        return set()
    own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
    keys = set(node["patternProperties"]) if isinstance(node.get("patternProperties"), dict) else set()
    return own | keys | set().union(*map(patterns, node.values()))


def test_every_pattern_has_a_message() -> None:
    """The author of a wrong value must not have to read a regular expression."""
    assert patterns(Estate.model_json_schema()) == set(PATTERN_MESSAGES)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: d["hosts"][0].update(cpus=float("nan")), "must be a number, neither infinite nor .nan"),
        (lambda d: d["hosts"][0].update(cpus=float("inf")), "must be a number, neither"),
        (lambda d: d["hosts"][0].update(cpus=1025), "must be at most 1024;"),
        (lambda d: d["hosts"][0].update(cpus=0), "must be greater than 0"),
        (lambda d: d["hosts"][0].update(cpus="two"), "must be a number without quotes"),
        (lambda d: d["hosts"][0].update(number=1.5), "must be a whole number without quotes"),
        (lambda d: d["hosts"][0].update(kind="visitor"), "must be one of 'edge', 'kube'"),
        (lambda d: d["hosts"][0].update(database=1.0), "must be true or false"),
        (lambda d: d["hosts"][0].update(platform={"cgroups": "v3"}), "must be 'v1' or 'v2'"),
        (
            lambda d: d["hosts"][0].update(platform={"address": "10.0.0.0/8"}),
            "must be an IPv4 address",
        ),
        (lambda d: d["hosts"][0].update(platform="vm"), "must be a mapping with keys and values"),
        (lambda d: d["sites"][0]["title"].update(en=""), "must have a text that is not empty"),
        (lambda d: d["sites"][0]["title"].update(en="x" * 61), "must have at most 60 characters"),
        (lambda d: d["links"][0].update(ends=["futian-edge1"]), "is missing; add it"),
        (lambda d: d["links"][0].update(ends=["a", "b", "c"]), "must have at most 2 entries"),
        (lambda d: d["services"][0]["pods"].update(replicas=2), "must be a mapping with keys and values"),
        (lambda d: d["services"][0]["objectives"].update(availability=1), "must be less than 1"),
        (lambda d: d["vantages"][0].update(reaches=[]), "must have an entry"),
        (lambda d: d["peers"][0].update(managed_by="fr"), "must be 'peer'"),
        (lambda d: d["networks"]["sites"].update(ipv4="10.0.0.1/8"), "is not an IPv4 prefix"),
        (lambda d: d["networks"]["sites"].update(ipv6=1), "must be text such as"),
    ],
)
def test_every_reason_is_in_plain_words(document: Document, refused: Refused, spoil: Any, reason: str) -> None:
    """The message has the next step and no term of the validation library."""
    spoil(document)
    (problem,) = refused(document)
    assert problem.message.startswith(reason), problem.message
    assert problem.message.endswith(("correct it", "remove it", "add it")) or ";" in problem.message
    assert not any(word in problem.message for word in ("Input", "Value error", "valid", "min_length", "None"))
