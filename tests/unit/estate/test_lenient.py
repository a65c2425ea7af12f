"""One mistake hides no other: the valid part of an estate is checked, and nothing is guessed about the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from estate import checks
from estate.loader import DATA, EstateError, load, parse
from estate.model import Estate
from estate.problems import Problem
from tests.unit.estate.documents import SOUND, Document, Refused, named, only
from tests.unit.estate.test_bad_fields import fields, parent


def refusal(path: Path) -> EstateError:
    """Return the error with which the estate is refused."""
    with pytest.raises(EstateError) as caught:
        load(path)
    return caught.value


@pytest.mark.parametrize("path", fields(), ids=lambda path: ".".join(map(str, path)))
def test_a_rule_reports_nothing_about_fields_that_it_cannot_read(
    document: Document, refused: Refused, path: tuple[str | int, ...]
) -> None:
    """An estate with one invalid field has exactly that problem, for every field."""
    parent(document, path)[path[-1]] = {"nonsense": object.__name__}
    assert {problem.key.replace("(", ".").split(".")[0] for problem in refused(document)} == {
        str(path[0]) + ("[0]" if len(path) > 1 and path[1] == 0 else "")
    }


def test_rules_are_checked_in_spite_of_a_wrong_type(document: Document, refused: Refused) -> None:
    """This holds for another section, another entry, and another field of the same entry."""
    document["sites"][0]["number"] = "one"
    document["sites"][0]["asn"] = 23456
    document["vantages"][0]["host"] = "futian-edge1"
    named(document["hosts"], "shaoguan-data1")["etcd_votes"] = 0
    keys = [problem.key for problem in refused(document)]
    assert {"sites[0](futian).number", "sites[0](futian).asn"} <= set(keys)
    assert any(key.startswith("vantages[0]") and key.endswith(".host") for key in keys)
    assert any("odd" in problem.message for problem in refused(document))


def test_a_problem_in_the_only_entry_does_not_make_the_list_empty(document: Document, refused: Refused) -> None:
    """The entry exists in spite of its problem."""
    document["services"][0]["number"] = "first"
    problems = refused(document)
    assert [problem.key for problem in problems] == ["services[0](approval).number"]


@pytest.mark.parametrize("entry", [1, None, "futian", []])
def test_an_entry_that_is_not_a_mapping_moves_no_other(document: Document, refused: Refused, entry: object) -> None:
    """Rules name entries by their position in the file."""
    document["hosts"].insert(0, entry)
    document["links"][2]["ends"] = ["futian-edge1", "futian-edge1"]
    keys = {problem.key for problem in refused(document)}
    assert "hosts[0]" in keys
    assert not any(key.startswith("hosts[") and key != "hosts[0]" for key in keys)


def test_the_number_of_waiting_rules_is_reported(document: Document, tmp_path: Path) -> None:
    """The author then knows that the list may be incomplete. A valid estate has no waiting rules."""
    document["hosts"][0]["at"] = 7
    file = tmp_path / "estate.yaml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    error = refusal(file)
    assert 0 < error.waiting < len(checks.RULES) + len(checks.COMPUTED)
    assert error.path == file


@pytest.mark.parametrize("broken", ["sites: [", "sites: []\nsites: []", "[]"])
def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path, broken: str) -> None:
    """Its sections are not reported as missing either."""
    for file in DATA.glob("*.yaml"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in tmp_path.glob("*.yaml")}
    (gone,) = (name for name, part in whole.items() if "sites" in part)
    (other,) = (name for name, part in whole.items() if "database" in part)
    (tmp_path / gone).write_text(broken, encoding="utf-8")
    text = (tmp_path / other).read_text(encoding="utf-8")
    (tmp_path / other).write_text(text.replace("ttl_s: 20", "ttl_s: soon"), encoding="utf-8")
    error = refusal(tmp_path)
    assert {Path(problem.file).name for problem in error.problems} == {gone, other}
    assert [problem.value for problem in error.problems if problem.key == "database.ttl_s"] == ["'soon'"]


def test_a_programming_error_in_a_rule_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the rule would accept an estate that it should refuse."""

    def mistaken(estate: Estate) -> Iterator[Problem]:
        yield estate.colour  # type: ignore[attr-defined]

    estate, source = parse()
    monkeypatch.setattr(checks, "RULES", (mistaken,))
    with pytest.raises(AttributeError, match="colour"):
        checks.check(estate, source)


def test_a_service_is_reached_once(document: Document, refused: Refused) -> None:
    """Its load generator would count twice."""
    document["vantages"][0]["reaches"] *= 2
    problem = only(refused(document), f"vantages[0]({document['vantages'][0]['name']}).reaches[1]")
    assert problem.message == "is listed twice; keep one"
    assert SOUND["vantages"][0]["reaches"] == ["approval"]
