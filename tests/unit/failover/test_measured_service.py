"""The database's rows for the comparison with the ledger come from a primary, or the comparison does not happen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from failover.measured_service import primary_rows
from monitors.collectors.postgres import Role
from tests.unit.failover.observations import ESTATE, HEALTHY, with_member, with_primary
from workstation.errors import GovcloudError

SERVICE = ESTATE.service("approval")


class Member:
    """Answers the query, with an exit code. Acts like libpq if it is a standby."""

    def __init__(self, returncode: int = 0, *, standby: bool = False) -> None:
        self.returncode, self.standby, self.hosts = returncode, standby, list[str]()

    def run(self, host: str, argv: list[str], *, timeout_s: float) -> Any:
        self.hosts.append(host)
        if self.standby and "PGTARGETSESSIONATTRS=primary" in argv[: argv.index("psql")]:
            return SimpleNamespace(returncode=2, stdout=b"", stderr=b"server is in hot standby mode")
        return SimpleNamespace(returncode=self.returncode, stdout=b"key,digest,decision\n", stderr=b"shut down")


def rows_of(member: Any, seen: Any) -> tuple[str, str]:
    observer: Any = SimpleNamespace(snapshot=lambda: seen)
    return primary_rows(SERVICE, observer, member)


def test_the_rows_are_those_of_the_observed_primary() -> None:
    member = Member()
    assert rows_of(member, with_primary(HEALTHY, "nanshan")) == ("nanshan-data1", "key,digest,decision\n")
    assert member.hosts == ["nanshan-data1"]


@pytest.mark.parametrize(("member", "reason"), [(Member(standby=True), "hot standby"), (Member(2), "shut down")])
def test_a_member_that_is_no_primary_any_more_gives_no_rows(member: Member, reason: str) -> None:
    """Rows that a standby lacks would be reported as lost."""
    with pytest.raises(GovcloudError, match=f"nanshan-data1: psql: .*{reason}"):
        rows_of(member, with_primary(HEALTHY, "nanshan"))


def test_without_a_primary_there_are_no_rows() -> None:
    alone = with_member(with_primary(HEALTHY, "nanshan"), "nanshan", role=Role.STANDBY)
    with pytest.raises(GovcloudError, match="no primary to compare the ledger with"):
        rows_of(Member(), alone)
