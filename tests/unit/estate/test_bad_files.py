"""A file that cannot be an estate is refused quickly with a message, without a traceback or a large use of memory."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from estate.loader import MAX_BYTES, MAX_PROBLEMS, EstateError, load
from estate.problems import Problem


def problem(path: Path) -> Problem:
    """Return the only problem of the file."""
    with pytest.raises(EstateError) as caught:
        load(path)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_a_yaml_bomb_is_refused_at_its_first_alias(tmp_path: Path) -> None:
    """Nested aliases would expand to gigabytes. They are not followed."""
    file = tmp_path / "bomb.yaml"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(12)]
    file.write_text("\n".join(lines), encoding="utf-8")
    begun = time.monotonic()
    reported = problem(file)
    assert time.monotonic() - begun < 1
    assert (reported.file, reported.key) == (str(file), "line 2, column 8")
    assert "aliases" in reported.message
    assert "write the complete value" in reported.message


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """The limit does not depend on the parser's stack."""
    file = tmp_path / "deep.yaml"
    file.write_text("a: " + "[" * 5_000 + "]" * 5_000, encoding="utf-8")
    assert "nested too deeply" in problem(file).message


def test_fifty_megabytes_are_refused_unread(tmp_path: Path) -> None:
    """The size is checked before the content."""
    file = tmp_path / "large.yaml"
    with file.open("wb") as stream:
        stream.truncate(50 * 1024 * 1024)
    begun = time.monotonic()
    reported = problem(file)
    assert time.monotonic() - begun < 0.5
    assert reported.value == "52428800 bytes"
    assert str(MAX_BYTES) in reported.message


def test_text_that_is_not_utf8_is_refused_with_its_place(tmp_path: Path) -> None:
    """Files in GBK are common among the users."""
    file = tmp_path / "gbk.yaml"
    file.write_bytes("name: 深圳\n".encode("gbk"))
    reported = problem(file)
    assert reported.value == "byte 6: 0xc9"
    assert reported.message == "is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize(
    ("text", "found"), [("", "an empty file"), ("# nothing\n", "an empty file"), ("- a\n", "list"), ("7", "int")]
)
def test_a_document_that_is_not_a_mapping_is_refused(tmp_path: Path, text: str, found: str) -> None:
    """The message distinguishes empty files and lists."""
    file = tmp_path / "odd.yaml"
    file.write_text(text, encoding="utf-8")
    reported = problem(file)
    assert reported.value == found
    assert "must be a mapping" in reported.message


def test_broken_yaml_is_refused_with_line_and_column(tmp_path: Path) -> None:
    """The place is the one that a person has to correct."""
    file = tmp_path / "broken.yaml"
    file.write_text("name: a\nsites: [\n", encoding="utf-8")
    reported = problem(file)
    assert reported.key.startswith("line 3")
    assert reported.message.endswith("correct the file at that place")


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    """YAML would silently keep the last one."""
    file = tmp_path / "twice.yaml"
    file.write_text("name: a\nname: b\n", encoding="utf-8")
    reported = problem(file)
    assert reported.key == "line 2, column 1"
    assert "is there twice" in reported.message


def test_a_section_in_two_files_is_refused(tmp_path: Path) -> None:
    """It would be unclear which of the two applies."""
    (tmp_path / "a.yaml").write_text("name: a\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("name: b\n", encoding="utf-8")
    reported = problem(tmp_path)
    assert (reported.file, reported.key) == (str(tmp_path / "b.yaml"), "name")
    assert str(tmp_path / "a.yaml") in reported.message


def test_a_folder_without_estate_files_is_refused(tmp_path: Path) -> None:
    """An empty folder is not an empty estate."""
    assert "no *.yaml file" in problem(tmp_path).message


def test_a_file_that_would_be_ignored_is_reported(tmp_path: Path) -> None:
    """Otherwise half an estate would look like a complete one."""
    (tmp_path / "links.yml").write_text("links: []", encoding="utf-8")
    reported = problem(tmp_path)
    assert (reported.file, reported.message) == (
        str(tmp_path / "links.yml"),
        "would not be read; rename it to links.yaml",
    )


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """`hosts.yaml/` is a folder in spite of its name."""
    (tmp_path / "hosts.yaml").mkdir()
    reported = problem(tmp_path)
    assert reported.value == "a folder"


@pytest.mark.parametrize("turning", ["\u202e", "\u2067", "\u200f"])
def test_text_that_changes_its_direction_is_refused(tmp_path: Path, turning: str) -> None:
    """Also in a comment: a reviewer would see another text than the program reads."""
    file = tmp_path / "estate.yaml"
    file.write_text(f"name: a\n# lab: true{turning}\n", encoding="utf-8")
    reported = problem(file)
    assert (reported.key, reported.value) == ("line 2", f"U+{ord(turning):04X}")
    assert "remove it" in reported.message


def test_a_title_that_changes_its_direction_is_refused_in_every_notation(tmp_path: Path) -> None:
    """YAML may write the character by its number."""
    file = tmp_path / "estate.yaml"
    file.write_text('title: {zh: 深圳, en: "Shen\\u202Ezhen"}\n', encoding="utf-8")
    with pytest.raises(EstateError) as caught:
        load(file)
    (reported,) = (problem for problem in caught.value.problems if problem.key == "title.en")
    assert "U+202E" in reported.message


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """Reading it would never end."""
    file = tmp_path / "pipe.yaml"
    os.mkfifo(file)
    assert "pipe" in problem(file).value


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """The message says what to check."""
    assert "check the path after --file" in problem(tmp_path / "nowhere.yaml").message


@pytest.fixture
def no_root() -> Iterator[None]:
    """Give up root for the test, because root may read everything."""
    own, unprivileged = os.geteuid(), 65534
    os.seteuid(own or unprivileged)
    yield
    os.seteuid(own)


def test_a_folder_without_rights_is_reported(no_root: None) -> None:
    """It is not the same as an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0)
        reported = problem(Path(folder))
        Path(folder).chmod(0o700)
    assert (reported.file, reported.message) == (
        folder,
        "cannot be read: Permission denied; check the path and its rights",
    )


def test_a_file_without_rights_is_reported(no_root: None) -> None:
    """The message has the system's own reason."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(b"name: a\n")
        os.fchmod(file.fileno(), 0)
        reported = problem(Path(file.name))
    assert "Permission denied" in reported.message
    assert "check the path and its rights" in reported.message


def test_an_unreadable_file_is_reported_also_for_root(tmp_path: Path) -> None:
    """Not even root can read a link to itself."""
    file = tmp_path / "loop.yaml"
    file.symlink_to(file)
    reported = problem(file)
    assert reported.file == str(file)
    assert "cannot be read" in reported.message or "no such file" in reported.message


def test_a_file_full_of_mistakes_gives_a_limited_report(tmp_path: Path) -> None:
    """Thousands of lines would hide the first one."""
    file = tmp_path / "many.yaml"
    file.write_text("hosts: [" + ", ".join(["1"] * 3000) + "]", encoding="utf-8")
    with pytest.raises(EstateError) as caught:
        load(file)
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert "more problems" in caught.value.problems[-1].message
