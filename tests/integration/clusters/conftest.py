"""One cluster for all tests of this folder."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import room as machine_room

from estate.loader import load

collect_ignore_glob = [] if load().clusters else ["test_*.py"]
"""The node boots the base image, which holds a cluster's software only where the estate declares a cluster."""


@pytest.fixture(scope="module")
def room(request: pytest.FixtureRequest) -> Iterator[machine_room.Room]:
    """A site's nodes, on and reachable, with nothing configured yet; of the version that the module's `STARTS` names,
    and as many as its `NODES`, or one."""
    version = getattr(request.module, "STARTS", machine_room.VERSION)
    if reason := machine_room.missing(version):
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="govcloud-room-", dir="/var/tmp"))
    made = machine_room.Room(folder, nodes=getattr(request.module, "NODES", 1), version=version)
    try:
        made.open()
        yield made
    finally:
        made.close()
