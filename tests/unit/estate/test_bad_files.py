"""A file that cannot be an estate is refused quickly with a message, without a traceback or a large use of memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from estate import files
from estate.loader import MAX_PROBLEMS, EstateError, load
from estate.problems import Problem


def problem(path: Path) -> Problem:
    """Return the only problem of the file."""
    with pytest.raises(EstateError) as caught:
        load(path)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_a_refused_file_is_reported_with_its_place_and_content(tmp_path: Path) -> None:
    """`contracts.strict_yaml` refuses it. The other files of the estate are still read."""
    (tmp_path / "gbk.yaml").write_bytes("name: 深圳\n".encode("gbk"))
    (tmp_path / "twice.yaml").write_text("name: a\nname: b\n", encoding="utf-8")
    (tmp_path / "lab.yaml").write_text("lab: true\n", encoding="utf-8")
    found = files.read(tmp_path)
    assert found.document == {"lab": True}
    assert [(Path(one.file).name, one.key, one.value) for one in found.problems] == [
        ("gbk.yaml", "", "byte 6: 0xc9"), ("twice.yaml", "line 2, column 1", ""),
    ]  # fmt: skip


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


def test_a_title_that_changes_its_direction_is_refused_in_every_notation(tmp_path: Path) -> None:
    """YAML may write the character by its number."""
    file = tmp_path / "estate.yaml"
    file.write_text('title: {zh: 深圳, en: "Shen\\u202Ezhen"}\n', encoding="utf-8")
    with pytest.raises(EstateError) as caught:
        load(file)
    (reported,) = (problem for problem in caught.value.problems if problem.key == "title.en")
    assert "U+202E" in reported.message


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """The message says what to check."""
    assert "check the path after --file" in problem(tmp_path / "nowhere.yaml").message


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


def test_a_file_full_of_mistakes_gives_a_limited_report(tmp_path: Path) -> None:
    """Thousands of lines would hide the first one."""
    file = tmp_path / "many.yaml"
    file.write_text("hosts: [" + ", ".join(["1"] * 3000) + "]", encoding="utf-8")
    with pytest.raises(EstateError) as caught:
        load(file)
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert "more problems" in caught.value.problems[-1].message
