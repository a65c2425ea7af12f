"""What is missing is told in one sentence each, all at once, and before anything is changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tools import prerequisites
from tools.prerequisites import GIB, Facts
from workstation.errors import GovcloudError

GOOD = Facts(root=True, debian=True, memory=20 * GIB, disk=60 * GIB, disk_path="/var/cache", kernel_lacks=())


def test_a_machine_with_everything_lacks_nothing() -> None:
    assert prerequisites.judge(GOOD, disk_gib=25) == ()


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        (replace(GOOD, root=False), "Root"),
        (replace(GOOD, debian=False), "apt-get"),
        (replace(GOOD, memory=3 * GIB), "3.0 GiB"),
        (replace(GOOD, disk=24 * GIB), "24.0 GiB are there at /var/cache"),
        (replace(GOOD, kernel_lacks=("bridges (bridge): EOPNOTSUPP",)), "bridges (bridge)"),
    ],
)
def test_each_lack_is_one_sentence(facts: Facts, word: str) -> None:
    (sentence,) = prerequisites.judge(facts, disk_gib=25)
    assert word in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_all_lacks_are_told_at_once() -> None:
    facts = replace(GOOD, memory=GIB, disk=GIB, kernel_lacks=("loop devices (loop)", "packet filter (nf_tables)"))
    assert len(prerequisites.judge(facts, disk_gib=25)) == 4


def test_exactly_the_needed_disk_is_enough() -> None:
    assert prerequisites.judge(replace(GOOD, disk=25 * GIB), disk_gib=25) == ()


def test_available_memory_is_read_in_bytes() -> None:
    text = "MemTotal:       24000000 kB\nMemFree:         100 kB\nMemAvailable:   20000000 kB\n"
    assert prerequisites.available_memory(text) == 20_000_000 * 1024
    assert prerequisites.available_memory("") == 0


def test_this_machine_can_be_looked_at_without_changing_it() -> None:
    facts = prerequisites.look()
    assert facts.memory > 0
    assert facts.disk > 0


def test_a_registry_that_does_not_answer_is_one_sentence_and_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real clients, sent to a port where nobody listens; what is not needed is not asked."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("GOVCLOUD_CACHE", str(cache))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(GovcloudError) as caught:
        prerequisites.check_registries(debian=False, python=True, go=False)
    assert caught.value.message == "No Python package index answers: check pip's configuration and proxy."
    assert caught.value.next_step == "nothing was changed"
    assert not cache.exists()
    prerequisites.check_registries(debian=False, python=False, go=False)
