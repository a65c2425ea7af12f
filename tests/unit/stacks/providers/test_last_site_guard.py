"""The guard refuses a change at the only site that still answers, and never refuses a repair."""

from __future__ import annotations

import pytest

from stacks.providers import last_site_guard, playbook
from stacks.providers.resource import ResourceFailed
from workstation import ssh


@pytest.mark.parametrize(
    ("answering", "refused"),
    [
        ({"futian": True, "nanshan": True}, False),
        ({"futian": True, "nanshan": False}, True),
        ({"futian": False, "nanshan": True}, False),
        ({"futian": False, "nanshan": False}, False),
        ({"futian": True}, False),
    ],
)
def test_a_change_is_refused_only_at_the_last_site_that_answers(answering: dict[str, bool], refused: bool) -> None:
    """A broken site may be repaired. A site may be changed if there is no second site, or if that one is excluded."""
    reason = last_site_guard.refusal("futian", answering)
    assert bool(reason) is refused
    assert not refused or "--without nanshan" in reason


def test_without_guards_no_site_is_checked() -> None:
    """Hosts at sites where no public service is active have no guard."""
    last_site_guard.check("shaoguan-edge1", [])


SITES = {"futian": "10.0.0.1", "nanshan": "10.0.0.2"}


@pytest.mark.parametrize(
    ("lost", "refused"),
    [(set(), ()), ({"approval"}, ("approval",)), ({"tea"}, ("tea",)), ({"approval", "tea"}, ("approval", "tea"))],
)
def test_every_service_of_the_site_must_have_another_site_that_answers(
    monkeypatch: pytest.MonkeyPatch, lost: set[str], refused: tuple[str, ...]
) -> None:
    """The other site does not answer for the `lost` services. The refusal names each of them."""

    def run(access: ssh.Access, address: str, argv: list[str], *, timeout_s: float) -> ssh.Result:
        fails = address == SITES["nanshan"] and argv[0] in lost
        return ssh.Result(returncode=int(fails), stdout=b"", stderr=b"")

    monkeypatch.setattr(ssh, "run", run)
    guards = [{"site": "futian", "service": name, "argv": [name], "at": SITES} for name in ("approval", "tea")]
    if not refused:
        last_site_guard.check("futian-edge1", guards)
        return
    reason = "{}: futian is the only site that answers; nanshan does not"
    with pytest.raises(ResourceFailed) as caught:
        last_site_guard.check("futian-edge1", guards)
    assert str(caught.value).startswith("futian-edge1: not changed: ")
    assert [name for name in ("approval", "tea") if reason.format(name) in str(caught.value)] == list(refused)


def test_the_fingerprint_covers_only_the_declared_inputs() -> None:
    """Neither the host's actual state nor the guard changes the fingerprint."""
    declared = {"files": {"/etc/x": {"text": "a"}}, "gate": []}
    assert playbook.declared_fingerprint(declared, ("files",)) == playbook.declared_fingerprint(
        {**declared, "gate": [{"site": "futian"}]}, ("files",)
    )
    assert playbook.declared_fingerprint(declared, ("files",)) != playbook.declared_fingerprint(
        {"files": {}}, ("files",)
    )
