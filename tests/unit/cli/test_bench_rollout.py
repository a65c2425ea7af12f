"""`bench rollout`: which versions are brought, that only the service's differs, and what is not a roll-out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import bench_rollout as bench
from estate.loader import load
from failover import lock as moves
from failover.vantage import LoadProfile
from tests.unit.failover.test_journal import Clock
from tools.oci import layout
from workstation.errors import GovcloudError, Locked
from workstation.oci import OciImage, manifest_of

ESTATE = load()
DEPLOYMENTS = tuple(f"{cluster.site}: Deployment human-resources/approval" for cluster in ESTATE.clusters)


def image(folder: Path, name: str) -> OciImage:
    """Of one file."""
    (tree := folder / f"{name}-tree").mkdir()
    (made := folder / name).mkdir()
    (tree / "main.py").write_text(name)
    digest = layout.finish(made, [layout.layer(made, tree, lambda path: True)], {"User": "65532"})
    return OciImage(name=name, folder=made, digest=digest)


@pytest.fixture
def declared(tmp_path: Path) -> list[OciImage]:
    """What `up` would bring."""
    return [image(tmp_path, "approval"), image(tmp_path, "haproxy")]


@pytest.fixture
def brought(home: Path, declared: list[OciImage], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, OciImage]]:
    """The versions that `up` was given, with citizens who apply only in name."""
    found: list[dict[str, OciImage]] = []

    def up(estate: Any, stacks: Sequence[str], *, images: Sequence[OciImage], on_event: Callable[[str], None]) -> Any:
        assert list(stacks) == ["platform"]
        assert all(manifest_of(one.folder)[0] == one.digest for one in images), "the image lies where it is said to"
        former = found[-1]["approval"].digest if found else declared[0].digest
        found.append({one.name: one for one in images})
        return SimpleNamespace(objects_changed=DEPLOYMENTS if found[-1]["approval"].digest != former else ())

    def measured(estate: Any, load: LoadProfile, act: Callable[[Any, Any], None]) -> dict[str, float]:
        assert found, "what is declared is there before the load"
        act(None, Clock())
        return {"failed": 0, "rate_per_s": load.rate_per_s}

    monkeypatch.setattr("stacks.runs.engine.up", up)
    monkeypatch.setattr("cli.stacks.images", lambda estate, stacks: tuple(declared))
    monkeypatch.setattr("cli.load_test.run_load_test", measured)
    return found


def test_another_version_comes_to_all_sites_and_the_declared_one_comes_back(
    brought: list[dict[str, OciImage]], declared: list[OciImage]
) -> None:
    """Nothing but the service's digest differs, and nothing is left of it on the workstation."""
    seen = bench.rollout(ESTATE, 50.0, reads=True)
    first, other, last = ({name: one.digest for name, one in images.items()} for images in brought)
    assert first == last == {one.name: one.digest for one in declared}
    assert other["approval"] != first["approval"]
    assert other["haproxy"] == first["haproxy"]
    assert set(seen) == {"failed", "rate_per_s", "there_s", "back_s"}
    assert not brought[1]["approval"].folder.exists()


def test_an_up_that_replaced_no_pods_is_no_roll_out() -> None:
    """Its figures would praise a load on an estate that nobody has touched."""
    bench.replaced(ESTATE, [*DEPLOYMENTS, "futian: image approval"])
    with pytest.raises(GovcloudError, match="nanshan: Deployment human-resources/approval did not change") as caught:
        bench.replaced(ESTATE, [name for name in DEPLOYMENTS if not name.startswith("nanshan")])
    assert "`./govcloud up platform`" in caught.value.next_step


def test_what_is_left_of_a_roll_out_that_fails_is_told(
    brought: list[dict[str, OciImage]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(*given: object) -> None:
        raise GovcloudError("the load generator did not start")

    monkeypatch.setattr("cli.load_test.run_load_test", measured)
    with pytest.raises(GovcloudError, match="did not start"):
        bench.rollout(ESTATE, 50.0, reads=False)
    assert bench.LEFT in capsys.readouterr().err


def test_nothing_is_rolled_out_in_the_middle_of_a_drill(home: Path, brought: list[dict[str, OciImage]]) -> None:
    with moves.held(home, "drill site-loss at futian"), pytest.raises(Locked, match="drill site-loss"):
        bench.rollout(ESTATE, 50.0, reads=False)
    assert brought == []
