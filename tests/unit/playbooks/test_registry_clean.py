"""Which images the clean-up removes from a site's registry, and the answers that it needs for that."""

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
    """Return a digest."""
    return f"sha256:{number:064x}"


def manifest(number: int, pushed: float = OLD, names: tuple[int, ...] = (), repository: str = "approval") -> Manifest:
    """Return a manifest of the registry."""
    return Manifest(repository, digest(number), pushed, frozenset(map(digest, names)))


LAST = manifest(99, OLD + 1)


def gone(*manifests: Manifest, named: tuple[int, ...] = (99,)) -> list[int]:
    """Return the numbers of the manifests to remove, if the cluster names the digests `named`."""
    found = superfluous([*manifests, LAST], set(map(digest, named)), NOW)
    return [int(one.digest[7:], 16) for one in found]


def test_an_image_that_the_cluster_names_stays_at_any_age() -> None:
    assert gone(manifest(1), manifest(2), named=(1,)) == [2]
    assert gone(manifest(1), manifest(2), named=(1, 2)) == []


def test_an_image_pushed_within_a_day_stays_even_if_the_clock_was_set_back() -> None:
    assert gone(manifest(1, NOW - FRESH_S + 1), manifest(2), manifest(3, NOW + 5 * FRESH_S)) == [2]


def test_the_last_push_of_each_name_stays() -> None:
    """It is declared: for a site whose pods never need it, or that a failed update has not reached."""
    assert gone(manifest(1, OLD - 5), manifest(2, OLD - 4), manifest(3, OLD - 9, repository="haproxy")) == [1, 2]


def test_a_kept_index_keeps_its_manifests_and_a_removed_one_keeps_none() -> None:
    named, other = manifest(1, names=(2, 3)), manifest(4, names=(5,))
    assert gone(named, manifest(2), manifest(3), other, manifest(5), named=(1,)) == [4, 5]


def test_no_image_is_removed_if_the_cluster_names_no_digest() -> None:
    assert gone(manifest(1), manifest(2), named=()) == []


@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(0, 2 * NOW), st.sampled_from(["approval", "planning/records"]))),
    st.sets(st.integers(0, 9), min_size=1),
)
def test_a_named_or_fresh_image_is_never_removed(pushes: list[tuple[int, float, str]], named: set[int]) -> None:
    manifests = [manifest(number, pushed, (), repository) for number, pushed, repository in pushes]
    for one in superfluous(manifests, set(map(digest, named)), NOW):
        assert one.digest not in set(map(digest, named))
        assert NOW - one.pushed >= FRESH_S


def test_digests_are_found_anywhere_in_an_object() -> None:
    """In templates, in a node's status of a running pod, in a history."""
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
def test_an_answer_that_is_not_a_complete_list_is_refused(answer: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - with any message
        digests_of(answer)


def test_manifests_are_read_from_disk_with_push_time_and_digests(tmp_path: Path) -> None:
    top = tmp_path / "docker/registry/v2"
    for number, repository in ((1, "approval"), (2, "planning/records"), (3, "approval")):
        value = digest(number)[7:]
        link = top / "repositories" / repository / "_manifests/revisions/sha256" / value / "link"
        link.parent.mkdir(parents=True)
        link.write_text(digest(number))
        os.utime(link, (OLD, OLD))
        if number != 3:  # a power loss has removed it
            blob = top / "blobs/sha256" / value[:2] / value / "data"
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_text(json.dumps({"layers": [{"digest": digest(7)}]}))
    (top / "repositories/approval/_layers/sha256" / digest(7)[7:]).mkdir(parents=True)
    expected = [manifest(1, names=(7,)), manifest(2, names=(7,), repository="planning/records")]
    assert list(held(str(tmp_path))) == expected
    assert list(held(str(tmp_path / "empty"))) == []
