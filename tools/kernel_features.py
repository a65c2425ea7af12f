"""Kernel features that the lab needs. Each one is tried in new namespaces, without installed tools.

A list of modules would be wrong in both directions: features are built in, loaded on demand or compiled out. As a
program this prints one line per missing feature. It runs as a child, because a process cannot leave its new namespace.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
RTM_NEWLINK, NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 16, 1, 4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND = 3, 18, 1
NETLINK_ROUTE, NETLINK_NETFILTER, NLMSG_ERROR = 0, 12, 2
NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN = 10, 16
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def missing() -> tuple[str, ...]:
    """Return the names of features that the kernel lacks or does not allow. Needs root; changes nothing."""
    done = subprocess.run([sys.executable, "-I", __file__], capture_output=True, text=True, check=False)
    if done.returncode:
        return (f"namespaces ({done.stderr.strip().splitlines()[-1] if done.stderr else 'no reason given'})",)
    return tuple(done.stdout.splitlines())


def _libc_call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _netlink_request(family: int, kind: int, flags: int, body: bytes) -> None:
    """Send one netlink request. Raises OSError with the kernel's reason."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as netlink:
        netlink.settimeout(2)
        netlink.send(struct.pack("=IHHII", 16 + len(body), kind, flags | NLM_F_REQUEST, 1, 0) + body)
        answer = netlink.recv(65536)
    if struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR and (code := -struct.unpack_from("=i", answer, 16)[0]):
        raise OSError(code, os.strerror(code))


def _link(kind: str) -> None:
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + _attribute(IFLA_IFNAME, f"try-{kind}".encode() + b"\0")
    body += _attribute(IFLA_LINKINFO, _attribute(IFLA_INFO_KIND, kind.encode()))
    _netlink_request(NETLINK_ROUTE, RTM_NEWLINK, NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE, body)


def _nftables() -> None:
    _netlink_request(NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, struct.pack("=BBH", 0, 0, 0))


def _tap() -> None:
    handle = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", b"try-tap", IFF_TAP | IFF_NO_PI))
    finally:
        os.close(handle)


def _loop() -> None:
    os.close(os.open("/dev/loop-control", os.O_RDWR))


def _overlay() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _libc_call("mount", b"none", folder.encode(), b"tmpfs", 0, None)
        try:
            parts = {name: Path(folder, name) for name in ("lower", "upper", "work", "merged")}
            for path in parts.values():
                path.mkdir()
            options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}".encode()
            _libc_call("mount", b"none", str(parts["merged"]).encode(), b"overlay", 0, options)
            _libc_call("umount2", str(parts["merged"]).encode(), 0)
        finally:
            _libc_call("umount2", folder.encode(), 0)


def _control_groups() -> None:
    root = Path("/sys/fs/cgroup")
    if not any((root / name).exists() for name in ("cgroup.controllers", "systemd/cgroup.procs")):
        raise OSError(errno.ENOENT, "not mounted")


FEATURES: dict[str, Callable[[], None]] = {
    "virtual Ethernet pairs (veth)": lambda: _link("veth"),
    "bridges (bridge)": lambda: _link("bridge"),
    "packet filter (nf_tables)": _nftables,
    "virtual network cards (tun/tap)": _tap,
    "loop devices (loop)": _loop,
    "overlay file system (overlay)": _overlay,
    "control groups (cgroup)": _control_groups,
}


def main() -> int:
    """Try each feature in new namespaces."""
    _libc_call("unshare", CLONE_NEWNS | CLONE_NEWNET)
    with suppress(OSError):  # in a chroot the root is not a mount; every attempt unmounts its own mounts anyway
        _libc_call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    for name, attempt in FEATURES.items():
        try:
            attempt()
        except OSError as error:
            known = errno.errorcode.get(error.errno or 0, "")
            print(f"{name}{f': {known}' if known else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
