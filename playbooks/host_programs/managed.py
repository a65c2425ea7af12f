# It calls `os` directly, so that the code shows each request to the kernel.
# ruff: noqa: PTH103, PTH104, PTH108, PTH112, PTH116, PTH118, PTH120, PTH123, PTH208, SIM105
"""Apply the wanted files, units, sysctls and accounts to a host, or report how they differ.

There are two ways to run this file:

- as the Ansible module `managed`, for consecutive roles of a host: `mode: apply`;
- as a plain script: `answer(request)` takes one JSON object, so one call compares a whole host.

It runs on hosts, so it uses only the standard library. `Spec` is the shape of the wanted state everywhere: from
rendering to the input of the Pulumi resource and to this program. To compare, a file may have `sha256` instead of its
text.

Before it writes a file that notifies units, it saves a note under /var/lib/govcloud. If an apply dies between writing a
file and restarting its unit, the next apply restarts the unit.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NotRequired, TypedDict

DOCUMENTATION = """
module: managed
short_description: Files, units, sysctls and accounts of consecutive roles, in one process
options:
  mode: {type: str, choices: [apply, compare, installed], default: apply}
  spec: {type: dict, default: {}, description: A Spec without its secrets.}
  secrets: {type: dict, default: {}, description: The secrets of the Spec.}
  root: {type: str, default: /}
"""

STATE = "var/lib/govcloud/roles"
INSTALLED = "etc/govcloud/installed"
TEXT_LIMIT = 262144
"""Maximum length of a differing file's text in the reply, in bytes."""
COMMAND_TIMEOUT_S = 150
ENABLED_STATES = ("enabled", "enabled-runtime", "static", "indirect", "generated", "alias", "linked")

Step = list[str]
"""Arguments of one call of systemctl: the verb and the unit."""
States = dict[str, tuple[str, str]]
"""ActiveState and UnitFileState by unit."""
Difference = dict[str, Any]


class FileSpec(TypedDict):
    """A file; `playbooks.host_spec.File` explains the fields."""

    text: str
    owner: str
    group: str
    mode: str
    secret: bool
    validate: str
    notify: list[str]
    sha256: NotRequired[str]
    """Hash of the text, in a request that has no texts."""


class UnitSpec(TypedDict):
    """A systemd unit."""

    enabled: bool
    active: bool


class AccountSpec(TypedDict):
    """A local account; `playbooks.host_spec.Account` explains the fields."""

    groups: list[str]
    shell: str
    home: str
    keys: list[str]


class Guard(TypedDict):
    """A command that must succeed before the existing file at `path` is changed."""

    path: str
    arm: str


class RoleKeys(TypedDict):
    """One role: its settings, and the keys of its own items in their order."""

    role: str
    settings: Mapping[str, Any]
    files: list[str]
    units: list[str]
    sysctls: list[str]
    accounts: list[str]
    live: NotRequired[list[str]]
    installed: NotRequired[str]
    """Hash of the role's install part that has just been carried out, or that a comparison expects."""
    guard: NotRequired[Guard]


class Spec(TypedDict):
    """The wanted state of a host, each item by its name. All secret texts are in `secrets`."""

    roles: list[RoleKeys]
    files: Mapping[str, FileSpec]
    units: Mapping[str, UnitSpec]
    sysctls: Mapping[str, str]
    accounts: Mapping[str, AccountSpec]
    secrets: Mapping[str, Any]
    """Texts by `file PATH`; settings of a role by `settings ROLE`."""


class Failed(Exception):
    """A step failed. The message names the step and the reason, and contains no secret."""

    role = ""


@dataclass(frozen=True, kw_only=True)
class Role:
    """One role with its own items and the texts of its secret files."""

    name: str
    files: Mapping[str, FileSpec]
    units: Mapping[str, UnitSpec]
    sysctls: Mapping[str, str]
    accounts: Mapping[str, AccountSpec]
    live: Sequence[str]
    installed: str
    guard: Guard | None


def roles_of(spec: Spec) -> list[Role]:
    """Return the roles with their items and the secret texts in their files."""
    return [
        Role(
            name=keys["role"],
            files={path: file_of(spec, path) for path in keys["files"]},
            units={name: spec["units"][name] for name in keys["units"]},
            sysctls={key: spec["sysctls"][key] for key in keys["sysctls"]},
            accounts={name: spec["accounts"][name] for name in keys["accounts"]},
            live=keys.get("live", ()),
            installed=keys.get("installed", ""),
            guard=keys.get("guard"),
        )
        for keys in spec["roles"]
    ]


