"""Checks of the machine before any change. Each missing prerequisite is one sentence; all are reported together."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tools import command, golang, kernel_features, wheels
from workstation import paths
from workstation.errors import GovcloudError

GIB = 1 << 30
MEMORY_GIB = 8
"""Available memory that the whole estate may use."""
DISK_GIB = 25
"""Free disk space for a first setup: builds, image, machines' disks and evidence. Later setups need only
`DISK_READY_GIB`."""
DISK_READY_GIB = 8
SMALL_MODULE, SMALL_VERSION = "golang.org/x/sync", "v0.20.0"
"""Module that is requested to check a module proxy."""
ANSWER_S = 20


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Measured facts of this machine; sizes in bytes. `disk_path` is the folder whose file system was measured."""

    root: bool
    debian: bool
    memory: int
    disk: int
    disk_path: str
    kernel_lacks: tuple[str, ...]


def problems(facts: Facts, *, disk_gib: int, before_lab: int = 0) -> tuple[str, ...]:
    """Return one sentence for each missing prerequisite; empty if the machine has all of them.

    `before_lab`: available bytes of memory before the running lab was started, 0 without a lab. The memory of a running
    lab counts as available, because it is the memory that this check is for.
    """
    if not facts.root:
        return ("Root is needed: the lab makes machines, mounts and networks. Run it with sudo.",)
    found = []
    if not facts.debian:
        found.append("apt-get is needed: machines are made of Debian packages, and this system has none.")
    memory = max(facts.memory, before_lab)
    if memory < MEMORY_GIB * GIB:
        found.append(f"{MEMORY_GIB} GiB of available memory are needed, {memory / GIB:.1f} GiB are there.")
    if facts.disk < disk_gib * GIB:
        free = f"{disk_gib} GiB of free disk are needed, {facts.disk / GIB:.1f} GiB are there at {facts.disk_path}"
        found.append(f"{free}; GOVCLOUD_CACHE and GOVCLOUD_HOME can name another place.")
    for feature in facts.kernel_lacks:
        found.append(f"The kernel lacks {feature}: load its module or use a kernel that has it.")
    return tuple(found)


def measure() -> Facts:
    """Measure this machine in about 0.1 s."""
    root = os.geteuid() == 0
    places = [_existing(paths.cache()), _existing(paths.home())]
    disk, place = min((shutil.disk_usage(path).free, str(path)) for path in places)
    return Facts(
        root=root,
        debian=shutil.which("apt-get") is not None,
        memory=available_memory(Path("/proc/meminfo").read_text()),
        disk=disk,
        disk_path=place,
        kernel_lacks=kernel_features.missing() if root else (),
    )


def available_memory(meminfo: str) -> int:
    """Return the available bytes from the text of /proc/meminfo."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def check(*, disk_gib: int, before_lab: int) -> None:
    """Raise GovcloudError with every missing prerequisite of this machine."""
    if found := problems(measure(), disk_gib=disk_gib, before_lab=before_lab):
        raise GovcloudError("\n".join(found), "nothing was changed")


def check_registries(*, debian: bool, python: bool, go: bool) -> None:
    """Fetch a small file from each needed registry into a temporary folder. Raises GovcloudError if one fails."""
    with tempfile.TemporaryDirectory(prefix="govcloud-") as folder:
        found = []
        if debian and not _debian_answers(folder):
            found.append("No Debian mirror answers: check the machine's apt sources and proxy with `apt-get update`.")
        if python and not _python_answers(folder):
            found.append("No Python package index answers: check pip's configuration and proxy.")
        if go and not _go_answers(folder):
            found.append("No Go module proxy answers: check `go env GOPROXY` and the proxy variables.")
    if found:
        raise GovcloudError("\n".join(found), "nothing was changed")


def _debian_answers(folder: str) -> bool:
    lists = Path(folder, "lists/partial")
    lists.mkdir(parents=True)
    options = [f"Dir::State::Lists={lists.parent}", "Acquire::Languages=none", "APT::Update::Error-Mode=any"]
    options += [f"Acquire::http::Timeout={ANSWER_S}", "APT::Sandbox::User=root"]
    return command.output(["apt-get", "-qq", *(w for option in options for w in ("-o", option)), "update"]) is not None


def _python_answers(folder: str) -> bool:
    first = re.split(r"\s", wheels.locks()[wheels.PATRONI].read_text(), maxsplit=1)[0]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    return command.output([*pip, "-d", folder, first]) is not None


def _go_answers(folder: str) -> bool:
    go = golang.installed()
    if go is None:
        return _module_proxies_answer(os.environ.get("GOPROXY", ""))
    env = {**golang.environment(go), "GOMODCACHE": f"{folder}/mod"}
    small = [str(go), "mod", "download", f"{SMALL_MODULE}@{SMALL_VERSION}"]
    return command.output(small, env=env, cwd=Path(folder)) is not None


def _module_proxies_answer(setting: str) -> bool:
    """Return whether a proxy of GOPROXY has a module.

    Without a compiler only the proxies of GOPROXY can be checked. If there is no proxy, or an origin (`direct`), the
    result is unknown and the answer is True. The compiler checks later.
    """
    proxies = [word.strip() for word in re.split("[,|]", setting) if word.strip()]
    if not all(word.startswith(("http://", "https://")) for word in proxies if word != "off"):
        return True
    return not proxies or any(_has_module(proxy) for proxy in proxies if proxy != "off")


def _has_module(proxy: str) -> bool:
    try:
        url = f"{proxy.rstrip('/')}/{SMALL_MODULE}/@v/{SMALL_VERSION}.info"
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _existing(path: Path) -> Path:
    """Return the nearest existing folder: the path itself or a parent."""
    return next(parent for parent in (path, *path.parents) if parent.exists())
