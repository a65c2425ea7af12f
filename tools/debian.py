"""Debian packages of the operator's machine, which the lab, the image and the tests use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import command

PACKAGES = (
    "ca-certificates",
    "debian-archive-keyring",
    "e2fsprogs",  # file systems of fixed size for the databases
    "iproute2",
    "iputils-ping",
    "mmdebstrap",
    "nftables",
    "openssh-client",
    "postgresql-15",  # a server for the tests; the installation creates no cluster
    "procps",
    "systemd-container",  # systemd-nspawn: the machines of the lab
    "tcpdump",
    "util-linux",
    "vde2",  # wires with delay and loss where the kernel has no netem
)

C_COMPILER = ("gcc", "libc6-dev", "libseccomp-dev", "pkg-config")
"""For runc, the only program here with C code: without seccomp no pod gets the default profile."""

NO_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Put here by govcloud setup while it installs packages: no service is started.\nexit 101\n"


def missing(status: str, packages: tuple[str, ...] = PACKAGES) -> tuple[str, ...]:
    """Return those of `packages` that are not installed. `status` has dpkg-query's lines `NAME ii`."""
    installed = {line.split()[0] for line in status.splitlines() if line.split()[1:] == ["ii"]}
    return tuple(package for package in packages if package not in installed)


def to_install(more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the packages that this machine lacks."""
    status = command.output(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n"]) or ""
    return missing(status, PACKAGES + more)


def install(packages: tuple[str, ...], on_line: Callable[[str], None]) -> None:
    """Install packages without starting a service: the operator's machine needs programs, not daemons.

    The package manager may outlive our process: if it were killed half-way, it would leave more to repair.
    """
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    done = 0

    def count(line: str) -> None:
        nonlocal done
        done += line.startswith("Setting up ")
        if line.startswith("Setting up ") and done % 20 == 0:
            on_line(f"{done} packages set up")

    if not NO_CLUSTER.exists():
        NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        NO_CLUSTER.write_text("create_main_cluster = false\n")
    with _no_services():
        command.run(["dpkg", "--configure", "-a"], env=env, failure="an interrupted installation cannot be finished")
        command.run([*apt, "update"], env=env, failure="the list of Debian packages cannot be fetched")
        install = [*apt, "-y", "--no-install-recommends", "install", *packages]
        command.run(install, env=env, failure="Debian packages could not be installed", on_line=count)


@contextmanager
def _no_services() -> Iterator[None]:
    """Prevent packages from starting daemons during the block. The machine's own policy, if any, is not changed."""
    ours = not POLICY.exists() or POLICY.read_text() == POLICY_TEXT
    if ours:
        POLICY.write_text(POLICY_TEXT)
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)
