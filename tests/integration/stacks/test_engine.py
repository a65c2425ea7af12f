"""The real engine with our provider, on resources that need no host: secrets, protection, state repair."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.automation.errors import CommandError
from pulumi.automation.events import EngineEvent

from estate.addressing import plan
from estate.loader import load
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.pki import leaves
from stacks import kubeconfig
from stacks.components.secrets import ClusterLeaves, Secrets
from stacks.runs import state_repair, workspace
from stacks.state import checkpoints, state_files, store
from tests.unit.playbooks.clusters import switched_on
from tests.unit.stacks.declared import closing_loops
from workstation import paths
from workstation.errors import GovcloudError

ESTATE = load()
LEAVES = leaves(ESTATE, plan(ESTATE))
PASSWORDS = ("replication", "service_login")
STACK = "data"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate home with its own state."""
    workspace.engine_binary()
    monkeypatch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "home"))
    workspace.prepare()
    return tmp_path / "home"


def declare() -> None:
    """Declare the secrets as the data stack does."""
    pulumi.export("secrets", Secrets("secrets", estate_name="test", leaves=LEAVES, passwords=PASSWORDS).values)


def run(program: Callable[[], None], operation: str = "up") -> dict[str, int]:
    """Run the engine once. Return its count of operations by kind."""
    counts: dict[str, int] = {}

    def on_event(event: EngineEvent) -> None:
        if event.summary_event:
            counts.update({str(getattr(op, "value", op)): n for op, n in event.summary_event.resource_changes.items()})

    stack = workspace.open_stack(STACK, program)
    with closing_loops():
        getattr(stack, operation)(refresh=True, on_event=on_event, suppress_outputs=True)
    return counts


def test_secrets_are_created_once_and_never_stored_in_plain_text(home: Path) -> None:
    """A second run changes nothing, no file in the home contains a key, and the source tree stays clean."""
    before = _tree()
    assert run(declare)["create"] >= len(LEAVES) + 5
    assert set(run(declare)) == {"same"}
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any("BEGIN CERTIFICATE" in path.read_text(errors="replace") for path in files)
    assert not any("PRIVATE KEY" in path.read_text(errors="replace") for path in files)
    assert _tree() == before


def test_a_bureaus_kubeconfig_comes_from_the_state() -> None:
    """It contains the certificate from the state. Before that exists, the error gives the next step."""
    estate = switched_on(ESTATE, "nanshan")
    computed, site = plan(estate), "nanshan"
    with pytest.raises(GovcloudError, match="no secrets yet"):
        kubeconfig.render(estate, site)
    wanted = ClusterLeaves(cluster=kubernetes_pki.leaves(estate, computed, site), etcd=kubernetes_pki.etcd_leaves())

    def program() -> None:
        secrets = Secrets("secrets", estate_name="test", leaves=LEAVES, passwords=PASSWORDS, clusters={site: wanted})
        pulumi.export("secrets", secrets.values)

    run(program)
    user = yaml.safe_load(kubeconfig.render(estate, site, "human-resources"))["users"][0]["user"]
    cert = base64.b64decode(user["client-certificate-data"]).decode()
    assert cert == _outputs("kubernetes-nanshan-bureau-human-resources")["cert"]
    assert kubeconfig.render(estate, site) != kubeconfig.render(estate, site, "human-resources")
    with pytest.raises(GovcloudError, match="planning has no certificate") as caught:
        kubeconfig.render(estate, site, "planning")
    assert "govcloud up data" in caught.value.next_step


def test_the_state_contains_no_stack_traces_and_source_positions() -> None:
    """They would be most of the state: a stack trace for each resource, written again with each other resource."""
    run(declare)
    declared = [found for found in store.resources(STACK) if found["type"] != "pulumi:pulumi:Stack"]
    assert len(declared) > len(LEAVES)
    assert not [found["urn"] for found in declared if found.keys() & {"stackTrace", "sourcePosition"}]


def test_an_error_in_a_program_is_reported_with_its_own_text() -> None:
    """This also holds for an error in an output's value, which the SDK evaluates after the program's end."""

    def program() -> None:
        secrets = Secrets("secrets", estate_name="test", leaves=LEAVES, passwords=PASSWORDS)
        pulumi.export("wrong", secrets.values.apply(lambda values: values["a name that does not exist"]))

    with pytest.raises(CommandError, match="a name that does not exist"):
        run(program)
    assert set(run(declare)) >= {"same"}


