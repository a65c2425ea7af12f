"""The only caller of ansible-runner: one host, its roles in order, one Ansible process.

The wanted state of a host arrives as a `HostSpec`. It becomes the host's variables in parts: each part has consecutive
roles with no step between them, and is applied in one task. Strings that contain template signs are marked as literal
text, so that Ansible never evaluates braces in a configuration. Secrets stay separate and are never logged. Ansible
writes only into a temporary directory, which is removed afterwards.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_runner.interface import init_command_config

from playbooks.host_programs.managed import RoleKeys
from playbooks.host_spec import KINDS, SECRETS, HostSpec, RoleSpec, keyed, settings_of
from playbooks.install_hash import ROLES, artifact_names, install_hash, version_of
from playbooks.temp_workspace import temp_workspace
from workstation.errors import GovcloudError
from workstation.ssh import Access

FOLDER = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
REASON_LIMIT = 4000


class PlaybookFailed(GovcloudError):
    """A task failed on a host; `reason` is the message of the task."""

    def __init__(self, *, host: str, role: str, task: str, reason: str) -> None:
        where = f"{host}: role {role}, task {task!r}" if task else host
        super().__init__(
            f"{where}: {reason}", "Changes made before the failure stay. The next `govcloud up` continues from there."
        )
        self.host, self.role, self.task, self.reason = host, role, task, reason


@dataclass(frozen=True, kw_only=True)
class Event:
    """A task has ended on the host. Reported after Ansible has ended.

    `state` is ok, changed, skipped, failed or unreachable.
    """

    host: str
    role: str
    task: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The changes of an apply as text: `frr: file /etc/frr/frr.conf`, `frr: unit frr.service: reload`."""

    changed: bool
    changes: tuple[str, ...]


@dataclass
class _Record:
    """The changes and the first failure from the events, collected while Ansible runs."""

    host: str
    on_event: Callable[[Event], None] | None
    changes: list[str] = field(default_factory=list)
    tasks: int = 0
    failure: PlaybookFailed | None = None

    def take(self, event: Mapping[str, Any]) -> bool:
        kind, data = event.get("event", ""), event.get("event_data", {})
        state = {
            "runner_on_ok": "ok",
            "runner_on_failed": "failed",
            "runner_on_skipped": "skipped",
            "runner_on_unreachable": "unreachable",
        }.get(kind)
        if state is None:
            return False
        self.tasks += 1
        result = data.get("res") or {}
        role, task = result.get("role") or data.get("role") or "site", data.get("task") or ""
        if state == "unreachable" or (state == "failed" and not data.get("ignore_errors")):
            self.failure = self.failure or PlaybookFailed(host=self.host, role=role, task=task, reason=_reason(result))
        # Only the result of `managed` names roles. For a task of another module, the change is the task's name.
        changes = result["changes"] if "roles" in result else {role: [task]} if result.get("changed") else {}
        for name in result.get("roles", [role]):
            changed = state == "ok" and name in changes
            self.changes += [f"{name}: {change}" for change in changes[name]] if changed else []
            if self.on_event:
                self.on_event(Event(host=self.host, role=name, task=task, state="changed" if changed else state))
        return False


def apply(
    host_spec: HostSpec,
    access: Access,
    *,
    artifacts: Path,
    on_event: Callable[[Event], None] | None = None,
    timeout_s: float,
) -> Applied:
    """Apply `host_spec` to the host.

    `artifacts` is the folder of the binaries and wheels that install parts copy. Raise `PlaybookFailed` with the first
    failure, or after `timeout_s`. Raise `ArtifactMissing` before any change.
    """
    connection = {
        "ansible_host": host_spec["address"],
        "ansible_user": access.user,
        "ansible_become": access.user != "root",
    }
    variables = connection | role_variables(host_spec, artifacts)
    return _play(
        host_spec["host"], "site.yml", variables, ssh_arguments=access.options(), on_event=on_event, timeout_s=timeout_s
    )


def bake(root: Path, roles: tuple[str, ...], *, artifacts: Path, timeout_s: float, version: str = "") -> Applied:
    """Carry out only the install parts of `roles` in the unpacked Debian system under `root`, which need not run.

    The caller must be root. A host started from it then skips these parts. `version` is the version of Kubernetes.
    """
    empty = (RoleSpec(role=role, settings={"version": version}) for role in roles)
    host_spec = keyed(root.name, str(root), empty)
    variables = role_variables(host_spec, artifacts)
    variables |= {
        "ansible_connection": "chroot",
        "ansible_host": str(root),
        "govcloud_spec": _part(host_spec, host_spec["roles"], variables["govcloud_install"])["spec"],
    }
    return _play(root.name, "bake.yml", variables, ssh_arguments=[], on_event=None, timeout_s=timeout_s)


def role_variables(host_spec: HostSpec, artifacts: Path) -> dict[str, Any]:
    """Return the variables of the playbooks and of the roles' steps.

    `govcloud_parts` has the parts without their secrets, `govcloud_secrets` the secrets of each part.
    """
    settings = {role["role"]: settings_of(host_spec, role) for role in host_spec["roles"]}
    versions = {role: version_of(values) for role, values in settings.items()}
    installs = {role: install_hash(role, artifacts, version) for role, version in versions.items()}
    found = [_part(host_spec, roles, installs) for roles in _parts(host_spec["roles"])]
    return {
        "govcloud_artifacts": str(artifacts),
        "govcloud_install": installs,
        "govcloud_programs": {role: list(artifact_names(role, version)) for role, version in versions.items()},
        "govcloud_secrets": [part.pop(SECRETS) for part in found],
        "govcloud_parts": found,
        **{f"{role}_settings": values for role, values in settings.items()},
    }


