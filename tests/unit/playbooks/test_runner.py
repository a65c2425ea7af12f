"""The runner's input to Ansible, its use of Ansible's events, and real runs of Ansible."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from playbooks import runner, temp_workspace
from playbooks.host_spec import File, RoleSpec, Unit, keyed
from playbooks.install_hash import ArtifactMissing, artifact_names, install_hash, package_names, role_names
from workstation.ssh import Access

SECRET = File(path="/etc/key", text="do not tell", secret=True)
WANTED = keyed(
    "futian-ops1",
    "192.0.2.1",
    (RoleSpec(role="base", files=(File(path="/etc/a", text="a {{ b }}\n"), SECRET), units=(Unit(name="a.service"),)),),
)


def test_texts_of_secret_files_are_passed_separately(tmp_path: Path) -> None:
    """Only `govcloud_secrets` contains them, and the module never logs it."""
    variables = runner.role_variables(WANTED, tmp_path)
    assert variables.pop("govcloud_secrets") == [{"file /etc/key": "do not tell"}]
    assert "do not tell" not in str(variables)


def test_consecutive_roles_without_steps_between_them_are_one_part(tmp_path: Path) -> None:
    """Each part is one task on the host. Steps of a role are never moved past another role."""
    (tmp_path / "wheels").mkdir()
    names = ("base", "nftables", "frr", "announcer", "registry", "service_setup", "ingress")
    roles = [RoleSpec(role=name, files=(File(path=f"/etc/{name}", text=name, secret=True),)) for name in names]
    variables = runner.role_variables(keyed("h", "192.0.2.1", roles), tmp_path)
    parts = variables["govcloud_parts"]
    assert [part["roles"] for part in parts] == [
        ["base", "nftables", "frr"],
        ["announcer", "registry", "service_setup"],
        ["ingress"],
    ]
    assert [part["after"] for part in parts] == [True, True, False]
    assert list(parts[1]["spec"]["files"]) == ["/etc/announcer", "/etc/registry", "/etc/service_setup"]
    assert set(variables["govcloud_secrets"][2]) == {"file /etc/ingress"}
    assert [key.get("guard", {}).get("path") for key in parts[0]["spec"]["roles"]] == [None, None, "/etc/frr/frr.conf"]
    assert all(key["installed"] for part in parts for key in part["spec"]["roles"])


def test_a_role_with_steps_before_its_files_begins_a_part(tmp_path: Path) -> None:
    """The check of the programs' version comes after the install part and before the files."""
    version = "1.36.4"
    for role in ("kubernetes_control_plane", "kubernetes_node"):
        for name in artifact_names(role, version):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("program")
    names = ("registry", "kubernetes_control_plane", "kubernetes_node")
    roles = [RoleSpec(role=name, settings={"version": version} if "kube" in name else {}) for name in names]
    parts = runner.role_variables(keyed("h", "192.0.2.1", roles), tmp_path)["govcloud_parts"]
    assert [part["roles"] for part in parts] == [[name] for name in names]
    assert [(part["before_install"], part["before"], part["after"]) for part in parts] == [
        (False, False, False),
        (False, True, True),
        (True, True, True),
    ]


def test_braces_in_a_configuration_are_not_a_template() -> None:
    """Only texts with braces are marked: Ansible would read a marked 0644 as a number."""
    text = yaml.dump(runner._literal({"mode": "0644", "text": "{{ $labels.host }}"}), Dumper=runner._Dumper)
    assert '!unsafe "{{ $labels.host }}"' in text
    assert "mode: '0644'" in text


def test_the_first_failure_is_reported_to_the_operator() -> None:
    """With host, role, task and the task's own message."""
    record = runner._Record(host="futian-ops1", on_event=None)
    data = {"role": "base", "task": "Bring files", "res": {"msg": "refused by its check"}}
    record.take({"event": "runner_on_failed", "event_data": data})
    record.take({"event": "runner_on_failed", "event_data": data | {"res": {"msg": "second"}}})
    assert record.failure is not None
    assert (record.failure.host, record.failure.role, record.failure.task) == ("futian-ops1", "base", "Bring files")
    assert "refused by its check" in str(record.failure)


def test_a_failed_loop_is_reported_with_the_reason_of_its_failed_item() -> None:
    """The loop's own message is only that an item failed."""
    record = runner._Record(host="h", on_event=None)
    items = [
        {"failed": False, "stdout": "fine"},
        {"failed": True, "msg": "non-zero return code", "stderr": "no primary"},
    ]
    result = {"failed": True, "msg": "One or more items failed", "results": items}
    record.take({"event": "runner_on_failed", "event_data": {"role": "r", "task": "T", "res": result}})
    assert record.failure is not None
    assert record.failure.reason == "non-zero return code\nno primary"


