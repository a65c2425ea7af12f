"""Two sites for all tests of this folder, and an operator with an empty home or with a running platform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from estate.model import Estate
from stacks.runs import workspace
from stacks.state import store
from tests.image_registry import Authority, docker_registry
from tests.integration.platform import two_sites
from tests.integration.platform.two_sites import Built, Site
from tests.integration.stacks.machines import Machines
from tools.envtest import missing
from workstation import paths
from workstation.oci import OciImage


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The two sites, running."""
    if absent := (*missing(), *(() if docker_registry() else ("docker-registry",))):
        pytest.skip(f"not built: {', '.join(absent)}")
    authority = Authority()
    running = [Site(name, tmp_path_factory.mktemp(name), authority) for name in two_sites.SITES]
    with ExitStack() as stack:
        for site in running:
            stack.callback(site.stop)
            site.start()
        yield Built(running, authority)


@contextmanager
def operator(sites: Built, folder: Path) -> Iterator[None]:
    """Prepare an empty home, hosts that answer, and clusters without objects of the platform."""
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        workspace.engine_binary()
        patch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
        patch.setenv("GOVCLOUD_HOME", str(home))
        patch.delenv("KUBECONFIG", raising=False)
        workspace.prepare()
        (home / "ssh").mkdir()
        (home / "ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA operator\n")
        Machines(folder / "machines", patch)
        gone = ("delete", "namespace", two_sites.NAMESPACE, "--ignore-not-found")
        with two_sites.kubelets(sites.sites):
            for site in sites.sites:
                site.cluster.kubectl(*gone, "--wait=false")
            for site in sites.sites:
                (folder / "machines" / site.address).mkdir()
                two_sites.answers(folder, site)
                site.cluster.kubectl(*gone)
                site.registry.empty()
        yield


@dataclass
class Running:
    """A platform with the version `image` of the service at both sites.

    A test that deploys another one must update `image`.
    """

    built: Built
    image: OciImage
    folder: Path
    versions: int = 1

    @property
    def sites(self) -> list[Site]:
        """The two sites, the remote one first."""
        return self.built.sites

    def another(self) -> OciImage:
        """Return an image of a new version."""
        self.versions += 1
        return two_sites.image(self.folder, str(self.versions))

    def repair(self) -> None:
        """Deploy `image` at both sites, from any state."""
        with two_sites.kubelets(self.sites, self.image):
            two_sites.up(two_sites.estate(), self.image)


@pytest.fixture
def estate() -> Estate:
    return two_sites.estate()


@pytest.fixture
def built(sites: Built, tmp_path: Path) -> Iterator[Built]:
    """The stacks before the platform, for an operator with an empty home."""
    with operator(sites, tmp_path):
        yield sites


@pytest.fixture
def first(tmp_path: Path) -> OciImage:
    """An image of the service."""
    return two_sites.image(tmp_path, "1")


@pytest.fixture(scope="module")
def platform(sites: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One platform for all tests of a file: its build takes longer than most of the tests."""
    folder = tmp_path_factory.mktemp("operator")
    with operator(sites, folder):
        sites.data()
        sites.clusters()
        running = Running(sites, two_sites.image(folder, "1"), folder)
        running.repair()
        yield running


@pytest.fixture
def running(platform: Running) -> Running:
    """The platform as the test before should have left it, repaired if that test failed."""
    there = {site.deployed() for site in platform.sites}
    if there != {two_sites.reference(platform.image)} or not store.resources("platform"):
        platform.repair()
    return platform
