"""Every missing prerequisite is one sentence. All are reported together, before any change."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tools import golang, prerequisites
from tools.prerequisites import GIB, Facts
from workstation.errors import GovcloudError

GOOD = Facts(root=True, debian=True, memory=20 * GIB, disk=60 * GIB, disk_path="/var/cache", kernel_lacks=())


def test_a_complete_machine_has_no_problems() -> None:
    assert prerequisites.problems(GOOD, disk_gib=25) == ()


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
def test_each_missing_prerequisite_is_one_sentence(facts: Facts, word: str) -> None:
    (sentence,) = prerequisites.problems(facts, disk_gib=25)
    assert word in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_all_missing_prerequisites_are_reported_together() -> None:
    facts = replace(GOOD, memory=GIB, disk=GIB, kernel_lacks=("loop devices (loop)", "packet filter (nf_tables)"))
    assert len(prerequisites.problems(facts, disk_gib=25)) == 4


def test_exactly_the_needed_disk_is_enough() -> None:
    assert prerequisites.problems(replace(GOOD, disk=25 * GIB), disk_gib=25) == ()


def test_available_memory_is_read_in_bytes() -> None:
    text = "MemTotal:       24000000 kB\nMemFree:         100 kB\nMemAvailable:   20000000 kB\n"
    assert prerequisites.available_memory(text) == 20_000_000 * 1024
    assert prerequisites.available_memory("") == 0


def test_this_machine_can_be_measured_without_changing_it() -> None:
    facts = prerequisites.measure()
    assert facts.memory > 0
    assert facts.disk > 0


def test_a_registry_that_does_not_answer_is_one_sentence_and_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Uses the real clients with a closed port. Registries that are not needed are not checked."""
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


def test_a_debian_mirror_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Uses the real apt-get with a closed port as its mirror."""
    (tmp_path / "sources.list").write_text("deb http://127.0.0.1:9/debian bookworm main\n")
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Dir::Cache "{tmp_path}";\nAcquire::Retries "0";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    with pytest.raises(GovcloudError) as caught:
        prerequisites.check_registries(debian=True, python=False, go=False)
    assert caught.value.message.startswith("No Debian mirror answers: ")


class Proxy(BaseHTTPRequestHandler):
    """A module proxy that has only the small module, below `/go`."""

    def do_GET(self) -> None:
        has = self.path == f"/go/{prerequisites.SMALL_MODULE}/@v/{prerequisites.SMALL_VERSION}.info"
        self.send_response(200 if has else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def proxy() -> Iterator[str]:
    """Yield a module proxy's address."""
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


CLOSED = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("setting", "answers"),
    [
        ("{proxy}/go", True),
        (CLOSED + "|{proxy}/go/", True),
        (CLOSED + ",off", False),
        ("{proxy}/elsewhere", False),
        ("off", False),
        (CLOSED + ",direct", True),
        ("", True),
    ],
)
def test_module_proxies_are_checked_before_a_compiler_is_installed(
    monkeypatch: pytest.MonkeyPatch, proxy: str, setting: str, answers: bool
) -> None:
    """Otherwise an unreachable proxy would be found only after all other installations."""
    monkeypatch.setattr(golang, "installed", lambda: None)
    monkeypatch.setenv("GOPROXY", setting.format(proxy=proxy))
    if answers:
        prerequisites.check_registries(debian=False, python=False, go=True)
        return
    with pytest.raises(GovcloudError, match="No Go module proxy answers"):
        prerequisites.check_registries(debian=False, python=False, go=True)
