"""When an update may be a mere read: everything that decides what is declared is as it was."""

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
    "a site that is left out": replace(CONTEXT, without=frozenset({"nanshan"})),
}


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a checkout of its own, and a stack that was brought up completely."""
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
    """As the engine would write it."""
    path = state_files.checkpoint(stack)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": [], **latest}}}))


def provider_script() -> Path:
    """The executable of our provider."""
    return state_files.engine_home() / "bin" / workspace.PLUGIN


def test_the_same_stands_until_it_is_forgotten() -> None:
    """Whoever begins a change forgets first, so that a change that was cut off is never taken for the whole."""
    assert fingerprint.is_current(CONTEXT, STACK)
    fingerprint.invalidate(STACK)
    assert not fingerprint.is_current(CONTEXT, STACK)


@pytest.mark.parametrize("what", OTHERS)
def test_nothing_stands_when_another_thing_is_declared(what: str) -> None:
    """Each part of what a program is run with counts."""
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
def test_nothing_stands_when_code_or_state_are_others(what: str, code: Path) -> None:
    """A program is a function of these too."""
    CHANGES[what](code)
    assert not fingerprint.is_current(CONTEXT, STACK)


@pytest.mark.parametrize(("days", "stands"), [(300, True), (0, False)], ids=["fresh", "due"])
def test_a_certificate_that_is_due_is_work(days: int, stands: bool) -> None:
    """It differs from its declaration with time alone."""
    _, cert = pki.new_authority("any", days)
    checkpoint(STACK, resources=[{"type": CERTIFICATE, "urn": "x", "outputs": {"cert": cert}}])
    fingerprint.save(CONTEXT, STACK)
    assert fingerprint.is_current(CONTEXT, STACK) == stands


def test_a_stack_without_secrets_stands_also_after_they_were_made() -> None:
    """The first build makes them after it; its next update is a mere read already."""
    checkpoint("network")
    (state_files.engine_home() / "network").mkdir()
    fingerprint.save(replace(CONTEXT, secrets_exist=False), "network")
    checkpoint("data", manifest={"time": "2026-01-01T00:00:00Z"})
    assert fingerprint.is_current(CONTEXT, "network")


@pytest.mark.parametrize(("stack", "stands"), [("network", True), (STACK, True), ("platform", False)])
def test_a_cluster_that_has_come_up_since_is_the_platforms_affair_alone(stack: str, stands: bool) -> None:
    """Sites are built side by side: one is noted while another's cluster comes up, and is unchanged all the same."""
    checkpoint(stack)
    (state_files.engine_home() / stack).mkdir(exist_ok=True)
    fingerprint.save(CONTEXT, stack)
    assert fingerprint.is_current(replace(CONTEXT, clusters=frozenset({"futian", "nanshan"})), stack) == stands


def test_what_a_killed_run_left_open_is_work() -> None:
    """Even where everything else is the same."""
    checkpoint(STACK, pending_operations=[{"resource": {"urn": "a::b"}, "type": "updating"}])
    fingerprint.save(CONTEXT, STACK)
    assert not fingerprint.is_current(CONTEXT, STACK)


def test_a_stack_that_was_brought_up_without_a_site_is_not_complete() -> None:
    """The next `up` brings that site up."""
    fingerprint.invalidate(STACK)
    fingerprint.save(OTHERS["a site that is left out"], STACK)
    assert not fingerprint.is_current(CONTEXT, STACK)
