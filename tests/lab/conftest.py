"""One lab for the whole run. Each fixture puts the lab into the state that its tests need, so any test can run alone.

In a complete run, the order of the files keeps these changes few.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from estate import loader
from lab.api import Lab, instance_id
from tests import noise
from tests.lab import traces
from tests.lab.estate_on_lab import Hosts, govcloud, is_deployed, until_well

ORDER = (
    "test_down.py",  # removes the lab several times, so it comes before the deployment
    "test_wires.py",
    "test_power.py",
    "test_network.py",
    "test_deploy.py",
    "test_state.py",
    "test_hosts.py",
    "test_protections.py",
    "test_pods.py",
    "test_drills.py",
    "test_gateways.py",  # nightly: deploys the estate with a gateway, then without it
    "test_destroy.py",  # nightly
    "test_end.py",  # kills all processes of the lab
    "test_tree.py",
)
"""Bare machines first, then the deployed estate, then the loss of its sites."""
WELL_S = 180
NOISE_S = 7200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort this folder's tests by `ORDER`. Tests of other folders keep their order and come first."""
    here = Path(__file__).parent
    items.sort(key=lambda item: ORDER.index(item.path.name) if item.path.parent == here else -1)


@pytest.fixture(scope="session", autouse=True)
def _noise() -> Iterator[None]:
    """Run a program that creates and removes mounts, namespaces and control groups during these tests."""
    program = subprocess.Popen([sys.executable, noise.__file__, str(NOISE_S)])
    yield
    ended = program.poll()
    program.terminate()
    program.wait(30)
    assert ended is None, f"the noise program ended by itself with {ended}"


@pytest.fixture(scope="session")
def bare_host() -> traces.Before | None:
    """The host's state before the run's lab, or None if a lab was up already."""
    return None if instance_id() else traces.before()


@pytest.fixture(scope="session")
def session_lab(bare_host: object) -> Iterator[Lab]:
    """The lab of the project's estate. The fixture `lab` starts it.

    At the end it is removed if no lab was up before.
    """
    found = Lab(loader.load())
    was_up = instance_id() is not None
    yield found
    if not was_up:
        found.down()


@pytest.fixture(scope="session")
def _instance() -> dict[str, str | None]:
    return {}


@pytest.fixture
def lab(session_lab: Lab, _instance: dict[str, str | None]) -> Lab:
    """The running lab. Started again if an earlier test removed it or started another lab."""
    if instance_id() is None or instance_id() != _instance.get("last"):
        session_lab.up()
        _instance["last"] = instance_id()
    return session_lab


@pytest.fixture
def bare_lab(lab: Lab) -> Lab:
    """The running lab, without a completely deployed estate."""
    if is_deployed(lab):
        lab.down()
        lab.up()
    return lab


@pytest.fixture
def deployed(lab: Lab) -> Hosts:
    """The machines of the deployed estate. Deployed now if no earlier test did it."""
    if not is_deployed(lab):
        done = govcloud("up")
        assert done.code == 0, done.stderr
    return Hosts(lab)


@pytest.fixture
def hosts(deployed: Hosts) -> Hosts:
    """The machines of the deployed estate, after its last problem has ended."""
    until_well(WELL_S)
    return deployed
