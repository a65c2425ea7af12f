"""One cluster for all tests of this folder."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import kubernetes_nodes
from kubernetes_nodes import KubernetesNodes

from estate.loader import load

collect_ignore_glob = [] if load().clusters else ["test_*.py"]
"""The node boots the base image, which holds a cluster's software only where the estate declares a cluster."""


@pytest.fixture(scope="module")
def nodes(request: pytest.FixtureRequest) -> Iterator[KubernetesNodes]:
    """A site's nodes, on and reachable, with nothing configured yet; of the version that the module's `STARTS` names,
    and as many as its `NODES`, or one."""
    version = getattr(request.module, "STARTS", kubernetes_nodes.VERSION)
    if reason := kubernetes_nodes.missing(version):
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="govcloud-nodes-", dir="/var/tmp"))
    made = KubernetesNodes(folder, nodes=getattr(request.module, "NODES", 1), version=version)
    try:
        made.open()
        yield made
    finally:
        made.close()