def file_of(spec: Spec, path: str) -> FileSpec:
    """Return the file with its text, also if the text is secret."""
    file = spec["files"][path]
    return {**file, "text": spec["secrets"].get(f"file {path}", file["text"])}


class Host:
    """The host's files under `root`. Change accounts and units only if root is `/`."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def at(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def read(self, path: str) -> bytes | None:
        try:
            with open(self.at(path), "rb") as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        replace(self.at(path), data, mode, None, None, "")

    def remove(self, path: str) -> None:
        try:
            os.unlink(self.at(path))
        except FileNotFoundError:
            pass


def command(argv: Sequence[str]) -> tuple[int, str]:
    """Run the command and return (exit code, combined output)."""
    try:
        done = subprocess.run(
            argv, input=b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return 127, f"{argv[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 124, f"no end after {COMMAND_TIMEOUT_S} s"
    return done.returncode, done.stdout.decode(errors="replace").strip()


def must(argv: Sequence[str], what: str) -> None:
    code, output = command(argv)
    if code:
        raise Failed(f"{what}: {tail(output)}")


def tail(text: str, lines: int = 25) -> str:
    return "\n".join(text.splitlines()[-lines:])


def difference(kind: str, name: str, aspect: str, wanted: object, actual: object) -> Difference:
    return {"kind": kind, "name": name, "aspect": aspect, "wanted": wanted, "actual": actual}


# --- files ---------------------------------------------------------------------------------------------------------


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wanted_digest(file: FileSpec) -> str:
    return file.get("sha256") or digest(file["text"].encode())


def file_differences(host: Host, path: str, file: FileSpec) -> list[Difference]:
    """Return the differences of one file. For a secret file they contain its hash instead of its text."""
    data = host.read(path)
    if data is None:
        return [difference("file", path, "text", wanted_digest(file), None)]
    found = []
    if digest(data) != wanted_digest(file):
        actual = digest(data) if file["secret"] else data[:TEXT_LIMIT].decode(errors="replace")
        found.append(difference("file", path, "text", wanted_digest(file), actual))
    stat = os.stat(host.at(path))
    actual_owner = f"{user_name(stat.st_uid)}:{group_name(stat.st_gid)}"
    wanted_owner = f"{file['owner']}:{file['group']}"
    if actual_owner != wanted_owner:
        found.append(difference("file", path, "owner", wanted_owner, actual_owner))
    mode = f"{stat.st_mode & 0o7777:04o}"
    if int(mode, 8) != int(file["mode"], 8):
        found.append(difference("file", path, "mode", file["mode"], mode))
    return found


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def replace(
    path: str,
    data: bytes,
    mode: int,
    uid: int | None,
    gid: int | None,
    validate: str,
    accepted: Callable[[], None] | None = None,
) -> None:
    """Write a temporary file next to `path`, validate it, then rename it: readers see the old file or the new one."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".govcloud-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if uid is not None and gid is not None:
                os.fchown(stream.fileno(), uid, gid)
            os.fsync(stream.fileno())
        if validate:
            argv = [part.replace("%s", temporary) for part in shlex.split(validate)]
            must(argv, f"{path} refused by its check")
        if accepted:
            accepted()
        os.rename(temporary, path)
    except OSError as error:  # the error of a write to a full disk names no file
        os.unlink(temporary)
        raise Failed(f"{path}: {error.strerror or error}; the previous file is unchanged") from None
    except BaseException:
        os.unlink(temporary)
        raise
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def ids(path: str, file: FileSpec) -> tuple[int, int]:
    try:
        return pwd.getpwnam(file["owner"]).pw_uid, grp.getgrnam(file["group"]).gr_gid
    except KeyError as error:
        raise Failed(f"{path}: no such owner or group: {error}") from None


def install_file(host: Host, path: str, file: FileSpec, accepted: Callable[[], None]) -> None:
    """Write the file if its own check accepts it. Call `accepted` after the check and before the rename."""
    uid, gid = ids(path, file)
    replace(host.at(path), file["text"].encode(), int(file["mode"], 8), uid, gid, file["validate"], accepted)


# --- sysctls -------------------------------------------------------------------------------------------------------


