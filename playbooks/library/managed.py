# Runs on the Python 3.9 of hosts. It calls `os` directly, so that the code shows each request to the kernel.
# ruff: noqa: B905, PTH103, PTH104, PTH108, PTH112, PTH116, PTH118, PTH120, PTH123, PTH208, SIM105
"""Apply the wanted files, units, sysctls and accounts to a host, or report how they differ. One file, two ways to run
it:

- as the Ansible module `managed`, once per role: `mode: apply`;
- as a plain script: `answer(request)` takes one JSON object, so one call compares a whole host.

It uses only the standard library of Python 3.9, because it runs on hosts. The request is
`{"mode", "root", "roles": [...]}`. Each role has `role, files, units, sysctls, accounts` as in `playbooks.host_spec`.
To compare, a file may have only `sha256` instead of its text.

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

DOCUMENTATION = """
module: managed
short_description: Files, units, sysctls and accounts of one role, in one process
options:
  mode: {type: str, choices: [apply, compare, installed], default: apply}
  role: {type: str, default: ''}
  installed: {type: str, default: '', description: Hash of the role's install part that has just been carried out.}
  files: {type: list, elements: dict, default: []}
  secrets: {type: dict, default: {}, description: Texts of the secret files by path.}
  units: {type: list, elements: dict, default: []}
  sysctls: {type: dict, default: {}}
  accounts: {type: list, elements: dict, default: []}
  guard: {type: dict, default: {}, description: "path and arm: command to run before that existing file is changed."}
  root: {type: str, default: /}
"""

STATE = "var/lib/govcloud/roles"
INSTALLED = "etc/govcloud/installed"
TEXT_LIMIT = 262144
"""Maximum length of a differing file's text in the reply, in bytes."""
COMMAND_TIMEOUT_S = 150
ENABLED_STATES = ("enabled", "enabled-runtime", "static", "indirect", "generated", "alias", "linked")


class Failed(Exception):
    """A step failed. The message names the step and the reason, and contains no secret."""


class Host:
    """The host's files under `root`. Change accounts and units only if root is `/`."""

    def __init__(self, root="/"):
        self.root = root

    def at(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def read(self, path):
        try:
            with open(self.at(path), "rb") as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path, data, mode=0o644):
        replace(self.at(path), data, mode, None, None, "")

    def remove(self, path):
        try:
            os.unlink(self.at(path))
        except FileNotFoundError:
            pass


def command(argv, stdin=b""):
    """Run the command and return (exit code, combined output)."""
    try:
        done = subprocess.run(
            argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return 127, "%s is not installed" % argv[0]
    except subprocess.TimeoutExpired:
        return 124, "no end after %d s" % COMMAND_TIMEOUT_S
    return done.returncode, done.stdout.decode(errors="replace").strip()


def must(argv, what):
    code, output = command(argv)
    if code:
        raise Failed("%s: %s" % (what, tail(output)))


def tail(text, lines=25):
    return "\n".join(text.splitlines()[-lines:])


def difference(kind, name, aspect, wanted, actual):
    return {"kind": kind, "name": name, "aspect": aspect, "wanted": wanted, "actual": actual}


# --- files ---------------------------------------------------------------------------------------------------------


def digest(data):
    return hashlib.sha256(data).hexdigest()


def wanted_digest(file):
    return file.get("sha256") or digest(file["text"].encode())


def file_differences(host, file):
    """Return the differences of one file. For a secret file they contain its hash instead of its text."""
    path = file["path"]
    data = host.read(path)
    if data is None:
        return [difference("file", path, "text", wanted_digest(file), None)]
    found = []
    if digest(data) != wanted_digest(file):
        actual = None if file.get("secret") else data[:TEXT_LIMIT].decode(errors="replace")
        found.append(difference("file", path, "text", wanted_digest(file), actual))
        if file.get("secret"):
            found[0]["actual"] = digest(data)
    stat = os.stat(host.at(path))
    actual_owner = "%s:%s" % (user_name(stat.st_uid), group_name(stat.st_gid))
    wanted_owner = "%s:%s" % (file.get("owner", "root"), file.get("group", "root"))
    if actual_owner != wanted_owner:
        found.append(difference("file", path, "owner", wanted_owner, actual_owner))
    mode = "%04o" % (stat.st_mode & 0o7777)
    if int(mode, 8) != int(file.get("mode", "0644"), 8):
        found.append(difference("file", path, "mode", file.get("mode", "0644"), mode))
    return found


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def replace(path, data, mode, uid, gid, validate, accepted=None):
    """Write a temporary file next to `path`, validate it, then rename it: readers see the old file or the new one."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".govcloud-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if uid is not None:
                os.fchown(stream.fileno(), uid, gid)
            os.fsync(stream.fileno())
        if validate:
            argv = [part.replace("%s", temporary) for part in shlex.split(validate)]
            must(argv, "%s refused by its check" % path)
        if accepted:
            accepted()
        os.rename(temporary, path)
    except OSError as error:  # the error of a write to a full disk names no file
        os.unlink(temporary)
        raise Failed("%s: %s; the previous file is unchanged" % (path, error.strerror or error)) from None
    except BaseException:
        os.unlink(temporary)
        raise
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def ids(file):
    try:
        return pwd.getpwnam(file.get("owner", "root")).pw_uid, grp.getgrnam(file.get("group", "root")).gr_gid
    except KeyError as error:
        raise Failed("%s: no such owner or group: %s" % (file["path"], error)) from None


def install_file(host, file, accepted=None):
    """Write the file if its own check accepts it. Call `accepted` after the check and before the rename."""
    uid, gid = ids(file)
    data = file["text"].encode()
    replace(host.at(file["path"]), data, int(file.get("mode", "0644"), 8), uid, gid, file.get("validate", ""), accepted)


# --- sysctls -------------------------------------------------------------------------------------------------------


def sysctl_file(role):
    """Return the file that sets a role's sysctls again after a reboot."""
    lines = ["# Written by govcloud, role %s. Do not edit: the next `govcloud up` restores it." % role["role"]]
    lines += ["%s = %s" % (key, value) for key, value in sorted(role["sysctls"].items())]
    path = "/etc/sysctl.d/60-govcloud-%s.conf" % role["role"]
    return {
        "path": path,
        "text": "\n".join(lines) + "\n",
        "owner": user_name(os.geteuid()),
        "group": group_name(os.getegid()),
    }


def sysctl_path(key):
    return "/proc/sys/" + key.replace(".", "/")


def sysctl_differences(host, sysctls):
    found = []
    for key, wanted in sorted(sysctls.items()):
        data = host.read(sysctl_path(key))
        actual = None if data is None else " ".join(data.decode().split())
        if actual != " ".join(str(wanted).split()):
            found.append(difference("sysctl", key, "value", str(wanted), actual))
    return found


def set_sysctl(host, key, value):
    try:
        with open(host.at(sysctl_path(key)), "w") as stream:
            stream.write(str(value))
    except OSError as error:
        raise Failed("sysctl %s = %s: %s" % (key, value, error.strerror)) from None


# --- accounts ------------------------------------------------------------------------------------------------------


def account_differences(host, account):
    """Return the differences of one account. Read them from the host's own files."""
    name = account["name"]
    entry = table(host, "/etc/passwd").get(name)
    if entry is None:
        return [difference("account", name, "present", True, False)]
    found = []
    for aspect, position in (("shell", 6), ("home", 5)):
        if entry[position] != account[aspect]:
            found.append(difference("account", name, aspect, account[aspect], entry[position]))
    members = table(host, "/etc/group")
    actual = [group for group, row in members.items() if name in row[3].split(",")]
    missing = [group for group in account.get("groups", ()) if group not in actual]
    if missing:
        found.append(difference("account", name, "groups", sorted(account["groups"]), sorted(actual)))
    if account["home"] != "/nonexistent":
        wanted = sorted(account.get("keys", ()))
        actual = sorted(key_lines(host.read(keys_path(account))))
        if wanted != actual:
            found.append(difference("account", name, "keys", wanted, actual))
    return found


def table(host, path):
    rows = (line.split(":") for line in (host.read(path) or b"").decode().splitlines())
    return {row[0]: row for row in rows if len(row) > 3}


def keys_path(account):
    return account["home"] + "/.ssh/authorized_keys"


def key_lines(data):
    lines = (data or b"").decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def set_account(host, account, aspects):
    name, groups = account["name"], list(account.get("groups", ()))
    for group in groups:
        must(["groupadd", "--system", "--force", group], "group %s" % group)
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
        set_keys(host, account)


def set_keys(host, account):
    person = pwd.getpwnam(account["name"])
    folder = os.path.dirname(host.at(keys_path(account)))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chown(folder, person.pw_uid, person.pw_gid)
    data = "".join(key + "\n" for key in account.get("keys", ())).encode()
    replace(host.at(keys_path(account)), data, 0o600, person.pw_uid, person.pw_gid, "")


# --- units ---------------------------------------------------------------------------------------------------------


def unit_states(names):
    """Return {name: (ActiveState, UnitFileState)} with one call of systemctl. Raise Failed if the call fails."""
    if not names:
        return {}
    show = ["systemctl", "show", "--property=Id,Names,ActiveState,UnitFileState", *names]
    code, output = command(show)
    if code:
        raise Failed("systemctl show: %s" % tail(output))
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    return {name: (block.get("ActiveState", ""), block.get("UnitFileState", "")) for name, block in zip(names, blocks)}


def unit_differences(units, states):
    found = []
    for unit in units:
        active, enabled = states[unit["name"]]
        if (active in ("active", "reloading")) != unit["active"]:
            found.append(difference("unit", unit["name"], "active", unit["active"], active or "unknown"))
        if (enabled in ENABLED_STATES) != unit["enabled"] and not (
            enabled in ("static", "indirect") and not unit["enabled"]
        ):
            found.append(difference("unit", unit["name"], "enabled", unit["enabled"], enabled or "unknown"))
    return found


def unit_steps(units, states, notes):
    """Return the systemctl calls, as argument lists, for the states of `units` and the notes `reload:X` and
    `restart:X`.

    A unit that is started or stopped is neither reloaded nor restarted. A unit that is restarted is not reloaded. A
    note has no effect on a unit that is not meant to run.
    """
    steps, moved = [], set()
    for unit in units:
        name = unit["name"]
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


def full_name(note):
    name = note.split(":", 1)[1]
    return name if "." in name else name + ".service"


def carry_out(step, states):
    name = step[1]
    if step[0] == "reload" and states.get(name, unit_states([name]).get(name))[0] not in ("active", "reloading"):
        return
    if step[0] == "start":
        command(["systemctl", "reset-failed", name])
    code, output = command(["systemctl", *step])
    if code:
        journal = command(["journalctl", "--unit", name, "--lines", "20", "--no-pager", "--output", "cat"])[1]
        raise Failed("systemctl %s %s: %s\n%s" % (step[0], name, tail(output), tail(journal)))


# --- running software ----------------------------------------------------------------------------------------------


def live_differences(argv):
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


def role_files(role):
    return [*role["files"], *([sysctl_file(role)] if role["sysctls"] else [])]


def stale(host, role):
    """Return the paths of files that an earlier apply of this role wrote and that are no longer wanted."""
    known = json.loads(host.read("%s/%s.files" % (STATE, role["role"])) or b"[]")
    return sorted(set(known) - {file["path"] for file in role_files(role)})


def pending(host, role):
    return json.loads(host.read("%s/%s.pending" % (STATE, role["role"])) or b"[]")


def compare_role(host, role):
    found = [d for account in role["accounts"] for d in account_differences(host, account)]
    found += sysctl_differences(host, role["sysctls"])
    found += [d for file in role_files(role) for d in file_differences(host, file)]
    found += [
        difference("file", path, "present", False, True) for path in stale(host, role) if host.read(path) is not None
    ]
    found += [
        difference("unit", full_name(note), "notified", note.split(":")[0], "waiting") for note in pending(host, role)
    ]
    found += unit_differences(role["units"], unit_states([unit["name"] for unit in role["units"]]))
    found += live_differences(role.get("live"))
    if role.get("installed"):
        actual = (host.read("%s/%s" % (INSTALLED, role["role"])) or b"").decode().strip()
        if actual != role["installed"]:
            found.append(difference("install", role["role"], "hash", role["installed"], actual))
    return [dict(d, role=role["role"]) for d in found]


def apply_role(host, role):
    """Apply one role. Return (list of changes as text, whether the guard was armed)."""
    changes = []
    for account in role["accounts"]:
        aspects = {d["aspect"] for d in account_differences(host, account)}
        if aspects:
            set_account(host, account, aspects)
            changes.append("account %s" % account["name"])
    for found in sysctl_differences(host, role["sysctls"]):
        set_sysctl(host, found["name"], found["wanted"])
        changes.append("sysctl %s = %s" % (found["name"], found["wanted"]))
    written, guarded = apply_files(host, role)
    changes += written
    changes += apply_units(host, role, written)
    remember(host, "%s/%s.files" % (STATE, role["role"]), [file["path"] for file in role_files(role)])
    host.remove("%s/%s.pending" % (STATE, role["role"]))
    if role.get("installed"):
        note = (role["installed"] + "\n").encode()
        if host.read("%s/%s" % (INSTALLED, role["role"])) != note:
            host.write("%s/%s" % (INSTALLED, role["role"]), note)
            changes.append("install part")
    return changes, guarded


def apply_files(host, role):
    changes, guarded, guard = [], False, role.get("guard") or {}
    for file in role_files(role):
        aspects = [d["aspect"] for d in file_differences(host, file)]
        if not aspects:
            continue
        armed = file["path"] == guard.get("path") and "text" in aspects and host.read(file["path"]) is not None
        guarded = guarded or armed
        install_file(host, file, lambda file=file, armed=armed: announce(host, role, file, guard if armed else None))
        changes.append("file %s" % file["path"])
    for path in stale(host, role):
        if host.read(path) is not None:
            host.remove(path)
            changes.append("file %s removed" % path)
    return changes, guarded


def announce(host, role, file, guard):
    """Record everything that must be on disk before the file is replaced: the rollback, and the units to notify."""
    if guard:
        must(shlex.split(guard["arm"]), "guard of %s" % file["path"])
    if file.get("notify"):
        notes = pending(host, role)
        remember(host, "%s/%s.pending" % (STATE, role["role"]), notes + [n for n in file["notify"] if n not in notes])


def apply_units(host, role, written):
    if any("/systemd/system/" in change for change in written):
        must(["systemctl", "daemon-reload"], "daemon-reload")
    states = unit_states([unit["name"] for unit in role["units"]])
    steps = unit_steps(role["units"], states, pending(host, role))
    for step in steps:
        carry_out(step, states)
    return ["unit %s: %s" % (step[1], step[0]) for step in steps]


def remember(host, path, value):
    data = json.dumps(value).encode()
    if host.read(path) != data:
        host.write(path, data, 0o600)


def installed(host):
    folder = host.at(INSTALLED)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {name: (host.read("%s/%s" % (INSTALLED, name)) or b"").decode().strip() for name in names}


def complete(role):
    """Return the role with every field present and the secret texts in their files."""
    secrets = role.get("secrets") or {}
    files = [dict(f, text=secrets.get(f["path"], f.get("text", ""))) for f in role.get("files") or ()]
    accounts = [{"shell": "/usr/sbin/nologin", "home": "/nonexistent", **a} for a in role.get("accounts") or ()]
    units = [{"enabled": True, "active": True, **u} for u in role.get("units") or ()]
    return dict(role, files=files, accounts=accounts, units=units, sysctls=role.get("sysctls") or {})


def answer(request):
    """Carry out the request. `compare` returns `differences`, `apply` `changes` and `guarded`, `installed` the hashes.

    An OSError also becomes `Failed`: with a full or broken disk the operator gets path and reason, not a traceback.
    """
    try:
        return answered(request)
    except OSError as error:
        raise Failed(f"{error.filename or 'a file of the host'}: {error.strerror or error}") from error


def answered(request):
    """Carry out the request as `answer` does, but raise the system's own errors."""
    host = Host(request.get("root") or "/")
    roles = [complete(role) for role in request.get("roles", ())]
    if request["mode"] == "installed":
        return {"installed": installed(host)}
    if request["mode"] == "compare":
        return {"differences": [d for role in roles for d in compare_role(host, role)]}
    changes, guarded = [], False
    for role in roles:
        done, armed = apply_role(host, role)
        changes += done
        guarded = guarded or armed
    return {"changes": changes, "guarded": guarded}


def main():
    """Run as the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    empty = {"type": "dict", "default": {}}
    rows = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "mode": {"choices": ["apply", "compare", "installed"], "default": "apply"},
            "role": {"default": ""},
            "installed": {"default": ""},
            "root": {"default": "/"},
            "guard": empty,
            "secrets": dict(empty, no_log=True),
            "sysctls": empty,
            "files": rows,
            "units": rows,
            "accounts": rows,
        }
    )
    wanted = module.params
    try:
        result = answer({"mode": wanted["mode"], "root": wanted["root"], "roles": [wanted]})
    except Failed as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(result.get("changes")), **result)


if __name__ == "__main__":
    main()
