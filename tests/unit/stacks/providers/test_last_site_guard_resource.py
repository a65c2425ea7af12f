"""The pods of the only site that still answers are not changed."""

from __future__ import annotations

import asyncio

import pytest

from stacks.providers.last_site_guard import LastSiteGuard
from stacks.providers.resource import Call, ResourceFailed
from stacks.providers.values import to_property
from workstation import ssh

GUARD = {"site": "futian", "service": "approval", "argv": ["ask"], "at": {"futian": "10.0.0.1", "nanshan": "10.0.0.2"}}
WANTED = {"site": "futian", "service": "approval", "version": "1", "gate": GUARD}
NEWS = {key: to_property(value) for key, value in WANTED.items()}


def asked(patch: pytest.MonkeyPatch, *answering: str, preview: bool = False) -> str:
    """Create the resource while the hosts at these addresses answer; return its ID."""

    def run(access: ssh.Access, address: str, argv: list[str], *, timeout_s: float) -> ssh.Result:
        return ssh.Result(returncode=0 if address in answering else 1, stdout=b"", stderr=b"")

    patch.setattr(ssh, "run", run)
    call = Call(name="approval-permit", stack="platform", preview=preview, timeout_s=0, say=lambda line: None)
    return asyncio.run(LastSiteGuard().create(NEWS, call))[0]


def test_a_change_at_the_only_answering_site_is_refused_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceFailed, match=r"futian: pods: not changed: approval: futian is the only .*--without"):
        asked(monkeypatch, "10.0.0.1")


@pytest.mark.parametrize("answering", [("10.0.0.1", "10.0.0.2"), ("10.0.0.2",), ()])
def test_a_change_is_allowed_if_another_site_answers_or_this_site_does_not(
    monkeypatch: pytest.MonkeyPatch, answering: tuple[str, ...]
) -> None:
    """Also on a first build, and if the change is the repair."""
    assert asked(monkeypatch, *answering) == "futian/approval"


def test_a_preview_checks_no_site(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, "10.0.0.1", preview=True) == "futian/approval"


def test_only_a_new_version_of_the_pods_is_a_change() -> None:
    assert not LastSiteGuard().diff(NEWS, {**NEWS, "gate": to_property({})}).changes
    assert LastSiteGuard().diff(NEWS, {**NEWS, "version": to_property("2")}).changes