def test_a_preview_of_a_new_stack_changes_nothing() -> None:
    """It counts the resources to create."""
    assert run(declare, "preview")["create"] >= len(LEAVES)
    assert not [resource for resource in store.resources(STACK) if "Certificate" in resource["type"]]


def test_passwords_and_the_authority_are_not_deleted() -> None:
    """A program that no longer declares them fails, and they stay in the state."""
    run(declare)
    with pytest.raises(CommandError, match="protect"):
        run(lambda: None)
    kept = [resource["type"] for resource in store.resources(STACK)]
    assert "govcloud:index:Authority" in kept
    assert kept.count("govcloud:index:Password") == len(PASSWORDS)


def test_a_certificate_with_another_name_is_issued_again() -> None:
    """Its key changes too. All other certificates stay."""
    run(declare)
    first = _outputs("certificate-operator")["cert"]
    changed = tuple(leaf if leaf.name != "operator" else _renamed(leaf) for leaf in LEAVES)
    counts = run(lambda: Secrets("secrets", estate_name="test", leaves=changed, passwords=PASSWORDS) and None)
    assert counts["update"] == 1
    assert _outputs("certificate-operator")["cert"] != first


def test_an_interrupted_operation_is_repaired() -> None:
    """A pending operation of a killed engine is dropped and reported. The next run changes nothing."""
    run(declare)
    checkpoint = json.loads(state_files.checkpoint(STACK).read_text())
    latest = checkpoint["checkpoint"]["latest"]
    resource = next(item for item in latest["resources"] if item["type"].endswith(":Password"))
    latest["pending_operations"] = [{"resource": resource, "type": "updating"}]
    state_files.checkpoint(STACK).write_text(json.dumps(checkpoint))
    said: list[str] = []
    state_repair.drop_pending_operations(STACK, said.append)
    assert "password-" in said[0]
    assert store.pending(STACK) == []
    assert set(run(declare)) == {"same"}


def test_a_truncated_metadata_file_does_not_make_the_state_unreadable(home: Path) -> None:
    """Our runs never write such files. A file left by another `pulumi` is deleted before the next run."""
    run(declare)
    assert not list(home.rglob("*.attrs"))
    broken = state_files.checkpoint(STACK).with_name(f"{STACK}.json.attrs")
    broken.touch()
    with pytest.raises(CommandError, match="EOF"):
        run(declare)
    workspace.prepare()
    assert set(run(declare)) == {"same"}


def test_a_truncated_checkpoint_is_repaired_and_no_password_changes(home: Path) -> None:
    """This holds for any length, and if the backend has copied the truncated file to its `.bak`."""
    run(declare)
    checkpoints.back_up(STACK)
    path, intact = state_files.checkpoint(STACK), state_files.checkpoint(STACK).read_bytes()
    path.write_bytes(intact[: len(intact) // 2])
    with pytest.raises(CommandError, match="unexpected end of JSON input"):
        workspace.open_stack(STACK, declare).preview()
    for length in (0, 1, len(intact) // 3, len(intact) - 1):
        path.write_bytes(intact[:length])
        path.with_suffix(".json.bak").write_bytes(intact[:length])
        checkpoints.repair(STACK, lambda line: None)
        assert path.read_bytes() == intact
    path.write_bytes(b"")
    checkpoints.backup_path(STACK).unlink()
    checkpoints.repair(STACK, lambda line: None)  # from the history
    before = _outputs("authority")["cert"]
    assert set(run(declare)) == {"same"}
    assert _outputs("authority")["cert"] == before


def _renamed(leaf: Any) -> Any:
    return type(leaf)(name=leaf.name, subject=leaf.subject, sans=(*leaf.sans, "another"), usages=leaf.usages)


def _outputs(name: str) -> dict[str, Any]:
    found = next(item for item in store.resources(STACK) if str(item["urn"]).endswith(f"::{name}"))
    return dict(json.loads(json.dumps(found["outputs"])))


def _tree() -> str:
    command = ["git", "status", "--porcelain", "--", "stacks", "Pulumi.yaml", "estate"]
    return subprocess.run(command, cwd=paths.repo(), capture_output=True, text=True, check=True).stdout
