"""The structure is held by tools, not by memory: import directions, types, lint, and that every test is collected."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*argv: str) -> None:
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}"


def test_imports_go_downwards_only() -> None:
    """The contracts of pyproject.toml hold."""
    run(str(BIN / "lint-imports"), "--no-cache")


def test_code_is_linted_and_formatted() -> None:
    """Ruff's rules of pyproject.toml hold everywhere."""
    run(str(BIN / "ruff"), "check", "--no-cache", ".")


@pytest.mark.parametrize("package", ["estate", "failover", "workstation"])
def test_types_are_strict(package: str, tmp_path: Path) -> None:
    """The packages that decide about data are fully typed."""
    run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), package)


def test_every_test_file_is_collected() -> None:
    """A test that pytest would not find by its name is a test that cannot fail."""
    strays = []
    for file in (REPO / "tests").rglob("*.py"):
        has_tests = any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        )
        if has_tests and not file.name.startswith("test_"):
            strays.append(str(file.relative_to(REPO)))
    assert not strays


def test_test_files_of_one_folder_have_their_own_names() -> None:
    """No test function hides another of the same name in its module."""
    doubles = []
    for file in (REPO / "tests").rglob("test_*.py"):
        names = [
            node.name
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        ]
        doubles += [f"{file.name}:{name}" for name in set(names) if names.count(name) > 1]
    assert not doubles


def test_importing_does_nothing() -> None:
    """No client, file or environment is touched by an import: importing all packages writes nothing and opens no socket."""
    packages = ["estate", "workstation", "playbooks", "monitors", "lab", "failover", "stacks", "cli"]
    code = (
        "import sys, importlib, pkgutil\n"
        "def hook(event, args):\n"
        "    if event in ('socket.connect', 'subprocess.Popen', 'os.mkdir'): raise SystemExit(f'{event} {args}')\n"
        "sys.addaudithook(hook)\n"
        f"for name in {packages!r}:\n"
        "    package = importlib.import_module(name)\n"
        "    for found in pkgutil.walk_packages(package.__path__, name + '.'):\n"
        "        last = found.name.rsplit('.', 1)[-1]\n"
        "        if last == '__main__' or '.library' in found.name or '.roles' in found.name or '.connection' in found.name: continue\n"
        "        importlib.import_module(found.name)\n"
    )
    run(sys.executable, "-c", code)