def test_changes_are_reported_in_the_modules_words() -> None:
    """`managed` names the role of each change. For a task of another module, the report uses the task's name."""
    events: list[runner.Event] = []
    record = runner._Record(host="h", on_event=events.append)
    applied = {"changed": True, "roles": ["base", "frr"], "changes": {"frr": ["file /etc/a", "file /etc/b"]}}
    record.take({"event": "runner_on_ok", "event_data": {"task": "Apply", "res": applied}})
    for result in ({"changed": False}, {"changed": True}):
        record.take({"event": "runner_on_ok", "event_data": {"role": "etcd", "task": "T", "res": result}})
    assert record.changes == ["frr: file /etc/a", "frr: file /etc/b", "etcd: T"]
    assert [(event.role, event.state) for event in events] == [
        ("base", "ok"),
        ("frr", "changed"),
        ("etcd", "ok"),
        ("etcd", "changed"),
    ]


def test_a_failed_apply_names_the_role_that_failed() -> None:
    """The task applies several roles."""
    record = runner._Record(host="h", on_event=None)
    result = {"failed": True, "msg": "/etc/a refused by its check", "role": "frr"}
    record.take({"event": "runner_on_failed", "event_data": {"task": "Apply", "res": result}})
    assert record.failure is not None
    assert (record.failure.role, record.failure.reason) == ("frr", "/etc/a refused by its check")


def test_a_host_that_does_not_answer_is_reported_by_name(tmp_path: Path) -> None:
    """A real run of Ansible and ssh, to an address without a listener."""
    access = Access(key=tmp_path / "key", known_hosts=tmp_path / "known_hosts")
    wanted = keyed("futian-ops1", "127.0.0.2", ())
    with pytest.raises(runner.PlaybookFailed, match="futian-ops1") as caught:
        runner.apply(wanted, access, artifacts=tmp_path, timeout_s=60)
    assert caught.value.task == "Read what is installed"
    assert not list(tmp_path.glob("govcloud-ansible-*"))


def test_the_workspace_of_a_killed_process_is_removed_and_one_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inventory may contain secrets. The process IDs of other runs may be invisible, for example in a bake."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    hold = (
        f"import tempfile, time; tempfile.tempdir = {str(tmp_path)!r}\n"
        "from playbooks.temp_workspace import temp_workspace\n"
        "with temp_workspace() as folder: print(folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout
        used = Path(living.stdout.readline().strip())
        temp_workspace.remove_abandoned()
        assert used.is_dir()
        living.kill()
        living.wait()
        temp_workspace.remove_abandoned()
        assert not used.exists()


def test_a_run_that_reached_no_host_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ansible itself reports success if its inventory has vanished."""
    monkeypatch.setattr(runner, "_literal", lambda _: {})
    access = Access(key=tmp_path / "key", known_hosts=tmp_path / "known_hosts")
    wanted = keyed("futian-ops1", "127.0.0.2", ())
    with pytest.raises(runner.PlaybookFailed, match="carried out nothing"):
        runner.apply(wanted, access, artifacts=tmp_path, timeout_s=60)


def test_a_directory_without_a_system_cannot_be_baked(tmp_path: Path) -> None:
    """The connection reports the problem."""
    with pytest.raises(runner.PlaybookFailed, match="holds no system with Python"):
        runner.bake(tmp_path, ("base",), artifacts=tmp_path, timeout_s=60)


def test_a_missing_artifact_is_reported_before_any_change(tmp_path: Path) -> None:
    """The error names the command that builds it."""
    with_artifacts = [name for name in role_names() if artifact_names(name)]
    for name in with_artifacts:
        with pytest.raises(ArtifactMissing, match="setup"):
            install_hash(name, tmp_path)


def test_the_version_in_a_roles_settings_selects_its_programs(tmp_path: Path) -> None:
    """Two sites with different versions get different programs from the same folder."""
    found = []
    for version in ("1.36.4", "1.37.2"):
        for name in artifact_names("kubernetes_node", version):
            assert f"/v{version}/" in name
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("program")
        role = RoleSpec(role="kubernetes_node", settings={"version": version})
        variables = runner.role_variables(keyed("futian-kube1", "127.0.0.2", (role,)), tmp_path)
        assert f"kubernetes/v{version}/kubelet" in variables["govcloud_programs"]["kubernetes_node"]
        found.append(variables["govcloud_install"]["kubernetes_node"])
    assert found[0] != found[1]


def test_the_install_hash_follows_packages_and_artifacts() -> None:
    """Two roles differ, and one role is stable."""
    folder = Path("/nonexistent")
    assert install_hash("base", folder) == install_hash("base", folder)
    assert install_hash("base", folder) != install_hash("frr", folder)
    assert "frr" in package_names("frr")
