"""The progress lines of a step: its name, its expected duration and its end."""

from __future__ import annotations

import os
import sys

import pytest

from workstation.progress import duration, say, step


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (9.94, "9.9 s"), (10, "10 s"), (119.4, "119 s"), (190.9, "3 min 10 s")]
)
def test_durations_have_readable_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_step_reports_its_name_and_expected_duration(capsys: pytest.CaptureFixture[str]) -> None:
    with step("bake the image", 120):
        begun = capsys.readouterr().err
    assert begun == "▸ bake the image (about 2 min 0 s)\n"
    assert capsys.readouterr().err == "  bake the image: done in 0.0 s\n"


@pytest.mark.parametrize(("error", "word"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
def test_a_step_that_ends_early_is_reported(
    capsys: pytest.CaptureFixture[str], error: type[BaseException], word: str
) -> None:
    with pytest.raises(error), step("bake the image"):
        raise error
    assert capsys.readouterr().err.splitlines()[-1] == f"  bake the image: {word} after 0.0 s"


def test_a_reader_that_has_gone_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(os.dup(writer), "w", buffering=1) as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        say("power on futian")
        os.dup2(os.open(os.devnull, os.O_WRONLY), gone.fileno())  # what is still unwritten has somewhere to go
    os.close(writer)
