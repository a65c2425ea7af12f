"""`destroy` deletes the stacks' state of the estate and removes nothing from the hosts."""

from __future__ import annotations

import pytest

from stacks.phases import stack_names
from stacks.state import store
from tests.lab.estate_on_lab import Hosts, govcloud, problems

pytestmark = [pytest.mark.lab, pytest.mark.nightly]


def test_destroy_empties_the_state_and_does_not_change_the_hosts(hosts: Hosts) -> None:
    """It needs --yes. Afterwards no stack has a resource, all rows are still there, and no problem is reported."""
    rows = (
        "runuser",
        "-u",
        "postgres",
        "--",
        "psql",
        "-XAtq",
        "-d",
        "approval",
        "-c",
        "select (select count(*) from public_security.resident), (select count(*) from approval.application)",
    )
    before = hosts.run("shaoguan-data1", *rows)
    assert int(before.split("|")[0]) > 0, "a deployment fills the registers, so there must be rows that could be lost"
    asked = govcloud("destroy")
    assert asked.code == 2
    assert "--yes" in asked.stderr
    done = govcloud("destroy", "--yes", "--json")
    assert done.code == 0, done.stderr
    assert sorted(done.report["destroyed"]) == sorted(stack_names(hosts.lab.estate))
    assert all(not store.resources(stack) for stack in stack_names(hosts.lab.estate))
    assert hosts.run("shaoguan-data1", *rows) == before
    assert problems() == []
