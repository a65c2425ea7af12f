"""Hosts take turns, and the turns of a run stop at the first failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacks.providers import serial_rollout
from stacks.providers.resource import ResourceFailed


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path))


def _break(host: str) -> None:
    with serial_rollout.rollout_lock(host) as lock:
        lock.wait()
        lock.begun = True
        raise ResourceFailed("broken")


def test_a_failed_host_stops_the_other_hosts_of_its_run_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second host is not changed, and its error names the reason. The next run tries again."""
    monkeypatch.setenv(serial_rollout.RUN, "run-1")
    with pytest.raises(ResourceFailed, match="broken"):
        _break("futian-edge1")
    with pytest.raises(ResourceFailed, match="nanshan-edge1: not changed, because futian-edge1 failed"):
        with serial_rollout.rollout_lock("nanshan-edge1") as lock:
            lock.wait()
    with (
        pytest.raises(ResourceFailed, match="because futian-edge1 failed"),
        serial_rollout.rollout_lock("shaoguan-edge1") as lock,
    ):
        lock.wait()
    monkeypatch.setenv(serial_rollout.RUN, "run-2")
    with serial_rollout.rollout_lock("nanshan-edge1") as lock:
        lock.wait()
