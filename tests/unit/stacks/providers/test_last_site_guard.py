"""The guard refuses a change at the only site that still answers, and never refuses a repair."""

from __future__ import annotations

import pytest

from stacks.providers import last_site_guard, playbook


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


def test_an_empty_guard_checks_no_site() -> None:
    """Hosts at sites without the service have an empty guard."""
    last_site_guard.check("shaoguan-edge1", {})


def test_the_fingerprint_covers_only_the_declared_inputs() -> None:
    """Neither the host's actual state nor the guard changes the fingerprint."""
    declared = {"files": {"/etc/x": {"text": "a"}}, "gate": {}}
    assert playbook.declared_fingerprint(declared, ("files",)) == playbook.declared_fingerprint(
        {**declared, "gate": {"site": "futian"}}, ("files",)
    )
    assert playbook.declared_fingerprint(declared, ("files",)) != playbook.declared_fingerprint(
        {"files": {}}, ("files",)
    )
