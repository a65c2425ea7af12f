"""Never the only site that still answers, and no repair is ever refused."""

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
    """A broken site may be repaired; a site without a second one, or whose second was named as dead, may be changed."""
    reason = last_site_guard.refusal("futian", answering)
    assert bool(reason) is refused
    assert not refused or "--without nanshan" in reason


def test_an_open_gate_asks_nobody() -> None:
    """Hosts at sites that serve nothing have one."""
    last_site_guard.check("shaoguan-edge1", {})


def test_a_hand_edit_does_not_change_what_was_declared() -> None:
    """The fingerprint is of the inputs, whatever stands on the host or in the gate."""
    declared = {"files": {"/etc/x": {"text": "a"}}, "gate": {}}
    assert playbook.declared_fingerprint(declared, ("files",)) == playbook.declared_fingerprint(
        {**declared, "gate": {"site": "futian"}}, ("files",)
    )
    assert playbook.declared_fingerprint(declared, ("files",)) != playbook.declared_fingerprint(
        {"files": {}}, ("files",)
    )
