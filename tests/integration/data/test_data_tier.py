"""The data tier with real daemons: when commits are acknowledged, which member takes over, and no acknowledged loss."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from database_cluster import DatabaseCluster

from contracts.loader import contract
from playbooks.render import pki as render_pki
from playbooks.render.etcd import PREFER
from tests.polling import until
from workstation import paths

OWN = contract("approval").database
assert OWN
DATABASE, APP = OWN.name, OWN.login
REMOTE = "shaoguan-data1"
TAKEOVER_S = 60
"""The ttl of 20 s, and a reserve for two busy cores."""
HEALTHY_WITHIN_S = 100


def other_city_site(cluster: DatabaseCluster, host: str) -> str:
    """Return the promotable member that is not `host`."""
    return next(member for member in cluster.members if member not in (host, REMOTE))


@contextmanager
def writing(cluster: DatabaseCluster, primary: str) -> Iterator[Path]:
    """Run a client that writes all the time. Yield its file of acknowledged rows."""
    cluster.sql(
        primary,
        "DROP TABLE IF EXISTS public.row; CREATE TABLE public.row (number bigint PRIMARY KEY);"
        f"GRANT USAGE ON SCHEMA public TO {APP}; GRANT SELECT, INSERT ON public.row TO {APP}",
        DATABASE,
    )
    hosts = ",".join(str(cluster.plan.lan(member).ipv4) for member in cluster.members)
    dsn = (
        f"host={hosts} port=5432 dbname={DATABASE} user={APP} target_session_attrs=read-write "
        f"password={cluster.secrets.passwords['approval_app']} sslmode=verify-full tcp_user_timeout=3000 "
        f"sslrootcert={cluster.folder(cluster.client)}{render_pki.AUTHORITY_FILE}"
    )
    path = cluster.root / f"acknowledged-{time.monotonic_ns()}"
    path.touch()
    program = Path(__file__).with_name("writer.py")
    argv = [
        "nsenter",
        f"--net=/proc/{cluster.networks[cluster.client].pid}/ns/net",
        sys.executable,
        str(program),
        dsn,
        str(path),
    ]
    process = subprocess.Popen(argv)
    try:
        until("acknowledged rows", lambda: len(rows(path)) > 20, 20)
        yield path
    finally:
        process.kill()
        process.wait()


def rows(path: Path) -> list[int]:
    """Return the numbers of the acknowledged rows. An incomplete last line does not count."""
    return [int(line) for line in path.read_text().split("\n")[:-1]]


def lost(cluster: DatabaseCluster, primary: str, path: Path) -> list[int]:
    """Return the acknowledged rows that the primary does not have."""
    stored = {int(line) for line in cluster.sql(primary, "SELECT number FROM public.row", DATABASE).split()}
    return sorted(set(rows(path)) - stored)


def wait_for_takeover(cluster: DatabaseCluster, path: Path, by: str, within_s: float = TAKEOVER_S) -> float:
    """Wait until `by` is primary and rows are acknowledged again. Return the seconds that this took."""
    start = time.monotonic()
    until(f"{by} as primary", lambda: cluster.primary() == by, within_s)
    before = len(rows(path))
    until("rows acknowledged by the new primary", lambda: len(rows(path)) > before + 5, 30)
    return time.monotonic() - start


def test_commits_wait_for_any_one_member_outside_the_primarys_site(cluster: DatabaseCluster) -> None:
    primary = cluster.primary()
    assert primary is not None
    others = ",".join(f'"{member}"' for member in sorted(cluster.members) if member != primary)
    assert cluster.synchronous_names(primary) == f"ANY 1 ({others})"


def test_without_any_standby_no_commit_is_acknowledged(cluster: DatabaseCluster) -> None:
    """The stalled client gets the server's warning that the commit is not replicated, or no answer."""
    primary = cluster.wait_until_healthy()
    with writing(cluster, primary) as path:
        standbys = [member for member in cluster.members if member != primary]
        with cluster.stopped(standbys[0], "walreceiver"), cluster.stopped(standbys[1], "walreceiver"):
            before = until("the stall", lambda: (len(rows(path)),), 2)[0]
            time_to_see = time.monotonic() + 3
            until("three seconds", lambda: time.monotonic() > time_to_see, 10)
            assert len(rows(path)) <= before + 1
        until("rows acknowledged again", lambda: len(rows(path)) > before + 5, 30)


