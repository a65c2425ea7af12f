"""Apply and compare files, units, sysctls and accounts, on real files under a temporary root."""

from __future__ import annotations

import getpass
import grp
import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from playbooks import compare
from playbooks.host_programs import managed
from playbooks.host_spec import Account, File, RoleSpec, keyed


def file(path: str, text: str, **more: Any) -> File:
    """Return a file that this user may own."""
    return File(path=path, text=text, owner=getpass.getuser(), group=grp.getgrgid(os.getegid()).gr_name, **more)


def role(*files: File, name: str = "test", **more: Any) -> RoleSpec:
    """Return a role with these files."""
    return RoleSpec(role=name, files=files, **more)


def ask(root: Path, mode: str, *roles: RoleSpec, **keys: Any) -> Any:
    """Return the answer of the script. `keys` are added to each role."""
    spec = keyed("h", "192.0.2.1", roles)
    more = {**spec, "roles": [{**role, **keys} for role in spec["roles"]]}
    return managed.answer({"mode": mode, "root": str(root), "spec": more})


def changes(root: Path, *roles: RoleSpec, **keys: Any) -> list[str]:
    """Apply the roles and return the changes of all roles."""
    found = ask(root, "apply", *roles, **keys)["changes"]
    return [text for texts in found.values() for text in texts]


def test_apply_writes_files_only_once(tmp_path: Path) -> None:
    """Apply is idempotent, with mode and text."""
    wanted = role(file("/etc/a/b.conf", "one\n", mode="0640"))
    assert changes(tmp_path, wanted) == ["file /etc/a/b.conf"]
    assert (tmp_path / "etc/a/b.conf").read_text() == "one\n"
    assert (tmp_path / "etc/a/b.conf").stat().st_mode & 0o7777 == 0o640
    assert changes(tmp_path, wanted) == []
    assert ask(tmp_path, "compare", wanted)["differences"] == []


def test_compare_reports_a_manual_edit_with_its_text_and_changes_no_file(tmp_path: Path) -> None:
    """A preview shows the actual text."""
    wanted = role(file("/etc/b.conf", "one\n"))
    ask(tmp_path, "apply", wanted)
    (tmp_path / "etc/b.conf").write_text("two\n")
    (tmp_path / "etc/b.conf").chmod(0o600)
    found = ask(tmp_path, "compare", wanted)["differences"]
    assert [(d["aspect"], d["actual"]) for d in found] == [("text", "two\n"), ("mode", "0600")]
    assert (tmp_path / "etc/b.conf").read_text() == "two\n"


def test_compare_never_returns_a_secret_text(tmp_path: Path) -> None:
    """Both sides are hashes."""
    ask(tmp_path, "apply", role(file("/etc/key", "hidden old\n", secret=True)))
    answer = ask(tmp_path, "compare", role(file("/etc/key", "hidden new\n", secret=True)))
    assert "hidden" not in json.dumps(answer)
    assert answer["differences"][0]["actual"] == hashlib.sha256(b"hidden old\n").hexdigest()


def test_a_file_that_its_check_refuses_is_not_installed(tmp_path: Path) -> None:
    """The old file stays, and no temporary file remains."""
    ask(tmp_path, "apply", role(file("/etc/c.conf", "good\n")))
    with pytest.raises(managed.Failed, match=r"c\.conf refused by its check"):
        ask(tmp_path, "apply", role(file("/etc/c.conf", "bad\n", validate="/bin/grep -q good %s")))
    assert (tmp_path / "etc/c.conf").read_text() == "good\n"
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["c.conf"]


