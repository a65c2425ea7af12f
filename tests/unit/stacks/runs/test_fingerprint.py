"""When an update may be a mere refresh: all inputs of the declaration are unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from estate.addressing import plan
from estate.loader import load
from playbooks import pki
from stacks.components.resources import CERTIFICATE
from stacks.programs.context import Context
from stacks.runs import fingerprint, workspace
from stacks.state import state_files
from workstation import paths
from workstation.oci import OciImage

STACK = "futian"
ESTATE = load()
CONTEXT = Context(estate=ESTATE, plan=plan(ESTATE), instance="lab-1", operator_keys=("ssh-ed25519 A",))
IMAGE = OciImage(name="approval", folder=Path("/images"), digest="sha256:1")
OTHERS: dict[str, Context] = {
    "estate": replace(CONTEXT, estate=ESTATE.model_copy(update={"name": "another"})),
    "instance": replace(CONTEXT, instance="lab-2"),
    "key": replace(CONTEXT, operator_keys=("ssh-ed25519 B",)),
    "image": replace(CONTEXT, images={"approval": IMAGE}),
    "built": replace(CONTEXT, built=frozenset({"futian-kube1"})),
    "a site that is excluded": replace(CONTEXT, without=frozenset({"nanshan"})),
}


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate home and checkout, and a stack that was completely deployed."""
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "home"))
    workspace.prepare()
    checkout = tmp_path / "checkout"
    (checkout / "stacks").mkdir(parents=True)
    (checkout / "stacks" / "program.py").write_text("declare()")
    monkeypatch.setattr(paths, "repo", lambda: checkout)
    for stack in ("data", STACK):
        checkpoint(stack)
    (state_files.engine_home() / STACK).mkdir()
    fingerprint.save(CONTEXT, STACK)
    return checkout


def checkpoint(stack: str, **latest: Any) -> None:
    """Write a checkpoint as the engine would."""
    path = state_files.checkpoint(stack)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": [], **latest}}}))


def provider_script() -> Path:
    """Path of our provider's executable."""
    return state_files.engine_home() / "bin" / workspace.PLUGIN


def test_a_fingerprint_is_current_until_it_is_invalidated() -> None:
    """A change starts with an invalidation, so an interrupted change never counts as complete."""
    assert fingerprint.is_current(CONTEXT, STACK)
    fingerprint.invalidate(STACK)
    assert not fingerprint.is_current(CONTEXT, STACK)


@pytest.mark.parametrize("what", OTHERS)
def test_another_declaration_is_not_current(what: str) -> None:
    """Each part of a program's context counts."""
    assert not fingerprint.is_current(OTHERS[what], STACK)


CHANGES: dict[str, Callable[[Path], Any]] = {
    "code": lambda checkout: (checkout / "stacks" / "program.py").write_text("declare(more)"),
    "a new file": lambda checkout: (checkout / "stacks" / "more.py").write_text(""),
    "the stack's state": lambda checkout: checkpoint(STACK, manifest={"time": "2026-01-01T00:00:00Z"}),
    "the secrets' state": lambda checkout: checkpoint("data", manifest={"time": "2026-01-01T00:00:00Z"}),
    "another provider": lambda checkout: provider_script().write_text("#!/bin/sh\n"),
    "settings": lambda checkout: state_files.settings(STACK).write_text("config: {}\n"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_other_code_or_another_state_is_not_current(what: str, code: Path) -> None:
    """The result of a program depends on these too."""
    CHANGES[what](code)
    assert not fingerprint.is_current(CONTEXT, STACK)


@pytest.mark.parametrize(("days", "current"), [(300, True), (0, False)], ids=["fresh", "due"])
def test_a_stack_with_a_certificate_due_for_renewal_is_not_current(days: int, current: bool) -> None:
    """It expires with time alone."""
    _, cert = pki.new_authority("any", days)
    checkpoint(STACK, resources=[{"type": CERTIFICATE, "urn": "x", "outputs": {"cert": cert}}])
    fingerprint.save(CONTEXT, STACK)
    assert fingerprint.is_current(CONTEXT, STACK) == current


def test_a_stack_without_secrets_stays_current_after_the_secrets_were_made() -> None:
    """The first build makes the secrets after this stack. The next update of the stack is already a mere refresh."""
    checkpoint("network")
    (state_files.engine_home() / "network").mkdir()
    fingerprint.save(replace(CONTEXT, secrets_exist=False), "network")
    checkpoint("data", manifest={"time": "2026-01-01T00:00:00Z"})
    assert fingerprint.is_current(CONTEXT, "network")


@pytest.mark.parametrize(("stack", "current"), [("network", True), (STACK, True), ("platform", False)])
def test_a_new_cluster_changes_only_the_fingerprint_of_the_platform(stack: str, current: bool) -> None:
    """Sites deploy in parallel. The fingerprint of one site is saved while another site's cluster still starts."""
    checkpoint(stack)
    (state_files.engine_home() / stack).mkdir(exist_ok=True)
    fingerprint.save(CONTEXT, stack)
    assert fingerprint.is_current(replace(CONTEXT, clusters=frozenset({"futian", "nanshan"})), stack) == current


def test_a_stack_with_pending_operations_is_not_current() -> None:
    """A killed run left them. All other inputs are the same."""
    checkpoint(STACK, pending_operations=[{"resource": {"urn": "a::b"}, "type": "updating"}])
    fingerprint.save(CONTEXT, STACK)
    assert not fingerprint.is_current(CONTEXT, STACK)


def test_a_stack_that_was_deployed_without_a_site_is_not_current() -> None:
    """The next `up` deploys that site."""
    fingerprint.invalidate(STACK)
    fingerprint.save(OTHERS["a site that is excluded"], STACK)
    assert not fingerprint.is_current(CONTEXT, STACK)