def sysctl_file(role: Role) -> dict[str, FileSpec]:
    """Return the file that sets a role's sysctls again after a reboot, by its path."""
    lines = [f"# Written by govcloud, role {role.name}. Do not edit: the next `govcloud up` restores it."]
    lines += [f"{key} = {value}" for key, value in sorted(role.sysctls.items())]
    file: FileSpec = {
        "text": "\n".join(lines) + "\n",
        "owner": user_name(os.geteuid()),
        "group": group_name(os.getegid()),
        "mode": "0644",
        "secret": False,
        "validate": "",
        "notify": [],
    }
    return {f"/etc/sysctl.d/60-govcloud-{role.name}.conf": file}


def sysctl_path(key: str) -> str:
    return "/proc/sys/" + key.replace(".", "/")


def sysctl_differences(host: Host, sysctls: Mapping[str, str]) -> list[Difference]:
    found = []
    for key, wanted in sorted(sysctls.items()):
        data = host.read(sysctl_path(key))
        actual = None if data is None else " ".join(data.decode().split())
        if actual != " ".join(str(wanted).split()):
            found.append(difference("sysctl", key, "value", str(wanted), actual))
    return found


def set_sysctl(host: Host, key: str, value: str) -> None:
    try:
        with open(host.at(sysctl_path(key)), "w") as stream:
            stream.write(str(value))
    except OSError as error:
        raise Failed(f"sysctl {key} = {value}: {error.strerror}") from None


# --- accounts ------------------------------------------------------------------------------------------------------


def account_differences(host: Host, name: str, account: AccountSpec) -> list[Difference]:
    """Return the differences of one account. Read them from the host's own files."""
    entry = table(host, "/etc/passwd").get(name)
    if entry is None:
        return [difference("account", name, "present", True, False)]
    found = []
    for aspect, wanted, actual in (("shell", account["shell"], entry[6]), ("home", account["home"], entry[5])):
        if actual != wanted:
            found.append(difference("account", name, aspect, wanted, actual))
    members = table(host, "/etc/group")
    groups = [group for group, row in members.items() if name in row[3].split(",")]
    if not set(account["groups"]) <= set(groups):
        found.append(difference("account", name, "groups", sorted(account["groups"]), sorted(groups)))
    if account["home"] != "/nonexistent":
        keys = sorted(key_lines(host.read(keys_path(account))))
        if keys != sorted(account["keys"]):
            found.append(difference("account", name, "keys", sorted(account["keys"]), keys))
    return found


def table(host: Host, path: str) -> dict[str, list[str]]:
    rows = (line.split(":") for line in (host.read(path) or b"").decode().splitlines())
    return {row[0]: row for row in rows if len(row) > 3}


def keys_path(account: AccountSpec) -> str:
    return account["home"] + "/.ssh/authorized_keys"


def key_lines(data: bytes | None) -> list[str]:
    lines = (data or b"").decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def set_account(host: Host, name: str, account: AccountSpec, aspects: set[str]) -> None:
    groups = account["groups"]
    for group in groups:
        must(["groupadd", "--system", "--force", group], f"group {group}")
    common = ["--shell", account["shell"], "--home-dir" if "present" in aspects else "--home", account["home"]]
    if "present" in aspects:
        create = "--no-create-home" if account["home"] == "/nonexistent" else "--create-home"
        must(
            ["useradd", "--system", "--user-group", create, *common, "--groups", ",".join(groups), name],
            "account " + name,
        )
    elif aspects - {"keys"}:
        must(["usermod", *common, "--append", "--groups", ",".join(groups), name], "account " + name)
    if account["home"] != "/nonexistent":
        set_keys(host, name, account)


def set_keys(host: Host, name: str, account: AccountSpec) -> None:
    person = pwd.getpwnam(name)
    folder = os.path.dirname(host.at(keys_path(account)))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chown(folder, person.pw_uid, person.pw_gid)
    data = "".join(key + "\n" for key in account["keys"]).encode()
    replace(host.at(keys_path(account)), data, 0o600, person.pw_uid, person.pw_gid, "")


# --- units ---------------------------------------------------------------------------------------------------------


def unit_states(names: Sequence[str]) -> States:
    """Return {name: (ActiveState, UnitFileState)} with one call of systemctl. Raise Failed if the call fails."""
    if not names:
        return {}
    show = ["systemctl", "show", "--property=Id,Names,ActiveState,UnitFileState", *names]
    code, output = command(show)
    if code:
        raise Failed(f"systemctl show: {tail(output)}")
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    return {
        name: (block.get("ActiveState", ""), block.get("UnitFileState", ""))
        for name, block in zip(names, blocks, strict=False)
    }