def test_an_error_of_the_system_is_reported_with_path_and_reason(tmp_path: Path) -> None:
    """Here a file exists at the path of a needed folder."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/d").write_text("in the way")
    with pytest.raises(managed.Failed, match=r"etc/d.*: (Not a directory|File exists)"):
        ask(tmp_path, "apply", role(file("/etc/d/d.conf", "x\n")))


def test_a_write_to_a_full_disk_names_its_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    """The system's own error names no file. A limit of the file size acts here like a full disk."""
    ask(tmp_path, "apply", role(file("/etc/e.conf", "old\n")))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(managed.Failed, match=r"etc/e\.conf: File too large; the previous file is unchanged"):
            ask(tmp_path, "apply", role(file("/etc/e.conf", "x" * 8192)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "etc/e.conf").read_text() == "old\n"
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["e.conf"]


def test_a_failed_apply_leaves_a_note_to_restart_the_unit(tmp_path: Path) -> None:
    """One file is written and the next one fails: the next apply restarts the unit of the first file."""
    first = file("/etc/d.conf", "x\n", notify=("restart:d.service",))
    with pytest.raises(managed.Failed):
        ask(tmp_path, "apply", role(first, file("/etc/e.conf", "y\n", validate="/bin/false")))
    found = ask(tmp_path, "compare", role(first))["differences"]
    assert [(d["kind"], d["name"], d["aspect"]) for d in found] == [("unit", "d.service", "notified")]


def test_a_file_that_is_no_longer_wanted_is_removed(tmp_path: Path) -> None:
    """Only files that the same role wrote before are removed."""
    ask(tmp_path, "apply", role(file("/etc/f.conf", "f"), file("/etc/g.conf", "g")))
    (tmp_path / "etc/by-hand.conf").write_text("h")
    wanted = role(file("/etc/f.conf", "f"))
    assert [d["name"] for d in ask(tmp_path, "compare", wanted)["differences"]] == ["/etc/g.conf"]
    assert changes(tmp_path, wanted) == ["file /etc/g.conf removed"]
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["by-hand.conf", "f.conf"]


def test_sysctls_are_set_now_and_after_a_reboot(tmp_path: Path) -> None:
    """Set now in /proc/sys, and at boot from /etc/sysctl.d."""
    key = tmp_path / "proc/sys/net/ipv4/ip_forward"
    key.parent.mkdir(parents=True)
    key.write_text("0\n")
    wanted = role(sysctls={"net.ipv4.ip_forward": "1"})
    ask(tmp_path, "apply", wanted)
    assert key.read_text() == "1"
    assert "net.ipv4.ip_forward = 1" in (tmp_path / "etc/sysctl.d/60-govcloud-test.conf").read_text()
    key.write_text("0")
    assert [d["name"] for d in ask(tmp_path, "compare", wanted)["differences"]] == ["net.ipv4.ip_forward"]


def test_accounts_are_compared_with_their_complete_keys(tmp_path: Path) -> None:
    """A key that was added by hand is a difference."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("ops:x:900:900::/home/ops:/bin/bash\n")
    (tmp_path / "etc/group").write_text("ops:x:900:\nadm:x:4:ops\n")
    keys = tmp_path / "home/ops/.ssh/authorized_keys"
    keys.parent.mkdir(parents=True)
    keys.write_text("ssh-ed25519 A\n")
    account = Account(name="ops", groups=("adm",), shell="/bin/bash", home="/home/ops", keys=("ssh-ed25519 A",))
    assert ask(tmp_path, "compare", role(accounts=(account,)))["differences"] == []
    keys.write_text("ssh-ed25519 A\nssh-ed25519 B\n")
    missing = Account(name="nobody-here")
    found = ask(tmp_path, "compare", role(accounts=(account, missing)))["differences"]
    assert [(d["name"], d["aspect"]) for d in found] == [("ops", "keys"), ("nobody-here", "present")]


def test_the_install_hash_is_recorded_and_compared(tmp_path: Path) -> None:
    """A changed install part is found on the host."""
    ask(tmp_path, "apply", role(), installed="abc")
    assert ask(tmp_path, "installed")["installed"] == {"test": "abc"}
    found = ask(tmp_path, "compare", role(), installed="def")["differences"]
    assert [(d["kind"], d["wanted"], d["actual"]) for d in found] == [("install", "def", "abc")]


def test_the_guard_runs_before_an_existing_file_changes(tmp_path: Path) -> None:
    """Not for a new file, not for an unchanged one. If the guard fails, the file is unchanged."""
    path = "/etc/router.conf"
    guard = {"path": path, "arm": f"/bin/cp {tmp_path}{path} {tmp_path}/kept"}
    for text, guarded in (("1", []), ("1", []), ("2", ["test"])):
        assert ask(tmp_path, "apply", role(file(path, text)), guard=guard)["guarded"] == guarded
    assert (tmp_path / "kept").read_text() == "1"
    with pytest.raises(managed.Failed, match="guard"):
        ask(tmp_path, "apply", role(file(path, "3")), guard={"path": path, "arm": "/bin/false"})
    assert (tmp_path / "etc/router.conf").read_text() == "2"


def unit(*, enabled: bool = True, active: bool = True) -> managed.UnitSpec:
    """Return a wanted unit."""
    return {"enabled": enabled, "active": active}


def test_roles_are_applied_in_their_order_and_a_failure_names_its_role(tmp_path: Path) -> None:
    """The role before it stays applied, the role after it is not begun."""
    one, three = (role(file(f"/etc/{name}", name), name=name) for name in ("one", "three"))
    two = role(file("/etc/two", "2", validate="/bin/false"), name="two")
    with pytest.raises(managed.Failed, match="refused by its check") as caught:
        ask(tmp_path, "apply", one, two, three)
    assert caught.value.role == "two"
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["one"]
    answer = ask(tmp_path, "apply", one, three)
    assert (answer["roles"], answer["changes"]) == (["one", "three"], {"three": ["file /etc/three"]})


def test_units_that_start_are_not_restarted_as_well() -> None:
    """A start reads the new files anyway."""
    steps = managed.unit_steps(
        {"a.service": unit()}, {"a.service": ("inactive", "disabled")}, ["restart:a", "reload:a"]
    )
    assert steps == [["enable", "a.service"], ["start", "a.service"]]


def test_a_restarted_unit_is_not_reloaded() -> None:
    """Each is done once, however many files request it."""
    states = {"a.service": ("active", "enabled")}
    notes = ["reload:a", "restart:a", "restart:a", "reload:b.service", "reload:b"]
    steps = managed.unit_steps({"a.service": unit()}, states, notes)
    assert steps == [["try-restart", "a.service"], ["reload", "b.service"]]


def test_a_unit_in_its_wanted_state_is_not_changed() -> None:
    """Static units cannot be enabled, so that is no difference."""
    states = {"a.service": ("active", "static"), "b.timer": ("inactive", "disabled")}
    units = {"a.service": unit(), "b.timer": unit(enabled=False, active=False)}
    assert managed.unit_steps(units, states, []) == []
    assert managed.unit_differences(units, states) == []


def test_a_stopped_unit_is_a_difference() -> None:
    """So is a unit that would not start after a reboot."""
    found = managed.unit_differences({"a.service": unit()}, {"a.service": ("failed", "disabled")})
    assert [(d["aspect"], d["actual"]) for d in found] == [("active", "failed"), ("enabled", "disabled")]


def test_the_roles_own_program_checks_running_software(tmp_path: Path) -> None:
    """A setting that is in no file is a difference like others. A program that fails reports no difference."""
    rows = '[{"name": "Patroni\'s ttl", "wanted": 20, "actual": 60}]'

    def found(*argv: str) -> list[dict[str, Any]]:
        return list(ask(tmp_path, "compare", role(live=argv))["differences"])

    (one,) = found("printf", "%s", rows)
    assert str(compare.Difference(**one)) == "Patroni's ttl: value is 60, wanted 20"
    assert (one["kind"], one["role"]) == ("setting", "test")
    for silent in (("true",), ("false",), ("no-such-program",), ("printf", "%s", "[]")):
        assert found(*silent) == []


def test_a_whole_host_is_compared_in_one_process_that_receives_only_hashes(tmp_path: Path) -> None:
    """The loader that is sent over ssh, run by a plain Python as on a host."""
    path = tmp_path / "etc" / "g.conf"
    path.parent.mkdir()
    path.write_text("on the host\n")
    hidden = File(path="/etc/h.conf", text="hidden\n", secret=True)
    wanted = keyed(
        "here", "127.0.0.1", (RoleSpec(role="g", files=(File(path="/etc/g.conf", text="wanted\n"), hidden)),)
    )
    request = compare.request(wanted, {})
    assert not [text for text in ("wanted\\n", "hidden\\n") if text in json.dumps(request)]
    message = compare.SCRIPT.read_bytes() + b"\0" + json.dumps(request | {"root": str(tmp_path)}).encode()
    argv = [sys.executable, "-I", "-c", compare._LOADER]
    done = subprocess.run(argv, input=message, capture_output=True, check=True)
    found = compare.differences(wanted, json.loads(done.stdout))
    assert (found[0].wanted, found[0].actual) == ("wanted\n", "on the host\n")
    assert "-on the host" in str(found[0])
    assert "+wanted" in str(found[0])
    assert (found[-1].name, found[-1].wanted) == ("/etc/h.conf", managed.digest(b"hidden\n"))
