"""No source file outside `services/` names a service: the platform iterates over the contracts."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from contracts.loader import names
from tests.rules.test_architecture import PACKAGES
from workstation import paths

NAMED_ON_PURPOSE = {
    "estate/data/": "the city decides which services run, and where",
    "monitors/rules/tests/": "invented series of the alerts' test cases",
}
"""Folders with names of services, and the reason."""
REPORT = "texts of a drill's report, not the service"
EXCEPTIONS = {
    ("approval", "cli/testing.py"): "path of a test file that runs alone",
    ("messages", "failover/report/messages.py"): REPORT,
    ("messages", "failover/report/messages.yaml"): REPORT,
    ("messages", "failover/report/tiles.py"): REPORT,
    ("messages", "playbooks/host_programs/carrier_simulator.py"): "path of the carrier's API",
    ("messages", "playbooks/host_programs/database_bootstrap.py"): "a setting of PostgreSQL, client_min_messages",
}
"""The reason for each file that may contain a service's name, by service and path."""
TEXTS = (".yml", ".yaml", ".j2", ".sh", ".toml", ".cfg", ".service")


def sources() -> Iterator[str]:
    """Yield the paths of all source files of the platform, also of new ones that git does not know yet."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *PACKAGES]
    listed = subprocess.run(argv, cwd=paths.repo(), capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (paths.repo() / name).is_file() and not name.startswith(tuple(NAMED_ON_PURPOSE)):
            yield name


def found(service: str, path: str, text: str) -> list[str]:
    """Return the places in which a file names the service. Prose may contain the same English word."""
    named = [path] if _is_named_after(service, path) else []
    if service not in text.lower():
        return named
    if path.endswith(".py"):
        return named + [f"{path}:{line}: {word}" for line, word in _in_python(service, ast.parse(text))]
    if path.endswith(TEXTS):
        code = re.sub(r"(^|\s)#.*$", "", text, flags=re.MULTILINE)
        return named + [f"{path}: {word}" for word in _words(service, code)]
    return named


def _is_named_after(service: str, path: str) -> bool:
    stems = [PurePosixPath(part).stem for part in PurePosixPath(path).parts]
    return any(stem == service or stem.endswith(f"-{service}") for stem in stems)


def _words(service: str, text: str) -> list[str]:
    """Return the uses as a name: the whole text, or joined to other letters by a sign as in `approval_owner`."""
    joined = rf"(?<![a-z]){service}(?=[._/:-]\w)|(?<=[._/-]){service}(?![a-z])|(?<=[\"'=|]){service}(?=[\"'|])"
    matches = re.finditer(joined, text, re.IGNORECASE)
    return [service] if text.strip().lower() == service else [match.group() for match in matches]


def _in_python(service: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | statements:
            for word in _words(service, node.value):
                yield line, word
        for identifier in _identifiers(node):
            if re.match(rf"{service}_|{service.upper()}_|{service.capitalize()}(?![a-z])", identifier):
                yield line, identifier
        if isinstance(node, ast.ImportFrom) and any(alias.name == service for alias in node.names):
            yield line, f"import {service}"


def _identifiers(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.arg | ast.keyword) and node.arg:
        yield node.arg


@pytest.mark.parametrize("service", names())
def test_no_source_file_outside_services_names_a_service(service: str) -> None:
    """A second service would need a change in each of these files."""
    hits: dict[str, list[str]] = {}
    for name in sources():
        text = (paths.repo() / name).read_text(encoding="utf-8") if name.endswith((".py", *TEXTS)) else ""
        if places := found(service, name, text):
            hits[name] = places
    excused = {path for owner, path in EXCEPTIONS if owner == service}
    assert [place for name, places in hits.items() if name not in excused for place in places] == []
    assert excused <= hits.keys(), "an exception without a use"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("playbooks/render/tea.py", ""),
        ("playbooks/roles/tea/tasks/install.yml", ""),
        ("tools/image/requirements-tea.lock", ""),
        ("a.py", 'SERVICE = "tea"'),
        ("a.py", 'x = passwords["tea_owner"]'),
        ("a.py", 'x = f"anycast-{y} services/tea/src"'),
        ("a.py", 'rows = "SELECT key FROM tea.orders"'),
        ("a.py", 'x = {"TEA_LISTEN": 1}'),
        ("a.py", "x = passwords.tea_owner"),
        ("a.py", "class Tea: pass"),
        ("a.py", "class TeaArgs: pass"),
        ("a.py", "def run(*, tea_port: int) -> None: pass"),
        ("a.py", "from playbooks.render import tea"),
        ("a.yml", 'expr: up{job="tea"} == 0'),
        ("a.yml", 'expr: up{job=~"ingress|tea|disks"} == 0'),
        ("a.yml", "cmd: /opt/govcloud/tea/bin/python"),
    ],
)
def test_a_name_is_found(path: str, text: str) -> None:
    """The check can fail."""
    assert found("tea", path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", '"""Tea is a drink here, and tea_owner is not checked."""'),
        ("a.py", 'LIMIT = 1\n"""A text about tea_owner."""'),
        ("a.py", 'raise ValueError("no primary without a cup of tea")'),
        ("a.py", 'x = "steam"\nteams = 1  # tea-time'),
        ("a.yml", "# the service tea\nsummary: A cup of tea is late"),
        ("estate/teas.py", ""),
    ],
)
def test_an_english_word_is_no_name(path: str, text: str) -> None:
    assert found("tea", path, text) == []
