"""Compare a host with its `HostSpec`: one call per host, carried out by the same script that applies the spec."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playbooks.host_programs.managed import FileSpec, file_of
from playbooks.host_spec import HostSpec
from workstation import ssh
from workstation.errors import GovcloudError

SCRIPT = Path(__file__).resolve().parent / "host_programs" / "managed.py"
_LOADER = (
    "import json,sys,types;"
    "code,data=sys.stdin.buffer.read().split(b'\\0',1);"
    "managed=sys.modules['managed']=types.ModuleType('managed');"
    "exec(compile(code,'managed.py','exec'),managed.__dict__);"
    "sys.stdout.write(json.dumps(managed.answer(json.loads(data))))"
)
"""Runs on the host. The script and its request arrive in one stream, separated by a zero byte."""


class CompareFailed(GovcloudError):
    """The host answered, but the comparison failed."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing on a host that is not as declared.

    `kind` is file, unit, sysctl, account, setting or install. `name` is the path, unit, key, account, setting or role.
    `aspect` is the property that differs: text, owner, mode, present, active, enabled, notified, value, shell, home,
    groups, keys or hash. For texts of secret files, `wanted` and `actual` are hashes.
    """

    role: str
    kind: str
    name: str
    aspect: str
    wanted: Any
    actual: Any

    def __str__(self) -> str:
        if self.aspect == "text" and isinstance(self.actual, str) and "\n" in self.wanted:
            return f"{self.name}: edited on the host\n" + "\n".join(self.lines())
        if self.aspect == "text":
            return f"{self.name}: {'missing' if self.actual is None else 'another content'}"
        return f"{self.name}: {self.aspect} is {self.actual}, wanted {self.wanted}"

    def lines(self) -> list[str]:
        """Return a unified diff from the text on the host to the declared text."""
        actual, wanted = str(self.actual or "").splitlines(), str(self.wanted).splitlines()
        return list(difflib.unified_diff(actual, wanted, "on the host", "declared", lineterm="", n=1))


def compare(
    host_spec: HostSpec, access: ssh.Access, *, timeout_s: float, installs: Mapping[str, str] | None = None
) -> tuple[Difference, ...]:
    """Return the host's differences in the order of its roles; empty if the host is as declared.

    `installs` are hashes by role (`playbooks.install_hash.install_hash`). Pass them to compare the install parts too.
    Raise `workstation.ssh.HostUnreachable` or `CompareFailed`.
    """
    message = SCRIPT.read_bytes() + b"\0" + json.dumps(request(host_spec, installs or {})).encode()
    argv = ["/usr/bin/python3", "-I", "-c", _LOADER]
    if access.user != "root":
        argv = ["sudo", "-n", *argv]
    done = ssh.run(access, host_spec["address"], argv, stdin=message, timeout_s=timeout_s)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise CompareFailed(f"{host_spec['host']}: {reason[-1] if reason else f'ended with {done.returncode}'}")
    return differences(host_spec, json.loads(done.stdout))


def request(host_spec: HostSpec, installs: Mapping[str, str]) -> dict[str, Any]:
    """Return the request to the script. It contains the hashes of the files, not their texts, and no secret."""
    spec = {
        **host_spec,
        "roles": [{**role, "settings": {}, "installed": installs.get(role["role"], "")} for role in host_spec["roles"]],
        "files": {path: _hashed(file_of(host_spec, path)) for path in host_spec["files"]},
        "secrets": {},
    }
    return {"mode": "compare", "root": "/", "spec": spec}


def differences(host_spec: HostSpec, answer: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Parse the script's answer. Replace the hashes of wanted texts by the texts, except for secret files."""
    texts = {path: file["text"] for path, file in host_spec["files"].items() if not file["secret"]}
    return tuple(_difference(found, texts) for found in answer["differences"])


def _difference(found: Mapping[str, Any], texts: Mapping[str, str]) -> Difference:
    value = Difference(**found)
    if value.kind == "file" and value.aspect == "text" and value.name in texts:
        return Difference(**{**found, "wanted": texts[value.name]})
    return value


def _hashed(file: FileSpec) -> FileSpec:
    return {**file, "text": "", "sha256": hashlib.sha256(file["text"].encode()).hexdigest()}