def _parts(roles: Iterable[RoleKeys]) -> list[list[RoleKeys]]:
    """Split the roles where one has steps before its files, or the previous one has steps after its files."""
    found: list[list[RoleKeys]] = []
    for role in roles:
        if not found or _has(role, "before_install", "before") or _has(found[-1][-1], "after"):
            found.append([])
        found[-1].append(role)
    return found


def _has(role: RoleKeys, *steps: str) -> bool:
    return any((ROLES / role["role"] / "tasks" / f"{step}.yml").exists() for step in steps)


def _guard(role: str) -> dict[str, Any]:
    """Return the guard of the role's file, if the role has one: see `managed.Guard`."""
    path = ROLES / role / "vars" / "main.yml"
    return {"guard": yaml.safe_load(path.read_text(encoding="utf-8"))[f"{role}_guard"]} if path.exists() else {}


def _part(host_spec: HostSpec, roles: list[RoleKeys], installs: Mapping[str, str]) -> dict[str, Any]:
    """Return the items of these roles only, and the steps around them."""
    whole: Any = host_spec
    rows: Any = roles
    items = {kind: {name: whole[kind][name] for role in rows for name in role[kind]} for kind in KINDS}
    keys = [{**role, "installed": installs[role["role"]], **_guard(role["role"])} for role in roles]
    texts = {f"file {path}" for path in items["files"]}
    return {
        "roles": [role["role"] for role in roles],
        "before_install": _has(roles[0], "before_install"),
        "before": _has(roles[0], "before"),
        "after": _has(roles[-1], "after"),
        "spec": {"roles": keys, **items},
        SECRETS: {name: text for name, text in host_spec["secrets"].items() if name in texts},
    }


def _play(
    host: str,
    playbook: str,
    variables: Mapping[str, Any],
    *,
    ssh_arguments: list[str],
    on_event: Callable[[Event], None] | None,
    timeout_s: float,
) -> Applied:
    record = _Record(host=host, on_event=on_event)
    with temp_workspace() as folder:
        inventory = folder / "inventory" / "hosts.yml"
        inventory.parent.mkdir()
        hosts = {host: {"ansible_python_interpreter": PYTHON, **variables}}
        inventory.write_text(
            yaml.dump({"all": {"hosts": _literal(hosts)}}, Dumper=_Dumper, width=10**9), encoding="utf-8"
        )
        inventory.chmod(0o600)
        (folder / "ansible.cfg").touch()
        run = init_command_config(
            "ansible-playbook",
            ["--inventory", str(inventory), str(FOLDER / playbook)],
            private_data_dir=str(folder),
            envvars=_environment(folder, ssh_arguments),
            event_handler=record.take,
            runner_mode="subprocess",
            timeout=int(timeout_s),
            quiet=True,
        )
        run.run()
        # Ansible reports success for an inventory in which it finds no host.
        if record.failure is None and (run.status != "successful" or not record.tasks):
            record.failure = PlaybookFailed(host=host, role="", task="", reason=_ended(run, timeout_s))
    if record.failure:
        raise record.failure
    return Applied(changed=bool(record.changes), changes=tuple(record.changes))


def _environment(folder: Path, ssh_arguments: list[str]) -> dict[str, str]:
    """Return Ansible's settings. Ansible reads no ansible.cfg, not even one in the operator's directory."""
    return {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_CONNECTION_PLUGINS": str(FOLDER / "connection"),
        "ANSIBLE_FORKS": "1",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_INVENTORY_ENABLED": "yaml",
        "ANSIBLE_LIBRARY": str(FOLDER / "host_programs"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_ROLES_PATH": str(FOLDER / "roles"),
        "ANSIBLE_SSH_ARGS": shlex.join(ssh_arguments),
        "ANSIBLE_SSH_RETRIES": "2",
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
    }


def _reason(result: Mapping[str, Any]) -> str:
    """Return the message of a failed task. A loop's own message names no reason, so take its first failed item."""
    result = next((item for item in result.get("results", ()) if item.get("failed")), result)
    parts = [str(result.get("msg") or "")]
    parts += [str(result[key]).strip() for key in ("stderr", "module_stderr", "stdout") if result.get(key)]
    return "\n".join(part for part in parts if part)[-REASON_LIMIT:] or "no reason given"


def _ended(run: Any, timeout_s: float) -> str:
    if run.status == "timeout":
        return f"not finished within {timeout_s:g} s"
    with run.stdout as out, run.stderr as err:
        output = f"{out.read()}\n{err.read()}"
    if run.status == "successful":
        return f"ansible carried out nothing: {output.strip()[-REASON_LIMIT:]}"
    return f"ansible ended as {run.status}: {output.strip()[-REASON_LIMIT:]}"


class _Literal(str):
    """Text that Ansible must not evaluate."""

    __slots__ = ()


class _Dumper(yaml.CSafeDumper):
    """YAML with `!unsafe` on every literal text."""


_Dumper.add_representer(_Literal, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def _literal(value: Any) -> Any:
    """Mark only the texts that contain template signs: Ansible takes a marked "0644" for a number."""
    if isinstance(value, str):
        return _Literal(value) if any(sign in value for sign in ("{{", "{%", "{#")) else value
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    return value
