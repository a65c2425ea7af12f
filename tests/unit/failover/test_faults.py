"""The faults of drills: which objects they may hit, and their blast radius. Refusals need only the declared estate."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from estate.model import Estate
from failover.drills import DRILLS, blast_radius, get
from failover.drills.faults import LinkCut, PrimaryCrash, SitePower
from failover.drills.faults.link_cut import is_only_path
from failover.drills.faults.primary_crash import no_successor
from failover.protocols import DrillInterfaces
from failover.report.messages import LANGUAGES
from failover.step import CheckFailed
from tests.unit.failover.observations import ESTATE, HEALTHY, with_member, with_primary
from workstation.errors import Refused, WrongUse


def without_links(*names: str) -> Estate:
    return ESTATE.model_copy(update={"links": tuple(link for link in ESTATE.links if link.name not in names)})


def hosts_with(estate: Estate, at: str, **changes: Any) -> Estate:
    """Change the hosts of a site."""
    hosts = tuple(host.model_copy(update=changes) if host.at == at else host for host in estate.hosts)
    return estate.model_copy(update={"hosts": hosts})


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_no_drill_runs_on_a_real_estate(drill: Any) -> None:
    fault = drill.fault(ESTATE, None)
    fault.guard(ESTATE)
    with pytest.raises(Refused, match="this estate is real: a drill has no"):
        fault.guard(ESTATE.model_copy(update={"lab": False}))


def test_a_site_with_the_majority_of_the_votes_may_not_be_lost() -> None:
    SitePower(target="futian").guard(ESTATE)
    with pytest.raises(Refused, match=r"futian has 4 of 7 votes: no majority would remain"):
        SitePower(target="futian").guard(hosts_with(ESTATE, "futian", etcd_votes=1))


def test_the_only_site_of_a_service_may_not_be_lost() -> None:
    service = ESTATE.services[0]
    placement = service.placement.model_copy(update={"active": ("futian",), "ready": ()})
    alone = ESTATE.model_copy(update={"services": (service.model_copy(update={"placement": placement}),)})
    SitePower(target="nanshan").guard(alone)
    with pytest.raises(Refused, match="approval runs only at futian"):
        SitePower(target="futian").guard(alone)


@pytest.mark.parametrize(
    ("link", "missing", "refused"),
    [
        ("city-a", (), False),
        ("city-a", ("city-b",), True),  # the way through shaoguan is no path between the city sites
        ("ft-sg", (), False),
        ("ft-sg", ("ns-sg",), True),  # internet and bureaus carry nothing between our sites
        ("ft-sg", ("city-a", "city-b"), True),
        ("ft-bureau", (), False),
        ("ft-bureau", ("sg-bureau",), False),
        ("ft-bureau", ("ns-bureau", "sg-bureau"), True),
        ("ft-bureau", ("city-a", "city-b", "ft-sg", "sg-bureau"), True),  # the other way begins at a separate site
    ],
)
def test_the_only_path_between_two_places_may_not_be_cut(link: str, missing: tuple[str, ...], refused: bool) -> None:
    estate = without_links(*missing)
    assert is_only_path(estate, link) == refused
    if refused:
        with pytest.raises(Refused, match=f"{link} is the only path between"):
            LinkCut(target=link).guard(estate)
    else:
        LinkCut(target=link).guard(estate)


@pytest.mark.parametrize("link", [link.name for link in ESTATE.links])
def test_each_link_of_the_estate_may_be_cut_alone(link: str) -> None:
    LinkCut(target=link).guard(ESTATE)


@pytest.mark.parametrize(("name", "target"), [("site-loss", "city-a"), ("path-loss", "futian")])
def test_an_unknown_target_is_wrong_use_and_lists_the_known_ones(name: str, target: str) -> None:
    with pytest.raises(WrongUse, match=f"unknown .* '{target}'") as caught:
        get(name).fault(ESTATE, target)
    assert get(name).fault(ESTATE, None).target in caught.value.next_step


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_blast_radius_of_a_link_names_the_link_and_no_power(lang: str) -> None:
    fault = LinkCut(target="city-a")
    radius = fault.blast_radius(ESTATE)
    text = blast_radius.text(radius, fault.words, lang)
    assert (radius.site, radius.hosts, radius.links, radius.votes) == (None, (), ("city-a",), (0, 5))
    assert "city-a" in text
    assert "{" not in text
    assert "断电" not in text
    assert "power" not in text


def test_a_drill_without_a_target_refuses_one() -> None:
    with pytest.raises(WrongUse, match="takes no target"):
        get("primary-crash").fault(ESTATE, "futian-data1")


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, ""),
        ({"sync": False}, "no healthy synchronous standby"),
        ({"running": False}, "no healthy synchronous standby"),
        ({"patroni": False}, "no healthy synchronous standby"),
    ],
)
def test_a_crash_needs_a_member_that_can_take_over_at_once(changes: dict[str, Any], missing: str) -> None:
    """The remote standby is synchronous too, but only a person may promote it."""
    seen = with_primary(HEALTHY, "futian")
    assert seen.member_at("shaoguan").sync  # type: ignore[union-attr]
    found = no_successor(ESTATE, with_member(seen, "nanshan", **changes), "futian-data1")
    assert missing in found
    assert bool(found) == bool(missing)


def test_a_primary_that_has_moved_is_not_killed() -> None:
    assert no_successor(ESTATE, with_primary(HEALTHY, "nanshan"), "futian-data1") == (
        "futian-data1 is not the primary any more"
    )


def test_the_blast_radius_of_a_crash_names_the_members_that_may_be_primary() -> None:
    unknown, known = PrimaryCrash(), PrimaryCrash(target="nanshan-data1")
    assert unknown.blast_radius(ESTATE).database_members == ("futian-data1", "nanshan-data1")
    assert known.blast_radius(ESTATE).database_members == ("nanshan-data1",)
    radius = unknown.blast_radius(ESTATE)
    assert "PostgreSQL of the primary is killed" in blast_radius.text(radius, unknown.words, "en")
    assert "主库的 PostgreSQL 被强制终止" in blast_radius.text(radius, unknown.words, "zh")


@pytest.mark.parametrize(
    ("files", "cwd", "refused"),
    [
        (["postmaster.pid"], ".", ""),
        ([], ".", "postmaster.pid"),
        (["postmaster.pid", "standby.signal"], ".", "it is not the primary any more"),
        (["postmaster.pid", "recovery.signal"], ".", "it is not the primary any more"),
        (["postmaster.pid"], "/", "is not the postmaster"),  # the PID belongs to another program by now
    ],
)
def test_the_kill_ends_only_the_postmaster_of_a_primary(
    tmp_path: Path, files: list[str], cwd: str, refused: str
) -> None:
    """Run the shell command with a real process, like on a host. Its parent does not collect it meanwhile."""

    class Host:
        def run(self, host: str, argv: list[str]) -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(argv, capture_output=True, timeout=30, check=False)

    unused: Any = None
    machines: Any = Host()
    on = DrillInterfaces(machines=machines, power=unused, links=unused, observer=unused)
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path / cwd) as process:
        for name in files:
            (tmp_path / name).write_text(f"{process.pid}\n/data\n", encoding="utf-8")
        refusal = pytest.raises(CheckFailed, match=f"futian-data1: PostgreSQL was not killed: .*{refused}")
        with refusal if refused else nullcontext():
            PrimaryCrash(target="futian-data1", folder=str(tmp_path)).inject(on)
        assert (process.poll() is None) == bool(refused)
        process.kill()
