"""One data tier for all tests of this folder; each test begins and ends with it whole."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import bench as data_bench


@pytest.fixture(scope="module")
def started() -> Iterator[data_bench.Bench]:
    """The running data tier, founded anew."""
    if reason := data_bench.missing():
        pytest.skip(reason)
    folder = data_bench.new_folder()
    bench = data_bench.Bench(folder, data_bench.patroni_environment(folder))
    try:
        bench.start()
        bench.steady(120)
        yield bench
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench(started: data_bench.Bench, request: pytest.FixtureRequest) -> Iterator[data_bench.Bench]:
    """The data tier, whole; a failed test shows what its daemons said."""
    started.steady(120)
    began = request.session.testsfailed
    yield started
    if request.session.testsfailed > began:
        for host in started.members:
            print(f"--- {host}\n{started.log(host)[-6000:]}")
        for vote in started.estate.etcd_members:
            print(f"--- etcd on {vote.name}\n{started.log(vote.name, 'etcd')[-2000:]}")
