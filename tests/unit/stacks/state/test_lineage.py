"""Which of two states is newer, and what a workstation may do with an older, a newer or a foreign one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stacks.state import restore
from stacks.state.lineage import Relation, StateMetadata, refusal_if_behind, relation

HERE = StateMetadata(
    instance="lab-1",
    serial=5,
    digest="five",
    at="2026-01-01 00:00:00 UTC",
    workstation="desk-1",
    resources={"network": 15, "data": 40},
)
OTHER = replace(HERE, digest="other", workstation="desk-2")
CHANGED = replace(HERE, serial=6, digest="six", copied=False)
CASES = {
    "the same resources, whatever the serial": (replace(HERE, serial=9), HERE, Relation.SAME),
    "an earlier backup": (replace(OTHER, serial=4), HERE, Relation.OLDER),
    "the backup before a change that was not backed up yet": (HERE, CHANGED, Relation.OLDER),
    "another workstation made a later change": (replace(OTHER, serial=6), HERE, Relation.NEWER),
    "both made the same serial": (OTHER, HERE, Relation.FORKED),
    "both made later changes": (replace(OTHER, serial=7), CHANGED, Relation.FORKED),
    "a lab that no longer exists": (replace(OTHER, instance="lab-0"), HERE, Relation.FOREIGN),
    "a workstation without a state": (HERE, None, Relation.NEWER),
}


@pytest.mark.parametrize("what", CASES)
def test_relation_of_a_backup_to_the_local_state(what: str) -> None:
    backup, mine, expected = CASES[what]
    assert relation(backup, mine) is expected


@pytest.mark.parametrize("what", CASES)
def test_a_workstation_that_lacks_changes_must_not_change_the_estate(what: str) -> None:
    backup, mine, kind = CASES[what]
    refused = refusal_if_behind("futian-ops1", backup, mine)
    assert bool(refused) == (kind in (Relation.NEWER, Relation.FORKED))
    if refused:
        assert refused.exit_code == 6
        assert "state restore --from futian-ops1" in refused.next_step


def test_the_lost_state_of_one_stack_is_noticed() -> None:
    refused = refusal_if_behind("futian-ops1", HERE, replace(CHANGED, resources={"network": 15}))
    assert refused is not None
    assert "lost the state of data" in refused.message


@pytest.mark.parametrize("what", CASES)
def test_restore_replaces_a_newer_state_only_with_replace_newer(what: str) -> None:
    backup, mine, kind = CASES[what]
    refused = restore.refusal("futian-ops1", backup, mine, "lab-1")
    assert bool(refused) == (kind in (Relation.OLDER, Relation.FORKED, Relation.FOREIGN))
    named = restore.refusal("futian-ops1", backup, mine, "lab-1", replace_newer=True)
    assert bool(named) == (kind is Relation.FOREIGN), "the state of a removed lab is never restored"


def test_the_local_state_of_a_removed_lab_may_be_replaced() -> None:
    assert restore.refusal("futian-ops1", HERE, replace(CHANGED, instance="lab-0"), "lab-1") is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"instance": "x"}', b'{"unknown": 1}', b"\xff"])
def test_invalid_metadata_is_none(text: bytes) -> None:
    assert StateMetadata.from_json(text) is None
