"""The image's first stage: Debian packages by mmdebstrap, from the mirrors that this machine itself uses."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path

from tools import command, hashing
from tools.image.packages import SUITE, wanted

EXPECTED_S = 110

EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
"""Nobody reads manuals on a machine of the lab; without them the image is a fifth smaller."""

SETTINGS = {
    # A cluster is made by its role, never by the package.
    "etc/postgresql-common/createcluster.conf": "create_main_cluster = false\n",
    # Only what reaches a machine at all is on from the start; a role enables the rest. systemd also reads this at a
    # first boot, and would enable everything without the last line.
    "etc/systemd/system-preset/00-govcloud.preset": "enable ssh.service\nenable dbus.socket\ndisable *\n",
    # Installing starts nothing, neither in this stage nor in the roles' install parts; taken away at the end.
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}


def key() -> str:
    """Changes with the packages, this module and the architecture; not with what a mirror happens to serve today."""
    return hashing.hash_of(platform.machine(), *wanted(), Path(__file__))


def sources(targets: str) -> tuple[str, ...]:
    """apt lines for the suite, from `origin|uri|release|component` of `apt-get indextargets`; empty if none fits."""
    lines: dict[tuple[str, str], list[str]] = {}
    for origin, uri, release, component in (line.split("|") for line in targets.splitlines() if line.count("|") == 3):
        if origin == "Debian" and release.split("-")[0] == SUITE:
            lines.setdefault((uri, release), []).append(component)
    return tuple(f"deb {uri} {release} {' '.join(dict.fromkeys(parts))}" for (uri, release), parts in lines.items())


def acquire_settings(dump: str) -> str:
    """How this machine fetches (proxies, authorities, dates), as apt settings, from the text of `apt-config dump`."""
    return "".join(
        f"{line}\n" for line in dump.splitlines() if re.match(r'Acquire::(?!CompressionTypes)\S+ "[^"]', line)
    )


def argv(target: Path, apt_settings: Path) -> list[str]:
    """The mmdebstrap call. Package lists stay in for the roles' tasks and are removed with the second stage."""
    hooks = [f'mkdir -p "$1/{Path(name).parent}"' for name in SETTINGS]
    call = [
        *command.DIE_WITH_PARENT,
        *command.ISOLATED,
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--skip=cleanup/apt/lists",
    ]
    call += [f"--include={','.join(wanted())}"]
    call += [f"--aptopt={apt_settings}", '--aptopt=APT::Install-Recommends "false"']
    call += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    call += [f"--setup-hook={hook}" for hook in dict.fromkeys(hooks)]
    call += [f'--setup-hook=cp "{apt_settings.parent}/{name}" "$1/{name}"' for name in SETTINGS]
    return [*call, SUITE, str(target)]


def make(folder: Path, on_progress: Callable[[str], None]) -> None:
    """Make `folder`/rootfs. `folder` is new; its caller renames it when all is done."""
    settings_folder = folder / "settings"
    for name, text in SETTINGS.items():
        path = settings_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    settings = settings_folder / "apt.conf"
    settings.write_text(acquire_settings(command.output(["apt-config", "dump"]) or ""))
    command.run(
        [*argv(folder / "rootfs", settings), *mirrors()],
        failure="the base system could not be installed",
        on_line=lambda line: on_progress(line[3:]) if re.match(r"I: (?!running --)", line) else None,
    )


def mirrors() -> tuple[str, ...]:
    """apt lines of this machine for the image's suite; empty where it runs another suite."""
    fields = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    targets = command.output(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]) or ""
    if not targets.strip().startswith("Debian|") and "\nDebian|" not in targets:
        command.run(["apt-get", "-q", "update"], failure="the list of Debian packages cannot be fetched")
        targets = command.output(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]) or ""
    return sources(targets)
