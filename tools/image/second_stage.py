"""The image's second stage: run the roles' install parts inside the unpacked system, then remove build files.

The program runs in its own mount namespace (`unshare --mount`), so that no mount remains even if it is killed.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from tools import command
from tools.image import packages
from workstation import paths
from workstation.errors import GovcloudError

INSTALL_TIMEOUT_S = 900

LEFTOVERS = (
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/hostname",  # otherwise every machine takes the builder's name
    "etc/resolv.conf",
    "usr/sbin/policy-rc.d",
    "var/lib/systemd/random-seed",
    "var/lib/dbus/machine-id",
)
EMPTIED = ("var/lib/apt/lists", "var/cache/apt", "var/log/apt", "root/.cache", "root/.ansible", "tmp", "var/tmp")
BUNDLE = "etc/ssl/certs/ca-certificates.crt"


def mount_helpers(root: Path) -> None:
    """Mount proc and dev into the system, and this machine's resolver and certificate authorities."""
    command.run(["mount", "-t", "proc", "proc", str(root / "proc")], failure="proc could not be mounted")
    command.run(["mount", "--rbind", "/dev", str(root / "dev")], failure="dev could not be mounted")
    for name in ("etc/resolv.conf", BUNDLE):
        if (source := Path("/", name)).exists():
            target = root / name
            if not target.exists():
                target.touch()
            command.run(["mount", "--bind", str(source), str(target)], failure=f"{name} could not be mounted")


def install(root: Path) -> None:
    """Run the roles' install parts. Mark the package lists as fresh, because all listed packages are installed."""
    from playbooks import runner

    now = time.time()
    for name in ("var/lib/apt/lists", "var/lib/apt/periodic/update-success-stamp"):
        if (root / name).exists():
            os.utime(root / name, (now, now))
    artifacts = paths.cache() / "artifacts"
    version = packages.kubernetes()
    runner.bake(root, packages.roles(), artifacts=artifacts, timeout_s=INSTALL_TIMEOUT_S, version=version)


def clean(root: Path) -> None:
    """Remove build files and files that must differ between machines; disable all services."""
    command.run(["systemctl", f"--root={root}", "preset-all"], failure="its services could not be disabled")
    for name in LEFTOVERS:
        (root / name).unlink(missing_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name in EMPTIED:
        for path in (root / name).glob("*"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for log in (root / "var/log").glob("*.log"):
        log.write_text("")
    (root / "etc/machine-id").write_text("")


def main() -> int:
    """Run `python -m tools.image.second_stage install|clean ROOT`."""
    act, root = sys.argv[1], Path(sys.argv[2])
    try:
        if act == "install":
            mount_helpers(root)
            install(root)
        else:
            clean(root)
    except GovcloudError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
