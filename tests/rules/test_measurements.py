"""The page of measured figures agrees with its data files. Bad data is refused with file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from estate.problems import EstateError
from tools import measurements

SOUND = """\
title: Lab
command: "`./govcloud lab up`"
figures:
  start: {name: Start, unit: s, goal: {at_most: 30}}
  free: {name: Free memory, unit: MiB, goal: {at_least: 100}}
  size: {name: Size, unit: MB}
runs:
  - {date: 2026-11-23, conditions: quiet, values: {start: 40, free: [90, 120]}}
  - {date: 2026-11-24, conditions: busy, values: {start: [8.6, 4.4]}}
"""


def load(folder: Path, text: str) -> measurements.Topic:
    """Return the one topic that the text declares. Raise `EstateError` for bad data."""
    (folder / "lab.yaml").write_text(text, encoding="utf-8")
    return measurements.load(folder)["lab.yaml"]


def test_the_page_matches_the_data_files() -> None:
    """Run `python -m tools.measurements` after a change of `docs/measurements/`."""
    assert measurements.PAGE.read_text(encoding="utf-8") == measurements.page(measurements.load())


def test_the_newest_run_decides_and_every_value_of_it_counts(tmp_path: Path) -> None:
    """A goal may be an upper or a lower limit. A figure without a goal has no verdict."""
    topic = load(tmp_path, SOUND)
    assert {key: measurements.result(topic, key) for key in topic.figures} == {
        "start": "met",
        "free": "missed",
        "size": "not measured",
    }
    page = measurements.page({"lab.yaml": topic})
    assert "| Start | ≤ 30 s | 8.6 s (best 4.4 s) | met | 2026-11-24 | a |" in page
    assert "| Free memory | ≥ 100 MiB | 90 MiB (best 120 MiB) | **missed** | 2026-11-23 | b |" in page
    assert "2 goals: 1 met, 1 missed, 0 not measured." in page


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(2663, "s", "44 min 23 s"), (490.8, "s", "8 min 10.8 s"), (240, "s", "4 min"), (119.9, "s", "119.9 s")],
)
def test_a_quantity_is_never_rounded(value: float, unit: str, shown: str) -> None:
    """Longer times are in minutes, with all digits of the seconds."""
    assert measurements.quantity(value, unit) == shown


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("start: 40", "start: fast", "runs.0.values.start"),
        ("start: 40", "stop: 40", "runs.0.values: stop"),
        ("at_most: 30", "at_most: 30, at_least: 3", "figures.start.goal"),
        ("at_most: 30", "about: 30", "figures.start.goal.about"),
        ("2026-11-24", "2026-11-22", "runs.1.date"),
        ("2026-11-24", "soon", "runs.1.date"),
        ("conditions: busy, ", "", "runs.1.conditions"),
        ("conditions: busy", "conditions: a | b", "runs.1.conditions"),
        ("title: Lab\n", "", "title"),
        ("title: Lab\n", "title: Lab\ntitle: Lab\n", "'title'"),
        ("runs:", "runs: [", "line"),
    ],
)
def test_bad_data_is_refused_with_file_and_key(tmp_path: Path, before: str, after: str, key: str) -> None:
    """No value is guessed."""
    assert before in SOUND
    with pytest.raises(EstateError) as caught:
        load(tmp_path, SOUND.replace(before, after))
    assert str(caught.value).startswith(f"{tmp_path / 'lab.yaml'}: ")
    assert key in str(caught.value)


def test_the_command_reports_bad_data_and_does_not_change_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m tools.measurements` ends with 1."""
    monkeypatch.setattr(measurements, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(measurements, "DATA", tmp_path)
    (tmp_path / "lab.yaml").write_text("title: Lab\n", encoding="utf-8")
    assert measurements.main() == 1
    assert "lab.yaml: figures" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
