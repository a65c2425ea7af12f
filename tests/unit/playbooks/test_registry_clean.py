"""Which images a site's registry loses, and by whose word."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.host_programs.registry_clean import FRESH_S, Manifest, digests_of, held, superfluous

NOW = 1_000_000_000.0
OLD = NOW - FRESH_S - 1


def digest(number: int) -> str:
    """Of some content."""
    return f"sha256:{number:064x}"


def manifest(number: int, pushed: float = OLD, names: tuple[int, ...] = (), repository: str = "approval") -> Manifest:
    """One in the registry."""
    return Manifest(repository, digest(number), pushed, frozenset(map(digest, names)))


LAST = manifest(99, OLD + 1)


def gone(*manifests: Manifest, named: tuple[int, ...] = (99,)) -> list[int]:
    """Numbers of those that go, where the cluster names so many."""
    found = superfluous([*manifests, LAST], set(map(digest, named)), NOW)
    return [int(one.digest[7:], 16) for one in found]


def test_what_the_cluster_names_stays_however_old() -> None:
    assert gone(manifest(1), manifest(2), named=(1,)) == [2]
    assert gone(manifest(1), manifest(2), named=(1, 2)) == []


def test_what_was_pushed_within_a_day_stays_also_by_a_clock_that_was_put_back() -> None:
    assert gone(manifest(1, NOW - FRESH_S + 1), manifest(2), manifest(3, NOW + 5 * FRESH_S)) == [2]


def test_the_last_of_each_name_stays() -> None:
    """It is declared: at a site whose pods were never to have it, or that a failed update has not reached."""
    assert gone(manifest(1, OLD - 5), manifest(2, OLD - 4), manifest(3, OLD - 9, repository="haproxy")) == [1, 2]


def test_an_index_keeps_what_it_names_and_one_that_goes_keeps_nothing() -> None:
    named, other = manifest(1, names=(2, 3)), manifest(4, names=(5,))
    assert gone(named, manifest(2), manifest(3), other, manifest(5), named=(1,)) == [4, 5]


def test_a_cluster_that_names_nothing_is_not_gone_by() -> None:
    assert gone(manifest(1), manifest(2), named=()) == []


@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(0, 2 * NOW), st.sampled_from(["approval", "planning/records"]))),
    st.sets(st.integers(0, 9), min_size=1),
)
def test_nothing_that_is_named_or_fresh_ever_goes(pushes: list[tuple[int, float, str]], named: set[int]) -> None:
    manifests = [manifest(number, pushed, (), repository) for number, pushed, repository in pushes]
    for one in superfluous(manifests, set(map(digest, named)), NOW):
        assert one.digest not in set(map(digest, named))
        assert NOW - one.pushed >= FRESH_S


def test_digests_are_found_wherever_an_object_has_them() -> None:
    """In templates, in what a node tells of a running pod, in what a history keeps."""
    image = f"registry.govcloud/approval@{digest(1)}"
    items = [{"spec": {"containers": [{"image": image}]}}, {"status": {"containerStatuses": [{"imageID": digest(2)}]}}]
    assert digests_of(json.dumps({"kind": "PodList", "metadata": {}, "items": items})) == {digest(1), digest(2)}


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{}",
        "[]",
        '{"kind": "Status", "items": null}',
        '{"items": [], "metadata": {"continue": "a"}}',
        '{"items": [',
    ],
)
def test_an_answer_that_is_not_a_whole_list_is_refused(answer: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        digests_of(answer)


def test_the_disk_tells_what_is_held_since_when_and_what_it_names(tmp_path: Path) -> None:
    top = tmp_path / "docker/registry/v2"
    for number, repository in ((1, "approval"), (2, "planning/records"), (3, "approval")):
        value = digest(number)[7:]
        link = top / "repositories" / repository / "_manifests/revisions/sha256" / value / "link"
        link.parent.mkdir(parents=True)
        link.write_text(digest(number))
        os.utime(link, (OLD, OLD))
        if number != 3:  # a loss of power has taken it
            blob = top / "blobs/sha256" / value[:2] / value / "data"
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_text(json.dumps({"layers": [{"digest": digest(7)}]}))
    (top / "repositories/approval/_layers/sha256" / digest(7)[7:]).mkdir(parents=True)
    expected = [manifest(1, names=(7,)), manifest(2, names=(7,), repository="planning/records")]
    assert list(held(str(tmp_path))) == expected
    assert list(held(str(tmp_path / "empty"))) == []
