"""The image's first stage: mmdebstrap installs Debian packages from this machine's own mirrors."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path

from tools import command, hashing
from tools.image.packages import SUITE, wanted

EXPECTED_S = 110

EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
"""Documentation files. A machine of the lab does not need them, and the image is a fifth smaller without them."""

SETTINGS = {
    # The role creates a database cluster, never the package.
    "etc/postgresql-common/createcluster.conf": "create_main_cluster = false\n",
    # Only SSH and D-Bus start by default, to make the machine reachable. A role enables the other services. systemd
    # also reads this file at the first boot, and would enable everything without the last line.
    "etc/systemd/system-preset/00-govcloud.preset": "enable ssh.service\nenable dbus.socket\ndisable *\n",
    # No installation starts a service, neither in this stage nor in the roles' install parts. Removed at the end.
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}


def key() -> str:
    """Return a key that covers the packages, this module and the architecture, but not a mirror's current content."""
    return hashing.hash_of(platform.machine(), *wanted(), Path(__file__))


def sources(targets: str) -> tuple[str, ...]:
    """Return apt lines for the suite; empty if no line fits.

    `targets` are lines `origin|uri|release|component` from `apt-get indextargets`.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for origin, uri, release, component in (line.split("|") for line in targets.splitlines() if line.count("|") == 3):
        if origin == "Debian" and release.split("-")[0] == SUITE:
            lines.setdefault((uri, release), []).append(component)
    return tuple(f"deb {uri} {release} {' '.join(dict.fromkeys(parts))}" for (uri, release), parts in lines.items())


def acquire_settings(dump: str) -> str:
    """Return this machine's fetch settings (proxies, authorities, dates) from the text of `apt-config dump`."""
    return "".join(
        f"{line}\n" for line in dump.splitlines() if re.match(r'Acquire::(?!CompressionTypes)\S+ "[^"]', line)
    )


def argv(target: Path, apt_settings: Path) -> list[str]:
    """Return the mmdebstrap call. The roles' tasks need the package lists; the second stage removes them."""
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
    """Create `folder`/rootfs. `folder` is new; the caller renames it at the end."""
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
    """Return this machine's apt lines for the image's suite; empty if it runs another suite."""
    fields = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    targets = command.output(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]) or ""
    if not targets.strip().startswith("Debian|") and "\nDebian|" not in targets:
        command.run(["apt-get", "-q", "update"], failure="the list of Debian packages cannot be fetched")
        targets = command.output(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]) or ""
    return sources(targets)
