"""Tools check the structure: import directions, types, lint, and that pytest collects every test."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from cli.testing import PARTS, SHORT, Run
from contracts import loader
from tests.collected import COLLECTED
from workstation import paths

BIN = Path(sys.executable).parent
IMPORTING = Path(__file__).with_name("importing.py")
PROJECT = tomllib.loads((paths.repo() / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PROJECT["tool"]["importlinter"]["root_packages"]
MAX_FUNCTION_LINES = 60
CLIENTS = [loader.folder(one.name) / one.synthetic.client for one in loader.contracts() if one.synthetic]
SERVICES = sorted(file.parent for file in (paths.repo() / "services").glob("*/src/*/__init__.py"))

SOURCES = [(paths.repo(), PACKAGES), *((folder.parent, [folder.name]) for folder in SERVICES)]
"""Each root of imports, with its packages."""
SOURCE_NAMES = ["operator", *(folder.name for folder in SERVICES)]


def run(*argv: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a tool on the checkout and return its output. A failure shows the output."""
    done = subprocess.run(argv, cwd=paths.repo(), capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, f"{' '.join(map(str, argv))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class FileOfTests:
    """Names of the test functions in a Python file under tests."""

    at_top: list[str]
    anywhere: list[str]
    """Also those in classes."""


@cache
def files_of_tests() -> Mapping[Path, FileOfTests]:
    """Return all Python files under tests."""
    trees = {file: ast.parse(file.read_text("utf-8")) for file in sorted((paths.repo() / "tests").rglob("*.py"))}
    return {file: FileOfTests(_tests_in(tree.body), _tests_in(ast.walk(tree))) for file, tree in trees.items()}


def _tests_in(nodes: Iterable[ast.AST]) -> list[str]:
    functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [name for name in functions if name.startswith("test_")]


def test_imports_go_downwards_only() -> None:
    """The contracts of pyproject.toml hold."""
    assert "0 broken" in run(BIN / "lint-imports", "--no-cache")


def module_name(file: Path, root: Path) -> str:
    """Return a file's module by its dotted name. A package's `__init__.py` has the package's name."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, known: Collection[str]) -> set[str]:
    """Return the known modules that a file imports anywhere, also in functions and only for types."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in inner}
    return found & set(known)


@cache
def tops_imported(folder: Path) -> set[str]:
    """Return the top-level packages that a Python file in the folder imports anywhere, without its own package."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - {folder.name}


@pytest.mark.parametrize("service", SERVICES, ids=lambda folder: folder.name)
def test_a_service_and_the_platform_do_not_import_each_other(service: Path) -> None:
    """A service's image contains only the dependencies of its own project, and no package of the platform."""
    assert tops_imported(service.parents[1]) & set(PACKAGES) == set()
    assert {package for package in PACKAGES if service.name in tops_imported(paths.repo() / package)} == set()


def cycle(root: Path, packages: Iterable[str]) -> list[str]:
    """Return the modules of an import cycle in their order, the first one also as the last. Empty if there is none."""
    known = {module_name(file, root): file for package in packages for file in (root / package).rglob("*.py")}
    try:
        TopologicalSorter({name: imports_of(file, known) - {name} for name, file in known.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize(("root", "packages"), SOURCES, ids=SOURCE_NAMES)
def test_no_modules_import_each_other(root: Path, packages: list[str]) -> None:
    """An import inside a function hides a cycle. Then neither module can be understood or moved without the other."""
    assert cycle(root, packages) == []


@pytest.mark.parametrize(
    "back",
    [
        "from package.first import act",
        "from package import first",
        "import package.first",
        "def later():\n    from package.first import act",
        "if TYPE_CHECKING:\n    from package.first import act",
    ],
)
def test_a_hidden_cycle_is_found(tmp_path: Path, back: str) -> None:
    """The check above can fail."""
    texts = {"__init__": "", "first": "from package import second", "second": back, "third": "import package.first"}
    (tmp_path / "package").mkdir()
    for name, text in texts.items():
        (tmp_path / "package" / f"{name}.py").write_text(text, encoding="utf-8")
    assert set(cycle(tmp_path, ["package"])) == {"package.first", "package.second"}


@pytest.mark.parametrize(("root", "packages"), SOURCES, ids=SOURCE_NAMES)
def test_a_function_fits_on_a_screen(root: Path, packages: list[str]) -> None:
    """60 lines at most. Ruff checks the number of parameters (8) in `test_code_is_linted`."""
    functions = [
        (module_name(file, root), node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for package in packages
        for file in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert functions
    assert [one for one in functions if one[2] > MAX_FUNCTION_LINES] == []


def test_one_module_locks_files() -> None:
    """Only a program that a host gets alone, without our packages, has its own lock."""
    files = [file.relative_to(paths.repo()) for package in PACKAGES for file in (paths.repo() / package).rglob("*.py")]
    locking = {file for file in files if re.search(r"\b(flock|lockf)\(", (paths.repo() / file).read_text("utf-8"))}
    assert {file for file in locking if "host_programs" not in file.parts} == {Path("workstation/file_lock.py")}


def test_one_module_uses_private_modules_of_pulumi() -> None:
    """Decision 0033 has the reason of each use. Ruff's SLF001 finds private members."""
    private = re.compile(r"^\s*(from|import) pulumi[\w.]*(\._| import _)", re.MULTILINE)
    files = [file for package in PACKAGES for file in (paths.repo() / package).rglob("*.py")]
    found = {file.relative_to(paths.repo()) for file in files if private.search(file.read_text(encoding="utf-8"))}
    assert found == {Path("stacks/runs/pulumi_private.py")}


def test_every_package_is_under_the_contracts() -> None:
    """A new folder with code belongs to a layer of the contracts and to the installed packages."""
    found = {folder.parent.name for folder in paths.repo().glob("*/__init__.py")}
    assert found == set(PACKAGES) == set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])


def test_code_is_linted() -> None:
    """Ruff's rules of pyproject.toml hold everywhere."""
    run(BIN / "ruff", "check", "--no-cache", ".")


def test_code_is_formatted() -> None:
    """`ruff format` would change nothing."""
    run(BIN / "ruff", "format", "--no-cache", "--check", ".")


def test_types_are_strict() -> None:
    """Every package is fully typed. Programs that run on the hosts' own Python are excluded."""
    assert set(PROJECT["tool"]["mypy"]["packages"]) == set(PACKAGES)
    run(sys.executable, "-m", "mypy")


def check_types(name: str, sources: Path, *argv: str | Path) -> None:
    """Run mypy with modules below `sources`. Each run has its own cache: another search path would invalidate it."""
    cache = Path(os.environ.get("MYPY_CACHE_DIR", ".mypy_cache")) / name
    environment = os.environ | {"MYPYPATH": str(sources), "MYPY_CACHE_DIR": str(cache)}
    run(sys.executable, "-m", "mypy", "--strict", *argv, env=environment)


@pytest.mark.parametrize("service", SERVICES, ids=lambda folder: folder.name)
def test_types_of_services_are_strict(service: Path) -> None:
    """A service is not installed here, so its sources are checked as a separate package."""
    check_types(f"service-{service.name}", service.parent, "-p", service.name)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda file: file.parents[1].name)
def test_types_of_synthetic_clients_are_strict(client: Path) -> None:
    """A synthetic client is copied next to the load generator, which imports it as one module."""
    check_types(f"client-{client.parents[1].name}", client.parents[1] / "src", client)


def test_every_test_file_is_collected() -> None:
    """A test in a file with a wrong name is never run, so it cannot fail."""
    found = {file: each.at_top for file, each in files_of_tests().items()}
    assert [file for file, names in found.items() if names and not file.name.startswith("test_")] == []
    assert [file for file, names in found.items() if file.name.startswith("test_") and not names] == []


def test_pytest_collects_every_test(pytestconfig: pytest.Config) -> None:
    """A class that pytest does not enter, or a function with another name, would never be run.

    This run has already collected most files. A second pytest collects the others, and files with a difference.
    """
    written = {str(file.relative_to(paths.repo())): set(each.anywhere) for file, each in files_of_tests().items()}
    here = pytestconfig.stash[COLLECTED]
    others = [file for file, names in written.items() if names != here.get(file, set())]
    there: dict[str, set[str]] = {file: set() for file in others}
    if others:
        listed = run(sys.executable, "-m", "pytest", "--collect-only", "-q", *others)
        for line in filter(lambda line: "::" in line, listed.splitlines()):
            file, *_, name = line.split("[")[0].split("::")
            there[file].add(name)
    assert there == {file: written[file] for file in others}


@pytest.mark.parametrize("tier", [SHORT, tuple(run for part in PARTS for run in part)], ids=["short", "nightly"])
def test_each_tier_runs_every_test_file_once(tier: tuple[Run, ...]) -> None:
    """The short tier leaves tests out by their mark, never by their file. No two parts of the nightly tier overlap."""
    files = [str(file.relative_to(paths.repo())) for file, each in files_of_tests().items() if each.at_top]
    assert {file: sum(_includes(one, file) for one in tier) for file in files} == dict.fromkeys(files, 1)


def _includes(one: Run, file: str) -> bool:
    """Return whether a run collects a test file. Its path is relative to the checkout."""

    def below(tops: tuple[str, ...]) -> bool:
        return any(f"{file}/".startswith(f"{top}/") for top in tops)

    return below(one.paths) and not below(one.ignored)


def test_no_test_hides_another() -> None:
    """If two functions in a module have the same name, only the second one runs."""
    found = {file: each.at_top for file, each in files_of_tests().items()}
    assert [(file, name) for file, names in found.items() for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize(("root", "packages"), SOURCES, ids=SOURCE_NAMES)
def test_importing_does_nothing(root: Path, packages: list[str]) -> None:
    """The import of a module creates no client, file or process and changes no environment variable."""
    run(sys.executable, "-B", IMPORTING, root, *packages)


def test_no_module_of_the_stacks_has_the_name_of_a_standard_module() -> None:
    """Plain `pulumi` puts that folder first on the path, so an import of Python's module would get ours."""
    assert not {path.stem for path in (paths.repo() / "stacks").iterdir()} & sys.stdlib_module_names


@pytest.mark.parametrize(
    ("body", "act"),
    [
        ("import os; os.mkdir('made')", "os.mkdir"),
        ("import os; os.environ['A'] = 'b'", "os.putenv"),
        ("open('made', 'w').close()", "open"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import httpx\ntry: httpx.get('http://127.0.0.1:9')\nexcept httpx.HTTPError: pass", "socket.connect"),
    ],
)
def test_an_import_that_acts_is_reported(tmp_path: Path, body: str, act: str) -> None:
    """The check above can fail."""
    for name, text in (("__init__.py", ""), ("below/__init__.py", ""), ("below/acting.py", body)):
        file = tmp_path / "package" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    argv = [sys.executable, "-B", str(IMPORTING), str(tmp_path), "package"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"acting.py: {act} " in done.stdout
