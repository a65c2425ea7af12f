"""One data tier for all tests of this folder. It is healthy at the beginning and the end of each test."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import database_cluster
from database_cluster import DatabaseCluster


@pytest.fixture(scope="module")
def started() -> Iterator[DatabaseCluster]:
    """A new, running data tier."""
    if reason := database_cluster.missing():
        pytest.skip(reason)
    folder = database_cluster.new_folder()
    cluster = DatabaseCluster(folder, database_cluster.patroni_environment(folder))
    try:
        cluster.start()
        cluster.wait_until_healthy(120)
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(started: DatabaseCluster, request: pytest.FixtureRequest) -> Iterator[DatabaseCluster]:
    """The healthy data tier. A failed test shows the logs of its daemons."""
    started.wait_until_healthy(120)
    failed_before = request.session.testsfailed
    yield started
    if request.session.testsfailed > failed_before:
        for host in started.members:
            print(f"--- {host}\n{started.log(host)[-6000:]}")
        for vote in started.estate.etcd_members:
            print(f"--- etcd on {vote.name}\n{started.log(vote.name, 'etcd')[-2000:]}")
