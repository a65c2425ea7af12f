"""Which sessions a router's change must bring back before it is kept."""

from __future__ import annotations

from tests import scripts

SCRIPT = scripts.PLAYBOOKS / "roles" / "frr" / "files" / "commit-confirm.py"
UP, DOWN = "Established", "Active"


def missing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The script's own decision."""
    return list(scripts.load(SCRIPT).missing(before, now))


def test_a_session_that_was_up_has_to_come_back() -> None:
    """Otherwise the change is undone."""
    assert missing({"10.0.0.1": UP, "10.0.0.3": UP}, {"10.0.0.1": UP, "10.0.0.3": DOWN}) == ["10.0.0.3"]


def test_a_session_that_was_down_before_is_not_waited_for() -> None:
    """A dead neighbour must not forbid every change."""
    assert missing({"10.0.0.1": DOWN}, {"10.0.0.1": DOWN}) == []


def test_a_neighbour_that_was_taken_out_is_no_loss() -> None:
    """That is what the change is for."""
    assert missing({"10.0.0.1": UP}, {}) == []
