"""Run the unit tests with branch coverage and list the folders below a bound.

`python -m tools.coverage_report` runs all of them, further arguments are pytest's. The pages with every line are
written to `coverage/html` in the cache. The figure counts lines and branches. It leaves out processes that a test
starts, such as a command of the CLI, and all integration and lab tests. So it shows code that no unit test reaches, and
it is no gate: a line that runs is not a line that is checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from workstation import paths
from workstation.progress import say

BOUND_PERCENT = 80.0


def by_folder(files: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the covered percentage of lines and branches by folder, from coverage's figures of each file."""
    covered, total = Counter[str](), Counter[str]()
    for name, figures in files.items():
        folder, summary = str(PurePath(name).parent), figures["summary"]
        covered[folder] += summary["covered_lines"] + summary["covered_branches"]
        total[folder] += summary["num_statements"] + summary["num_branches"]
    return {folder: 100 * covered[folder] / count for folder, count in sorted(total.items()) if count}


def main(arguments: Sequence[str]) -> int:
    """Pass the arguments to pytest. Without any, run all unit tests. Returns pytest's exit code."""
    folder = paths.cache() / "coverage"
    folder.mkdir(parents=True, exist_ok=True)
    tests = _coverage(folder, "run", "-m", "pytest", "-q", *(arguments or ["tests/unit"]))
    _coverage(folder, "html", "--quiet", f"--directory={folder / 'html'}")
    _coverage(folder, "json", "--quiet", "-o", str(folder / "coverage.json"))
    report = json.loads((folder / "coverage.json").read_text(encoding="utf-8"))
    below = {name: percent for name, percent in by_folder(report["files"]).items() if percent < BOUND_PERCENT}
    for name, percent in below.items():
        print(f"{percent:5.1f} %  {name}")
    say(f"all: {report['totals']['percent_covered']:.1f} %; below {BOUND_PERCENT:g} %: {len(below)} folders")
    say(f"every line: {folder / 'html' / 'index.html'}")
    return tests


def _coverage(folder: Path, command: str, *arguments: str) -> int:
    argv = [sys.executable, "-m", "coverage", command, f"--data-file={folder / 'data'}", *arguments]
    return subprocess.run(argv, cwd=paths.repo(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