@pytest.mark.parametrize("mode", ["disable", "foreign"])
def test_plaintext_and_foreign_authorities_are_refused(cluster: DatabaseCluster, mode: str) -> None:
    primary = cluster.wait_until_healthy()
    own = cluster.folder(cluster.client) / render_pki.AUTHORITY_FILE.lstrip("/")
    foreign = cluster.root / "foreign.crt"
    foreign.write_text(render_pki_foreign())
    tls = "sslmode=disable" if mode == "disable" else f"sslmode=verify-ca sslrootcert={foreign}"
    dsn = (
        f"host={cluster.plan.lan(primary).ipv4} dbname={DATABASE} user={APP} {tls} "
        f"password={cluster.secrets.passwords['approval_app']}"
    )
    assert cluster.net(cluster.client, "psql", dsn, "-c", "SELECT 1", check=False).returncode != 0
    good = dsn.replace(tls, f"sslmode=verify-full sslrootcert={own}")
    assert cluster.net(cluster.client, "psql", good, "-Atc", "SELECT 1").stdout.strip() == "1"
    for port in (2379, 2380, 8008):
        url = f"//{cluster.plan.lan(primary).ipv4}:{port}/"
        plain = cluster.net(cluster.client, "curl", "-s", "-m", "3", f"http:{url}", check=False)
        assert plain.returncode != 0 or plain.stdout.startswith("Client sent an HTTP request to an HTTPS server"), plain
        stranger = ("curl", "-s", "-m", "3", "--cacert", str(foreign), f"https:{url}")
        assert cluster.net(cluster.client, *stranger, check=False).returncode == 60
    for port in (2379, 2380):
        without = (
            "curl",
            "-s",
            "-m",
            "3",
            "--cacert",
            str(own),
            f"https://{cluster.plan.lan(primary).ipv4}:{port}/version",
        )
        assert cluster.net(cluster.client, *without, check=False).returncode != 0


def render_pki_foreign() -> str:
    """Return the certificate of another authority."""
    from playbooks import pki

    return pki.new_authority("somebody else", 1)[1]


def test_patronis_unsafe_calls_need_a_certificate(cluster: DatabaseCluster) -> None:
    primary = cluster.wait_until_healthy()
    url = f"https://{cluster.plan.lan(primary).ipv4}:8008/config"
    argv = [
        "curl",
        "-s",
        "-m",
        "3",
        "--cacert",
        f"{cluster.folder(cluster.client)}{render_pki.AUTHORITY_FILE}",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-X",
        "PATCH",
        "-d",
        '{"ttl": 30}',
        url,
    ]
    assert cluster.net(cluster.client, *argv).stdout == "403"
    assert cluster.get(primary, "/config")[1]["ttl"] == 20


@pytest.mark.nightly
def test_the_other_city_site_takes_over_and_the_lost_site_rejoins_by_itself(cluster: DatabaseCluster) -> None:
    old = cluster.wait_until_healthy()
    new, site = other_city_site(cluster, old), cluster.estate.host(old).at
    with writing(cluster, old) as path:
        cluster.kill_site(site)
        took = wait_for_takeover(cluster, path, new)
        cluster.start_site(site)
        assert cluster.wait_until_healthy(HEALTHY_WITHIN_S) == new
    assert lost(cluster, new, path) == []
    assert cluster.sql(old, "SELECT count(*) FROM public.row", DATABASE) != "0"
    print(f"write outage about {took:.1f} s")


@pytest.mark.nightly
def test_rows_that_only_the_remote_member_has_are_not_lost(cluster: DatabaseCluster) -> None:
    """The other city site is behind: the remote takes the leader key, lets that site catch up, and releases the key."""
    old = cluster.wait_until_healthy()
    new, site = other_city_site(cluster, old), cluster.estate.host(old).at
    with writing(cluster, old) as path:
        with cluster.dropping(new, sender=old):
            behind = len(rows(path))
            until("rows that only the remote has", lambda: len(rows(path)) > behind + 20, 30)
            cluster.kill_site(site)
        wait_for_takeover(cluster, path, new, within_s=2 * TAKEOVER_S)
        cluster.start_site(site)
        assert cluster.wait_until_healthy(HEALTHY_WITHIN_S) == new
    assert lost(cluster, new, path) == []
    assert "promotion guard:" in cluster.log(REMOTE)