def unit_differences(units: Mapping[str, UnitSpec], states: States) -> list[Difference]:
    found = []
    for name, unit in units.items():
        active, enabled = states[name]
        if (active in ("active", "reloading")) != unit["active"]:
            found.append(difference("unit", name, "active", unit["active"], active or "unknown"))
        if (enabled in ENABLED_STATES) != unit["enabled"] and not (
            enabled in ("static", "indirect") and not unit["enabled"]
        ):
            found.append(difference("unit", name, "enabled", unit["enabled"], enabled or "unknown"))
    return found


def unit_steps(units: Mapping[str, UnitSpec], states: States, notes: Sequence[str]) -> list[Step]:
    """Return the systemctl calls, as argument lists, for the states of `units` and the notes `reload:X` and
    `restart:X`.

    A unit that is started or stopped is neither reloaded nor restarted. A unit that is restarted is not reloaded. A
    note has no effect on a unit that is not meant to run.
    """
    steps, moved = list[Step](), set[str]()
    for name, unit in units.items():
        active, enabled = states[name]
        if (enabled in ENABLED_STATES) != unit["enabled"] and enabled not in ("static", "indirect"):
            steps.append(["enable" if unit["enabled"] else "disable", name])
        if (active in ("active", "reloading")) != unit["active"]:
            steps.append(["start" if unit["active"] else "stop", name])
            moved.add(name)
    restarts = [full_name(note) for note in notes if note.startswith("restart:")]
    reloads = [full_name(note) for note in notes if note.startswith("reload:")]
    for name in dict.fromkeys(restarts):
        if name not in moved:
            steps.append(["try-restart", name])
    for name in dict.fromkeys(reloads):
        if name not in moved and name not in restarts:
            steps.append(["reload", name])
    return steps


def full_name(note: str) -> str:
    name = note.split(":", 1)[1]
    return name if "." in name else name + ".service"


def carry_out(step: Step, states: States) -> None:
    verb, name = step
    if verb == "reload" and (states.get(name) or unit_states([name])[name])[0] not in ("active", "reloading"):
        return
    if verb == "start":
        command(["systemctl", "reset-failed", name])
    code, output = command(["systemctl", *step])
    if code:
        journal = command(["journalctl", "--unit", name, "--lines", "20", "--no-pager", "--output", "cat"])[1]
        raise Failed(f"systemctl {verb} {name}: {tail(output)}\n{tail(journal)}")


# --- running software ----------------------------------------------------------------------------------------------


def live_differences(argv: Sequence[str]) -> list[Difference]:
    """Return the differences that the role's own program finds in the running software.

    If the program fails, return no difference: the unit check reports software that does not run.
    """
    if not argv:
        return []
    code, output = command(argv)
    try:
        rows = [] if code else json.loads(output)
    except ValueError:
        rows = []
    return [difference("setting", row["name"], "value", row["wanted"], row["actual"]) for row in rows]


# --- a role --------------------------------------------------------------------------------------------------------


def role_files(role: Role) -> Mapping[str, FileSpec]:
    return {**role.files, **(sysctl_file(role) if role.sysctls else {})}


def stale(host: Host, role: Role) -> list[str]:
    """Return the paths of files that an earlier apply of this role wrote and that are no longer wanted."""
    known = json.loads(host.read(f"{STATE}/{role.name}.files") or b"[]")
    return sorted(path for path in set(known) - role_files(role).keys() if host.read(path) is not None)


def pending(host: Host, role: Role) -> list[str]:
    return list(json.loads(host.read(f"{STATE}/{role.name}.pending") or b"[]"))


def compare_role(host: Host, role: Role) -> list[Difference]:
    found = [d for name, account in role.accounts.items() for d in account_differences(host, name, account)]
    found += sysctl_differences(host, role.sysctls)
    found += [d for path, file in role_files(role).items() for d in file_differences(host, path, file)]
    found += [difference("file", path, "present", False, True) for path in stale(host, role)]
    found += [
        difference("unit", full_name(note), "notified", note.split(":")[0], "waiting") for note in pending(host, role)
    ]
    found += unit_differences(role.units, unit_states(list(role.units)))
    found += live_differences(role.live)
    if role.installed:
        actual = (host.read(f"{INSTALLED}/{role.name}") or b"").decode().strip()
        if actual != role.installed:
            found.append(difference("install", role.name, "hash", role.installed, actual))
    return [dict(d, role=role.name) for d in found]


