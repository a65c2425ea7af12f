"""Files that a container image needs from the base image: packages with dependencies, and a service's environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT_PACKAGE = "python3"
NOT_AT_RUN_TIME = frozenset(
    {"adduser", "dpkg", "init-system-helpers", "lsb-base", "media-types", "readline-common"},
)
"""Dependencies that packages need for installation and configuration, but not at run time."""

MERGED = ("bin", "sbin", "lib", "lib64")
"""Directories that are links to the same name below /usr."""

NOT_IN_AN_IMAGE = re.compile(
    r"/(usr/share/(doc|man|lintian|applications|binfmts|pixmaps|python3)|usr/lib/valgrind"
    r"|usr/lib/python3[^/]*/(ensurepip|idlelib|lib2to3|pydoc_data|turtledemo|unittest/test|test))(/|$)"
)
NOT_IN_AN_ENVIRONMENT = re.compile(
    r"(^|/)(__pycache__|pip|pip-[^/]*|setuptools|setuptools-[^/]*|pkg_resources|_distutils_hack"
    r"|distutils-precedence\.pth)(/|$)|^bin/(?!python)|^include(/|$)"
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed package and its dependencies. Each dependency is a tuple of alternatives in their order."""

    name: str
    needs: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]


def packages(status: str) -> dict[str, Package]:
    """Return the installed packages by name, from the text of dpkg's status file."""
    found = {}
    for block in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            needs = [_names(group, "|") for key in ("Pre-Depends", "Depends") for group in _split(fields.get(key, ""))]
            provides = _names(fields.get("Provides", ""), ",")
            found[fields["Package"]] = Package(name=fields["Package"], needs=tuple(needs), provides=provides)
    return found


def closure(installed: Mapping[str, Package], root: str = ROOT_PACKAGE) -> tuple[str, ...]:
    """Return the package with all its run-time dependencies, sorted. Raises KeyError if it is not installed."""
    provided = {name: package.name for package in installed.values() for name in package.provides}
    seen: set[str] = set()
    ahead = [installed[root].name]
    while ahead:
        name = ahead.pop()
        if name in seen or name in NOT_AT_RUN_TIME:
            continue
        seen.add(name)
        for group in installed[name].needs:
            here = (one if one in installed else provided.get(one) for one in group)
            ahead += [one for one in here if one][:1]
    return tuple(sorted(seen))


def files(root: Path, wanted: tuple[str, ...]) -> tuple[PurePosixPath, ...]:
    """Return the real paths of the packages' files and links below `root`, sorted. Folders are not listed."""
    info = root / "var/lib/dpkg/info"
    found: set[PurePosixPath] = set()
    for name in wanted:
        lists = [path for path in info.glob(f"{name}*.list") if path.stem.split(":")[0] == name]
        for line in (line for path in lists for line in path.read_text().splitlines()):
            path = merged(line)
            real = root / path
            if not NOT_IN_AN_IMAGE.search(f"/{path}") and (real.is_symlink() or real.is_file()):
                found.add(path)
    return tuple(sorted(found))


def merged(line: str) -> PurePosixPath:
    """Return the relative path of a listed file: a file listed in /lib is in /usr/lib."""
    path = PurePosixPath(line.lstrip("/"))
    return PurePosixPath("usr") / path if path.parts and path.parts[0] in MERGED else path


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part.strip()]


def _names(text: str, separator: str) -> tuple[str, ...]:
    found = (re.sub(r"[\s(:].*", "", part.strip()) for part in text.split(separator))
    return tuple(name for name in found if name)
