"""The run log of a changing command and `--verbose`: content, mode, pruning, redaction, and what must not disturb."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest

from cli import run_log
from cli.app import ENTRIES, load
from tests.unit.cli.command_result import Call
from workstation import paths
from workstation.errors import GovcloudError

LOGGER = logging.getLogger("operations.test")
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB\n-----END EC PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No test leaves a handler or a level behind."""
    yield
    run_log.finish(0)
    for package in run_log.PACKAGES:
        logging.getLogger(package).setLevel(logging.NOTSET)


@pytest.fixture
def root(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's home. The caller is root."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return home


@pytest.fixture
def as_root(call: Call, root: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call a command as root, with hosts that are reachable and an image that is ready."""
    monkeypatch.setattr("cli.stacks.into_namespace", lambda estate: None)
    monkeypatch.setattr("tools.image.bake.ready", lambda: True)
    monkeypatch.setattr("operations.deploy.images", lambda estate, stacks, on_event: ())
    return call


def deployed(act: Callable[[Callable[[str], None]], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the engine by an act that gets the callback for events."""

    def up(estate: object, stacks: object, without: object, *, on_event: Callable[[str], None], images: object) -> Any:
        return act(on_event)

    monkeypatch.setattr("stacks.runs.engine.up", up)


def only_log(home: Path) -> Path:
    (found,) = (home / "logs").iterdir()
    return found


def test_a_command_that_changes_something_leaves_a_log(
    as_root: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has version, command line, events as they happen and the exit code. Only its owner can read it."""
    monkeypatch.setattr(sys, "argv", ["govcloud", "up", "futian"])

    def act(on_event: Callable[[str], None]) -> Any:
        on_event("futian-edge1: frr")
        return SimpleNamespace(changes=3, seconds=1.0, deferred=())

    deployed(act, monkeypatch)
    done = as_root("up", "futian")
    assert done.code == 0
    file = only_log(root)
    assert run_log.NAME.fullmatch(file.name)
    assert file.name.endswith("Z-up.log")
    assert file.stat().st_mode & 0o777 == 0o600
    lines = file.read_text().splitlines()
    assert " INFO    cli.run_log: govcloud " in lines[0]
    assert lines[1].endswith("command: ./govcloud up futian")
    assert any(line.endswith("INFO    workstation.progress: futian-edge1: frr") for line in lines)
    assert any(line.endswith("INFO    operations.deploy: up: 3 change(s) in 1.0 s") for line in lines)
    assert lines[-1].endswith("INFO    cli.run_log: exit code 0")
    assert "logs" not in done.stderr


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_a_failed_command_names_its_log_which_has_the_traceback(
    as_root: Call, root: Path, monkeypatch: pytest.MonkeyPatch, as_json: tuple[str, ...]
) -> None:
    def act(on_event: Callable[[str], None]) -> Any:
        raise GovcloudError("futian-kube1: it does not start", "repair it")

    deployed(act, monkeypatch)
    done = as_root("up", *as_json)
    assert done.code == 1
    file = only_log(root)
    assert done.stderr.splitlines()[-3:] == [
        "govcloud: futian-kube1: it does not start", "  next: repair it", f"  log: {file}"
    ]  # fmt: skip
    assert not as_json or done.document["log"] == str(file)
    text = file.read_text()
    assert "Traceback (most recent call last)" in text
    assert "in act" in text
    assert text.splitlines()[-1].endswith("exit code 1")


def test_an_unexpected_error_is_in_the_log(as_root: Call, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends in a traceback on the terminal too, because it is a bug."""

    def act(on_event: Callable[[str], None]) -> Any:
        raise ZeroDivisionError("a bug")

    deployed(act, monkeypatch)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        as_root("up")
    assert "ZeroDivisionError: a bug" in only_log(root).read_text()


def test_wrong_use_and_reading_leave_no_log(as_root: Call, root: Path) -> None:
    assert as_root("up", "nosuch").code == 2
    assert as_root("estate", "check").code == 0
    assert not root.exists()


def full_disk(folder: Path, command: str) -> tuple[Path, TextIO]:
    return folder / "20261201T080000Z-up.log", os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")


@pytest.mark.parametrize("obstacle", ["a file", "a full disk"])
def test_a_log_that_cannot_be_written_does_not_disturb_the_command(
    as_root: Call, root: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    """An error then names no log."""

    def act(on_event: Callable[[str], None]) -> Any:
        on_event("futian-edge1: frr")
        raise GovcloudError("it failed", "")

    deployed(act, monkeypatch)
    if obstacle == "a file":
        root.mkdir()
        (root / "logs").write_text("")
    else:
        monkeypatch.setattr(run_log, "_create", full_disk)
    done = as_root("up", "--json")
    assert done.code == 1
    assert set(done.document) == {"error", "next_step", "exit_code"}
    assert done.stderr.splitlines() == ["futian-edge1: frr", "govcloud: it failed"]


def test_the_newest_logs_are_kept_and_other_files_too(root: Path) -> None:
    logs = root / "logs"
    logs.mkdir(parents=True)
    old = [logs / f"202601{day:02}T00000{second}Z-lab-up.log" for day in range(1, 11) for second in range(6)]
    for file in (*old, logs / "notes.log"):
        file.touch()
    run_log.start("up")
    left = sorted(logs.iterdir())
    assert len(left) == run_log.KEPT + 1
    assert {logs / "notes.log", run_log.path()} <= set(left)
    assert set(old[-run_log.KEPT + 1 :]) <= set(left)


def test_two_commands_in_the_same_second_have_their_own_logs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.gmtime", lambda seconds=None: (2026, 12, 1, 8, 0, 0, 1, 335, 0))
    for number in range(3):
        run_log.start("lab up")
        LOGGER.info("run %d", number)
        run_log.finish(0)
    found = {file.name: file.read_text() for file in (root / "logs").iterdir()}
    assert set(found) == {f"20261201T080000Z{number}-lab-up.log" for number in ("", "-2", "-3")}
    assert all(f"run {number}\n" in text for number, (_, text) in enumerate(sorted(found.items(), key=order)))


def order(item: tuple[str, str]) -> int:
    return int(item[0].removeprefix("20261201T080000Z").split("-lab")[0].lstrip("-") or 1)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (f"key:\n{KEY}\nend", "key:\n[secret]\nend"),
        (f"cut -----BEGIN PRIVATE KEY-----\n{'MHcCAQEE' * 8}\n{'AIB+/3==' * 8}", "cut [secret]"),
        ("password=hunter22 host=db", "password=[secret] host=db"),
        ('{"passphrase": "a b c", "n": 1}', '{"passphrase": [secret], "n": 1}'),
        (r'"{\"password\": \"hunter22\", \"n\": 1}"', r'"{\"password\": [secret], \"n\": 1}"'),
        (r'password="a\"hunter22" n', "password=[secret] n"),
        ("PULUMI_CONFIG_PASSPHRASE='a b'", "PULUMI_CONFIG_PASSPHRASE=[secret]"),
        ("client-key-data: TUhjQ0FR", "client-key-data: [secret]"),
        ("Authorization: Bearer abcdef.ghijkl", "Authorization: Bearer [secret]"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: Basic [secret]"),
        ("postgresql://app:hunter22@10.0.0.1/db", "postgresql://app:[secret]@10.0.0.1/db"),
    ],
)
def test_values_that_look_like_secrets_are_redacted(root: Path, text: str, safe: str) -> None:
    """Also in the message of an error that a library raised."""
    assert run_log.redacted(text) == safe
    run_log.start("up")
    try:
        raise ValueError(text)
    except ValueError:
        LOGGER.exception("it failed with %s", text)
    written = only_log(root).read_text()
    assert written.count(safe) == 2
    assert text not in written


def test_a_long_word_without_a_secret_takes_no_time() -> None:
    """An error may contain a certificate or a whole file in base64. A search from each of its characters would take
    minutes."""
    begun = time.process_time()
    word = "aB3" * 40_000
    assert run_log.redacted(f"{word} {word}_token={word}") == f"{word} {word}_token=[secret]"
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "text",
    [
        "./govcloud state restore --from futian-ops1 --passphrase-file /root/safe",
        "futian: Secret human-resources/approval: update",
        "urn:pulumi:platform::govcloud::kubernetes:core/v1:Secret::approval",
        "the basic understanding of tokens and passwords",
        "host futian-data1: 10.0.0.1",
    ],
)
def test_ordinary_text_is_not_redacted(text: str) -> None:
    assert run_log.redacted(text) == text


def test_the_environment_is_not_in_the_log(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SETTING", "value-of-the-environment")
    run_log.start("up")
    assert "value-of-the-environment" not in only_log(root).read_text()


def test_libraries_log_only_warnings(root: Path) -> None:
    """The details of an HTTP client contain headers with credentials."""
    run_log.start("up")
    logging.getLogger("httpcore").debug("request headers")
    logging.getLogger("httpcore").warning("connection lost")
    LOGGER.debug("a detail")
    text = only_log(root).read_text()
    assert "request headers" not in text
    assert "WARNING httpcore: connection lost" in text
    assert "DEBUG   operations.test: a detail" in text


@pytest.mark.parametrize("words", [("--verbose", "up"), ("up", "--verbose")])
def test_verbose_prints_details_but_no_event_twice(
    as_root: Call, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def act(on_event: Callable[[str], None]) -> Any:
        on_event("futian-edge1: frr")
        LOGGER.debug("a detail")
        return SimpleNamespace(changes=0, seconds=1.0, deferred=())

    deployed(act, monkeypatch)
    done = as_root(*words)
    assert done.code == 0
    assert done.stdout == ""
    assert "DEBUG operations.test: a detail" in done.stderr
    assert done.stderr.count("futian-edge1: frr") == 1
    assert "a detail" not in as_root("up").stderr


@pytest.mark.parametrize("name", ENTRIES)
def test_every_command_accepts_verbose(name: str) -> None:
    """Except `python`, which passes all options on."""
    command = load(name)
    options = [[param.name for param in each.params] for each in (command, *getattr(command, "commands", {}).values())]
    assert all(names.count("verbose") == (name != "python") for names in options)


def test_our_packages_are_those_of_the_contracts() -> None:
    folders = {folder.parent.name for folder in paths.repo().glob("*/__init__.py")}
    assert set(run_log.PACKAGES) == folders


def test_the_version_is_the_commit() -> None:
    wanted = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=paths.repo(), capture_output=True, text=True, check=False
    ).stdout.strip()
    assert run_log._version().removesuffix("-dirty").endswith(wanted)