def test_a_diverged_primary_rejoins_by_itself_and_its_fork_is_kept(cluster: DatabaseCluster) -> None:
    old = cluster.wait_until_healthy()
    new, site = other_city_site(cluster, old), cluster.estate.host(old).at
    with writing(cluster, old) as path:
        with cluster.isolated(old):
            for number in range(1, 4):
                insert = f"INSERT INTO public.row VALUES ({-number})"
                cluster.sql(old, insert, DATABASE, "-c synchronous_commit=local")
            cluster.kill_site(site)
            wait_for_takeover(cluster, path, new)
        cluster.start_site(site)
        assert cluster.wait_until_healthy(HEALTHY_WITHIN_S) == new
    assert lost(cluster, new, path) == []
    assert cluster.sql(old, "SELECT count(*) FROM public.row WHERE number < 0", DATABASE) == "0"
    reports = sorted((cluster.folder(old) / "srv/data/diverged").glob("*/report.json"))
    assert reports, cluster.log(old)[-3000:]
    report = json.loads(reports[-1].read_text())
    assert report["commits"] >= 3
    assert all((reports[-1].parent / name).exists() for name in report["files"])
    assert not list((cluster.folder(old) / "srv/data/postgresql/aside").iterdir())


@pytest.mark.nightly
def test_with_both_city_sites_powered_off_the_remote_stays_a_standby(cluster: DatabaseCluster) -> None:
    old = cluster.wait_until_healthy()
    city_sites = cluster.estate.database.promotable
    with writing(cluster, old) as path:
        for site in city_sites:
            cluster.kill_site(site)
        seen = time.monotonic() + 35
        until(
            "thirty-five seconds as a standby",
            lambda: (cluster.role(REMOTE).get("role") == "replica" and time.monotonic() > seen) or None,
            60,
        )
        assert cluster.sql(REMOTE, "SELECT pg_is_in_recovery()") == "t"
        for site in city_sites:
            cluster.start_site(site)
        new = cluster.wait_until_healthy(HEALTHY_WITHIN_S)
        assert new != REMOTE
    assert lost(cluster, new, path) == []


def leader_id(cluster: DatabaseCluster) -> int:
    """Return the ID of etcd's leader as the witness sees it, or 0 without a leader."""
    answer = cluster.etcdctl(REMOTE, "endpoint", "status", "--write-out", "json")
    return int(json.loads(answer)[0]["Status"]["leader"]) if answer else 0


def member_ids(cluster: DatabaseCluster) -> dict[str, int]:
    """Return the IDs of the started members by name."""
    answer = cluster.etcdctl(REMOTE, "member", "list", "--write-out", "json")
    members = json.loads(answer)["members"] if answer else []
    return {entry["name"]: entry["ID"] for entry in members if entry.get("name")}  # no name: not started


def move_leadership(cluster: DatabaseCluster, host: str) -> bool:
    """Ask etcd's leader to move leadership to the vote on `host`, which may be its own. Return whether it did."""
    ids, leader = member_ids(cluster), leader_id(cluster)
    names = [name for name, number in ids.items() if number == leader]
    return bool(names and cluster.etcdctl(names[0], "move-leader", f"{ids[host]:x}"))


def test_leadership_of_etcd_moves_to_the_witness_at_the_second_observation(cluster: DatabaseCluster) -> None:
    ids, city = member_ids(cluster), cluster.members[0]
    until(f"{city} as the leader", lambda: move_leadership(cluster, city), 10)
    own = cluster.folder(REMOTE)
    script = f'set -a; . {own}/etc/govcloud/etcd/ctl.env; PATH="$0:$PATH"; exec {own}{PREFER}'
    outputs = [cluster.net(REMOTE, "sh", "-c", script, str(paths.cache() / "artifacts")).stdout for _ in range(3)]
    assert outputs[0] == outputs[2] == ""
    assert outputs[1].startswith("leadership moved here")
    until("leadership at the witness", lambda: leader_id(cluster) == ids[REMOTE], 10)


def test_a_vote_whose_disk_was_lost_joins_as_a_new_member(cluster: DatabaseCluster) -> None:
    host = "nanshan-ops1"
    before = member_ids(cluster)
    cluster.kill(host)
    shutil.rmtree(cluster.folder(host) / "srv/data/etcd")
    cluster.start_etcd(host)
    after = until(
        "the member under a new ID",
        lambda: (now := member_ids(cluster)).get(host, before[host]) != before[host] and now,
        60,
    )
    assert {**after, host: 0} == {**before, host: 0}
    assert "joining as a new member" in cluster.log(host, "etcd")
