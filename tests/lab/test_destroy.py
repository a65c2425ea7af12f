"""What `destroy` takes away: the stacks' memory of the estate, and nothing of the estate."""

from __future__ import annotations

import pytest

from stacks.phases import stack_names
from stacks.state import store
from tests.lab.estate_on_lab import Hosts, govcloud, problems

pytestmark = [pytest.mark.lab, pytest.mark.nightly]


def test_destroy_forgets_the_estate_and_takes_nothing_from_it(hosts: Hosts) -> None:
    """It asks first. Afterwards no stack has a resource; every row and every daemon is still there."""
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
    assert int(before.split("|")[0]) > 0, "registers are filled by a deployment, so there are rows to lose"
    asked = govcloud("destroy")
    assert asked.code == 2
    assert "--yes" in asked.stderr
    done = govcloud("destroy", "--yes", "--json")
    assert done.code == 0, done.stderr
    assert sorted(done.report["destroyed"]) == sorted(stack_names(hosts.lab.estate))
    assert all(not store.resources(stack) for stack in stack_names(hosts.lab.estate))
    assert hosts.run("shaoguan-data1", *rows) == before
    assert problems() == []
