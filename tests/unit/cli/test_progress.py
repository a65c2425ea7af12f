"""What a step says while it works: what it is, how long it should take, and how it ended."""

from __future__ import annotations

import pytest

from workstation.progress import duration, step


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (9.94, "9.9 s"), (10, "10 s"), (119.4, "119 s"), (190.9, "3 min 10 s")]
)
def test_durations_are_said_as_a_person_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_step_says_what_it_does_and_how_long_it_should_take(capsys: pytest.CaptureFixture[str]) -> None:
    with step("bake the image", 120):
        begun = capsys.readouterr().err
    assert begun == "▸ bake the image (about 2 min 0 s)\n"
    assert capsys.readouterr().err == "  bake the image: done in 0.0 s\n"


@pytest.mark.parametrize(("error", "word"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
def test_a_step_that_ends_early_says_so(
    capsys: pytest.CaptureFixture[str], error: type[BaseException], word: str
) -> None:
    with pytest.raises(error), step("bake the image"):
        raise error
    assert capsys.readouterr().err.splitlines()[-1] == f"  bake the image: {word} after 0.0 s"
