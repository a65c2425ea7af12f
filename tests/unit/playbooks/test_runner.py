"""The runner's input to Ansible, its use of Ansible's events, and real runs of Ansible."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from playbooks import runner, temp_workspace
from playbooks.host_spec import Account, File, HostSpec, RoleSpec, Unit
from playbooks.install_hash import ArtifactMissing, artifact_names, install_hash, package_names, role_names
from workstation.ssh import Access

SECRET = File(path="/etc/key", text="do not tell", secret=True)
WANTED = HostSpec(
    host="futian-ops1",
    address="192.0.2.1",
    roles=(
        RoleSpec(role="base", files=(File(path="/etc/a", text="a {{ b }}\n"), SECRET), units=(Unit(name="a.service"),)),
    ),
)


def test_texts_of_secret_files_are_passed_separately(tmp_path: Path) -> None:
    """Only `<role>_secrets` contains them, and the module never logs it."""
    variables = runner.role_variables(WANTED, tmp_path)
    assert variables["base_secrets"] == {"/etc/key": "do not tell"}
    assert "do not tell" not in str(variables["base_files"])


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


def test_changes_are_reported_in_the_modules_words() -> None:
    """For a task of another module, the report uses the task's name."""
    record = runner._Record(host="h", on_event=None)
    for result in ({"changed": True, "changes": ["file /etc/a"]}, {"changed": False}, {"changed": True}):
        record.take({"event": "runner_on_ok", "event_data": {"role": "base", "task": "T", "res": result}})
    assert record.changes == ["base: file /etc/a", "base: T"]


def test_a_host_that_does_not_answer_is_reported_by_name(tmp_path: Path) -> None:
    """A real run of Ansible and ssh, to an address without a listener."""
    access = Access(key=tmp_path / "key", known_hosts=tmp_path / "known_hosts")
    wanted = HostSpec(host="futian-ops1", address="127.0.0.2", roles=())
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
    wanted = HostSpec(host="futian-ops1", address="127.0.0.2", roles=())
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
        wanted = HostSpec(host="futian-kube1", address="127.0.0.2", roles=(role,))
        variables = runner.role_variables(wanted, tmp_path)
        assert f"kubernetes/v{version}/kubelet" in variables["govcloud_programs"]["kubernetes_node"]
        found.append(variables["govcloud_install"]["kubernetes_node"])
    assert found[0] != found[1]


def test_the_install_hash_follows_packages_and_artifacts() -> None:
    """Two roles differ, and one role is stable."""
    folder = Path("/nonexistent")
    assert install_hash("base", folder) == install_hash("base", folder)
    assert install_hash("base", folder) != install_hash("frr", folder)
    assert "frr" in package_names("frr")


def test_a_host_spec_survives_a_round_trip_through_json() -> None:
    """The spec is a Pulumi resource's input."""
    account = Account(name="ops", groups=("adm",), keys=("k",))
    role = RoleSpec(
        role="base", files=(SECRET,), units=(Unit(name="u"),), sysctls={"a": "1"}, accounts=(account,), settings={}
    )
    wanted = HostSpec(host="h", address="a", roles=(role,))
    assert HostSpec.from_dict(wanted.as_dict()) == wanted
