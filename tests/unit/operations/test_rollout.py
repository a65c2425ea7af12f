"""`bench rollout`: which versions are deployed, that only the service's image differs, and which `up` is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from estate.loader import load
from failover import lock as moves
from failover.vantage import LoadProfile
from operations.benchmarks import rollout as bench
from tests.unit.failover.test_journal import Clock
from tools.oci import layout
from workstation.errors import GovcloudError, Locked
from workstation.oci import OciImage, manifest_of

ESTATE = load()
DEPLOYMENTS = tuple(f"{cluster.site}: Deployment human-resources/approval" for cluster in ESTATE.clusters)


def image(folder: Path, name: str) -> OciImage:
    """Return an image that contains one file."""
    (tree := folder / f"{name}-tree").mkdir()
    (made := folder / name).mkdir()
    (tree / "main.py").write_text(name)
    digest = layout.finish(made, [layout.layer(made, tree, lambda path: True)], {"User": "65532"})
    return OciImage(name=name, folder=made, digest=digest)


@pytest.fixture
def declared(tmp_path: Path) -> list[OciImage]:
    """The images that `up` would deploy."""
    return [image(tmp_path, "approval"), image(tmp_path, "haproxy")]


@pytest.fixture
def deployed(home: Path, declared: list[OciImage], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, OciImage]]:
    """The images of each call of `up`. The load generator is a fake."""
    found: list[dict[str, OciImage]] = []

    def up(estate: Any, stacks: Sequence[str], *, images: Sequence[OciImage], on_event: Callable[[str], None]) -> Any:
        assert list(stacks) == ["platform"]
        assert all(manifest_of(one.folder)[0] == one.digest for one in images), "the image is not in its folder"
        former = found[-1]["approval"].digest if found else declared[0].digest
        found.append({one.name: one for one in images})
        return SimpleNamespace(objects_changed=DEPLOYMENTS if found[-1]["approval"].digest != former else ())

    def measured(estate: Any, load: LoadProfile, act: Callable[[Any, Any], None]) -> dict[str, float]:
        assert found, "the declared version must be deployed before the load"
        act(None, Clock())
        return {"failed": 0, "rate_per_s": load.rate_per_s}

    monkeypatch.setattr("stacks.runs.engine.up", up)
    monkeypatch.setattr("operations.deploy.images", lambda estate, stacks, on_event: tuple(declared))
    monkeypatch.setattr("operations.benchmarks.load_test.run_load_test", measured)
    return found


def test_another_version_is_deployed_to_all_sites_and_then_the_declared_one(
    deployed: list[dict[str, OciImage]], declared: list[OciImage]
) -> None:
    """Only the service's digest differs. The other image is deleted from the workstation."""
    seen = bench.rollout(ESTATE, 50.0, reads=True, on_event=print)
    first, other, last = ({name: one.digest for name, one in images.items()} for images in deployed)
    assert first == last == {one.name: one.digest for one in declared}
    assert other["approval"] != first["approval"]
    assert other["haproxy"] == first["haproxy"]
    assert set(seen) == {"failed", "rate_per_s", "there_s", "back_s"}
    assert not deployed[1]["approval"].folder.exists()


def test_an_up_that_replaced_no_pods_is_an_error() -> None:
    """Its figures would describe an unchanged estate under load."""
    bench.replaced(ESTATE, [*DEPLOYMENTS, "futian: image approval"])
    with pytest.raises(GovcloudError, match="nanshan: Deployment human-resources/approval did not change") as caught:
        bench.replaced(ESTATE, [name for name in DEPLOYMENTS if not name.startswith("nanshan")])
    assert "`./govcloud up platform`" in caught.value.next_step


def test_a_failed_rollout_reports_how_to_restore_the_declared_version(
    deployed: list[dict[str, OciImage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*given: object) -> None:
        raise GovcloudError("the load generator did not start")

    monkeypatch.setattr("operations.benchmarks.load_test.run_load_test", measured)
    reported: list[str] = []
    with pytest.raises(GovcloudError, match="did not start"):
        bench.rollout(ESTATE, 50.0, reads=False, on_event=reported.append)
    assert reported[-1] == bench.LEFT


def test_a_rollout_is_refused_during_a_drill(home: Path, deployed: list[dict[str, OciImage]]) -> None:
    with moves.held(home, "drill site-loss at futian"), pytest.raises(Locked, match="drill site-loss"):
        bench.rollout(ESTATE, 50.0, reads=False, on_event=print)
    assert deployed == []
