"""A file that cannot be an estate is refused quickly and in words: no traceback, no memory eaten."""

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
    """The one problem of the file."""
    with pytest.raises(EstateError) as caught:
        load(path)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_a_yaml_bomb_is_refused_at_its_first_alias(tmp_path: Path) -> None:
    """Nested aliases would grow to gigabytes; they are not even followed."""
    file = tmp_path / "bomb.yaml"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(12)]
    file.write_text("\n".join(lines), encoding="utf-8")
    begun = time.monotonic()
    told = problem(file)
    assert time.monotonic() - begun < 1
    assert (told.file, told.key) == (str(file), "line 2, column 8")
    assert "aliases" in told.message
    assert "write the complete value" in told.message


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """A parser's stack is no measure of an estate."""
    file = tmp_path / "deep.yaml"
    file.write_text("a: " + "[" * 5_000 + "]" * 5_000, encoding="utf-8")
    assert "nested too deeply" in problem(file).message


def test_fifty_megabytes_are_refused_unread(tmp_path: Path) -> None:
    """The size is looked at before the content."""
    file = tmp_path / "large.yaml"
    with file.open("wb") as stream:
        stream.truncate(50 * 1024 * 1024)
    begun = time.monotonic()
    told = problem(file)
    assert time.monotonic() - begun < 0.5
    assert told.value == "52428800 bytes"
    assert str(MAX_BYTES) in told.message


def test_what_is_not_utf8_is_refused_with_its_place(tmp_path: Path) -> None:
    """A file saved in GBK is common where this is used."""
    file = tmp_path / "gbk.yaml"
    file.write_bytes("name: 深圳\n".encode("gbk"))
    told = problem(file)
    assert told.value == "byte 6: 0xc9"
    assert told.message == "is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize(
    ("text", "found"), [("", "an empty file"), ("# nothing\n", "an empty file"), ("- a\n", "list"), ("7", "int")]
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, found: str) -> None:
    """Empty files and lists are told apart."""
    file = tmp_path / "odd.yaml"
    file.write_text(text, encoding="utf-8")
    told = problem(file)
    assert told.value == found
    assert "must be a mapping" in told.message


def test_broken_yaml_is_refused_with_line_and_column(tmp_path: Path) -> None:
    """The place is where a person has to look."""
    file = tmp_path / "broken.yaml"
    file.write_text("name: a\nsites: [\n", encoding="utf-8")
    told = problem(file)
    assert told.key.startswith("line 3")
    assert told.message.endswith("correct the file at that place")


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """YAML would silently keep the last one."""
    file = tmp_path / "twice.yaml"
    file.write_text("name: a\nname: b\n", encoding="utf-8")
    told = problem(file)
    assert told.key == "line 2, column 1"
    assert "is there twice" in told.message


def test_a_section_in_two_files_is_refused(tmp_path: Path) -> None:
    """Which of the two would count is nobody's guess."""
    (tmp_path / "a.yaml").write_text("name: a\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("name: b\n", encoding="utf-8")
    told = problem(tmp_path)
    assert (told.file, told.key) == (str(tmp_path / "b.yaml"), "name")
    assert str(tmp_path / "a.yaml") in told.message


def test_a_folder_without_estate_files_is_refused(tmp_path: Path) -> None:
    """An empty folder is no empty estate."""
    assert "no *.yaml file" in problem(tmp_path).message


def test_a_file_that_would_be_passed_over_is_told(tmp_path: Path) -> None:
    """Half an estate would look like a whole one."""
    (tmp_path / "links.yml").write_text("links: []", encoding="utf-8")
    told = problem(tmp_path)
    assert (told.file, told.message) == (str(tmp_path / "links.yml"), "would not be read; rename it to links.yaml")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """`hosts.yaml/` is a folder, whatever its name says."""
    (tmp_path / "hosts.yaml").mkdir()
    told = problem(tmp_path)
    assert told.value == "a folder"


@pytest.mark.parametrize("turning", ["\u202e", "\u2067", "\u200f"])
def test_text_that_turns_its_direction_is_refused(tmp_path: Path, turning: str) -> None:
    """In a comment too: whoever reviews the file would see another one than is read."""
    file = tmp_path / "estate.yaml"
    file.write_text(f"name: a\n# lab: true{turning}\n", encoding="utf-8")
    told = problem(file)
    assert (told.key, told.value) == ("line 2", f"U+{ord(turning):04X}")
    assert "remove it" in told.message


def test_a_title_that_turns_its_direction_is_refused_however_it_is_written(tmp_path: Path) -> None:
    """YAML may write the character by its number."""
    file = tmp_path / "estate.yaml"
    file.write_text('title: {zh: 深圳, en: "Shen\\u202Ezhen"}\n', encoding="utf-8")
    with pytest.raises(EstateError) as caught:
        load(file)
    (told,) = (problem for problem in caught.value.problems if problem.key == "title.en")
    assert "U+202E" in told.message


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """Reading it would wait for ever."""
    file = tmp_path / "pipe.yaml"
    os.mkfifo(file)
    assert "pipe" in problem(file).value


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With where to look."""
    assert "check the path after --file" in problem(tmp_path / "nowhere.yaml").message


@pytest.fixture
def no_root() -> Iterator[None]:
    """Root may read everything, so that it is laid down for a moment."""
    own, nobody = os.geteuid(), 65534
    os.seteuid(own or nobody)
    yield
    os.seteuid(own)


def test_a_folder_without_rights_is_told(no_root: None) -> None:
    """It is not the same as an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0)
        told = problem(Path(folder))
        Path(folder).chmod(0o700)
    assert (told.file, told.message) == (folder, "cannot be read: Permission denied; check the path and its rights")


def test_a_file_without_rights_is_told(no_root: None) -> None:
    """The system's own reason is given."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(b"name: a\n")
        os.fchmod(file.fileno(), 0)
        told = problem(Path(file.name))
    assert "Permission denied" in told.message
    assert "check the path and its rights" in told.message


def test_an_unreadable_file_is_told_whoever_asks(tmp_path: Path) -> None:
    """A link to itself cannot be read, not even by root."""
    file = tmp_path / "loop.yaml"
    file.symlink_to(file)
    told = problem(file)
    assert told.file == str(file)
    assert "cannot be read" in told.message or "no such file" in told.message


def test_a_file_full_of_mistakes_is_told_in_a_screen_or_two(tmp_path: Path) -> None:
    """Thousands of lines would hide the first one."""
    file = tmp_path / "many.yaml"
    file.write_text("hosts: [" + ", ".join(["1"] * 3000) + "]", encoding="utf-8")
    with pytest.raises(EstateError) as caught:
        load(file)
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert "more problems" in caught.value.problems[-1].message