def apply_role(host: Host, role: Role) -> tuple[list[str], bool]:
    """Apply one role. Return (list of changes as text, whether the guard was armed)."""
    changes = []
    for name, account in role.accounts.items():
        aspects = {d["aspect"] for d in account_differences(host, name, account)}
        if aspects:
            set_account(host, name, account, aspects)
            changes.append(f"account {name}")
    for found in sysctl_differences(host, role.sysctls):
        set_sysctl(host, found["name"], found["wanted"])
        changes.append(f"sysctl {found['name']} = {found['wanted']}")
    written, guarded = apply_files(host, role)
    changes += written
    changes += apply_units(host, role, written)
    remember(host, f"{STATE}/{role.name}.files", list(role_files(role)))
    host.remove(f"{STATE}/{role.name}.pending")
    if role.installed:
        note = f"{role.installed}\n".encode()
        if host.read(f"{INSTALLED}/{role.name}") != note:
            host.write(f"{INSTALLED}/{role.name}", note)
            changes.append("install part")
    return changes, guarded


def apply_files(host: Host, role: Role) -> tuple[list[str], bool]:
    changes, guarded = list[str](), False
    for path, file in role_files(role).items():
        aspects = [d["aspect"] for d in file_differences(host, path, file)]
        if not aspects:
            continue
        armed = bool(role.guard and role.guard["path"] == path and "text" in aspects and host.read(path) is not None)
        guarded = guarded or armed
        install_file(host, path, file, partial(announce, host, role, path, role.guard if armed else None))
        changes.append(f"file {path}")
    for path in stale(host, role):
        host.remove(path)
        changes.append(f"file {path} removed")
    return changes, guarded


def announce(host: Host, role: Role, path: str, guard: Guard | None) -> None:
    """Record everything that must be on disk before the file is replaced: the rollback, and the units to notify."""
    if guard:
        must(shlex.split(guard["arm"]), f"guard of {path}")
    if notify := role_files(role)[path]["notify"]:
        notes = pending(host, role)
        remember(host, f"{STATE}/{role.name}.pending", notes + [note for note in notify if note not in notes])


def apply_units(host: Host, role: Role, written: Sequence[str]) -> list[str]:
    if any("/systemd/system/" in change for change in written):
        must(["systemctl", "daemon-reload"], "daemon-reload")
    states = unit_states(list(role.units))
    steps = unit_steps(role.units, states, pending(host, role))
    for step in steps:
        carry_out(step, states)
    return [f"unit {name}: {verb}" for verb, name in steps]


def remember(host: Host, path: str, value: object) -> None:
    data = json.dumps(value).encode()
    if host.read(path) != data:
        host.write(path, data, 0o600)


# --- a request -----------------------------------------------------------------------------------------------------


def installed(host: Host) -> dict[str, str]:
    folder = host.at(INSTALLED)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {name: (host.read(f"{INSTALLED}/{name}") or b"").decode().strip() for name in names}


@contextmanager
def failing_as(role: str) -> Iterator[None]:
    """Name the role in a failure. An OSError becomes `Failed`: the operator gets path and reason, not a traceback."""
    try:
        yield
    except Failed as error:
        error.role = role
        raise
    except OSError as error:
        failed = Failed(f"{error.filename or 'a file of the host'}: {error.strerror or error}")
        failed.role = role
        raise failed from error


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out the request: `mode`, `root` and `spec`.

    `installed` returns the hashes of the install parts, `compare` the `differences`. `apply` returns `roles`, the
    `changes` as text by role, and the roles `guarded` by an armed command. Raise `Failed`.
    """
    host = Host(request.get("root") or "/")
    if request["mode"] == "installed":
        with failing_as(""):
            return {"installed": installed(host)}
    roles, differences = roles_of(request["spec"]), list[Difference]()
    changes, guarded = dict[str, list[str]](), list[str]()
    for role in roles:
        with failing_as(role.name):
            if request["mode"] == "compare":
                differences += compare_role(host, role)
                continue
            done, armed = apply_role(host, role)
        changes |= {role.name: done} if done else {}
        guarded += [role.name] if armed else []
    if request["mode"] == "compare":
        return {"differences": differences}
    return {"roles": [role.name for role in roles], "changes": changes, "guarded": guarded}


def main() -> None:
    """Run as the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "mode": {"choices": ["apply", "compare", "installed"], "default": "apply"},
            "root": {"default": "/"},
            "spec": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        }
    )
    wanted = module.params
    try:
        result = answer({**wanted, "spec": {**wanted["spec"], "secrets": wanted["secrets"]}})
    except Failed as error:
        module.fail_json(msg=str(error), role=error.role)
    module.exit_json(changed=bool(result.get("changes")), **result)


if __name__ == "__main__":
    main()
