"""Each drill is one short module with its texts in both languages, a test, and a line in the documents."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from failover.drills import DRILLS, Drill, scenarios
from failover.drills.fault import Fault
from failover.drills.faults import UNDOABLE
from failover.words import FaultWords, Text
from workstation import paths

FOLDER = Path(scenarios.__path__[0])
LONGEST = 60
"""Lines of a drill's module. A longer one repeats what belongs to `failover/drills/steps.py`."""
MODULES = sorted(file for file in FOLDER.glob("*.py") if file.name != "__init__.py")
CHINESE = re.compile("[一-鿿]")


def module_of(drill: Drill) -> ModuleType:
    return importlib.import_module(f"{scenarios.__name__}.{drill.name.replace('-', '_')}")


def missing_languages(text: Text) -> list[str]:
    """Return what is wrong with a text's languages."""
    placeholders = [set(re.findall(r"\{(\w+)\}", each)) for each in (text.zh, text.en)]
    return [
        *(["no Chinese"] if not CHINESE.search(text.zh) else []),
        *(["no English"] if not text.en.strip() or CHINESE.search(text.en) else []),
        *(["other values"] if placeholders[0] != placeholders[1] else []),
    ]


def test_every_module_is_a_drill_of_its_name() -> None:
    assert [file.stem.replace("_", "-") for file in MODULES] == [drill.name for drill in DRILLS]
    assert all(module_of(drill).DRILL is drill for drill in DRILLS)


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_a_drill_is_short(drill: Drill) -> None:
    file = Path(str(module_of(drill).__file__))
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_a_drill_has_a_test_and_a_line_in_the_documents(drill: Drill) -> None:
    test = paths.repo() / "tests" / "integration" / "failover" / f"test_{drill.name.replace('-', '_')}.py"
    assert test.is_file()
    page = (paths.repo() / "docs" / "drill-report.md").read_text(encoding="utf-8")
    assert len(re.findall(rf"^\| `{drill.name}` \|", page, re.MULTILINE)) == 1, "one row in the table of drills"
    lab = (paths.repo() / "tests" / "lab" / "test_drills.py").read_text(encoding="utf-8")
    assert f'"{drill.name}"' in lab, "it runs on the lab"


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_a_drill_has_its_texts_in_both_languages(drill: Drill) -> None:
    assert missing_languages(drill.summary) == []
    assert missing_languages(Text(zh=drill.title.zh, en=drill.title.en)) == []


@pytest.mark.parametrize("fault", Fault.__subclasses__(), ids=lambda fault: fault.__name__)
def test_a_fault_has_its_words_in_both_languages(fault: type[Fault]) -> None:
    wrong = {name: missing_languages(getattr(fault.words, name)) for name in FaultWords.__dataclass_fields__}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_a_text_without_a_language_is_found() -> None:
    """The check above can fail."""
    assert missing_languages(Text(zh="cut", en="")) == ["no Chinese", "no English"]
    assert missing_languages(Text(zh="线路 {target}", en="a link")) == ["other values"]


def test_every_fault_with_an_undo_can_be_undone_by_a_later_run() -> None:
    """Its kind in the journal is unique and is listed. Kinds of old journals stay known."""
    with_undo = {fault for fault in Fault.__subclasses__() if fault.undo_kind}
    assert set(UNDOABLE) == with_undo
    kinds = [fault.undo_kind for fault in UNDOABLE]
    assert len(kinds) == len(set(kinds))
    assert {"power_on", "heal_link"} <= set(kinds)
