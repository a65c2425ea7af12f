"""SSH keys: the operator's key opens every machine, and each machine proves its identity with its own key."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from workstation import atomic_write
from workstation.ssh import Access


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """An ed25519 key in OpenSSH's formats."""

    private: bytes
    public: str


def new_key(comment: str) -> KeyPair:
    """Return a new key pair. The comment is part of the public key's text."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return KeyPair(
        private=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), public=f"{public} {comment}"
    )


def operator_key(access: Access) -> str:
    """Return the operator's public key. Create the key pair if a half of it is missing."""
    public = access.key.with_name(access.key.name + ".pub")
    if not access.key.exists() or not public.exists():
        access.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pair = new_key("govcloud operator")
        atomic_write.write(access.key, pair.private)
        atomic_write.write(public, pair.public + "\n", mode=0o644)
    return public.read_text().strip()


def trust_hosts(access: Access, hosts: Mapping[str, str]) -> None:
    """Replace the keys of these addresses in known_hosts. `hosts` maps address to public key; other lines stay."""
    kept: list[str] = []
    if access.known_hosts.exists():
        lines = access.known_hosts.read_text().splitlines()
        kept = [line for line in lines if line.split(" ", 1)[0] not in hosts]
    lines = [*kept, *(f"{address} {' '.join(key.split()[:2])}" for address, key in hosts.items())]
    access.known_hosts.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_lines(access.known_hosts, lines)


def close_connections(access: Access, addresses: Iterable[str]) -> None:
    """Close the shared connections to powered-off machines, so that the next command opens a new connection."""
    closing = [
        subprocess.Popen(
            ["ssh", *access.options(), "-O", "exit", f"{access.user}@{address}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for address in addresses
    ]  # fmt: skip
    for process in closing:
        process.wait(timeout=10)


def forget_hosts(access: Access, addresses: set[str]) -> None:
    """Remove the machines' keys from known_hosts and the shared connections. The operator's own key stays."""
    if access.known_hosts.exists():
        lines = [line for line in access.known_hosts.read_text().splitlines() if line.split(" ", 1)[0] not in addresses]
        _write_lines(access.known_hosts, lines)
    for socket in access.key.parent.glob("mux-*"):
        socket.unlink(missing_ok=True)


def _write_lines(path: Path, lines: list[str]) -> None:
    atomic_write.write(path, "".join(f"{line}\n" for line in lines), mode=0o644)
