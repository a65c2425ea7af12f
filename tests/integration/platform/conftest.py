"""Two sites for all tests of this folder; each test begins with an operator who has done nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from estate.model import Estate
from stacks import workspace
from tests.integration.platform import two_sites
from tests.integration.platform.two_sites import Authority, Built, Site
from tests.integration.stacks.machines import Machines
from tools.scratch import missing
from workstation import paths
from workstation.oci import Image


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Running."""
    if absent := (*missing(), *(() if two_sites.docker_registry() else ("docker-registry",))):
        pytest.skip(f"not built: {', '.join(absent)}")
    authority = Authority()
    made = [Site(name, tmp_path_factory.mktemp(name), authority) for name in two_sites.SITES]
    with ExitStack() as stack:
        for site in made:
            stack.callback(site.stop)
            site.start()
        yield Built(made, authority)


@pytest.fixture
def estate() -> Estate:
    return two_sites.estate()


@pytest.fixture
def built(sites: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """The operator's home is empty, the hosts answer and the clusters hold nothing of the platform's."""
    workspace.engine_binary()
    monkeypatch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    workspace.prepare()
    (tmp_path / "home" / "ssh").mkdir()
    (tmp_path / "home" / "ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA operator\n")
    Machines(tmp_path / "machines", monkeypatch)
    with two_sites.kubelets(sites.sites):
        for site in sites.sites:
            (tmp_path / "machines" / site.address).mkdir()
            site.cluster.kubectl("delete", "namespace", two_sites.NAMESPACE, "--ignore-not-found")
            site.empty_registry()
    return sites


@pytest.fixture
def first(tmp_path: Path) -> Image:
    """A version of the service."""
    return two_sites.image(tmp_path, "1")


@pytest.fixture
def second(tmp_path: Path) -> Image:
    """Another one."""
    return two_sites.image(tmp_path, "2")
