"""The coverage report: figures of files become figures of folders, and a failed test is not hidden."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import coverage_report


def figures(statements: int, lines: int, branches: int = 0, taken: int = 0) -> dict[str, Any]:
    """Return coverage's figures of one file."""
    counts = {"num_statements": statements, "covered_lines": lines, "num_branches": branches, "covered_branches": taken}
    return {"summary": counts}


FILES = {
    "lab/api.py": figures(8, 8, branches=2, taken=1),
    "lab/__init__.py": figures(0, 0),
    "lab/sub/deep.py": figures(10, 2),
    "facts/__init__.py": figures(0, 0),
}


def test_a_folder_counts_lines_and_branches_of_its_own_files() -> None:
    """A folder without statements has no percentage."""
    assert coverage_report.by_folder(FILES) == {"lab": 90.0, "lab/sub": 20.0}


def test_the_report_lists_folders_below_the_bound_and_passes_the_tests_result_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written outside the cache."""
    monkeypatch.setenv("GOVCLOUD_CACHE", str(tmp_path))
    called: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        called.append(argv)
        if "json" in argv:
            report = {"files": FILES, "totals": {"percent_covered": 55.0}}
            Path(argv[-1]).write_text(json.dumps(report), encoding="utf-8")
        return subprocess.CompletedProcess(argv, 1 if "pytest" in argv else 0)

    monkeypatch.setattr("tools.coverage_report.subprocess.run", run)
    assert coverage_report.main(["tests/unit/lab"]) == 1
    assert capsys.readouterr().out == " 20.0 %  lab/sub\n"
    assert called[0][-1] == "tests/unit/lab"
    assert all(f"--data-file={tmp_path / 'coverage' / 'data'}" in argv for argv in called)
