"""A file that could mean something else than it seems is refused quickly, with its place and the remedy."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from contracts.strict_yaml import MAX_BYTES, StrictYamlError, misnamed, read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "declared.yaml"


def refusal(file: Path, content: str | bytes | None = None) -> StrictYamlError:
    """Return the refusal of the file, after writing the content."""
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StrictYamlError) as caught:
        read(file)
    return caught.value


def test_a_mapping_is_read(file: Path) -> None:
    """A byte order mark, which some editors write, is no part of the first key."""
    file.write_bytes("\ufeffname: 深圳\nnested: {list: [1, true, null]}\n".encode())
    assert read(file) == {"name": "深圳", "nested": {"list": [1, True, None]}}


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("name: a\nname: b\n", "line 2, column 1", "key 'name' is there twice, keep one"),
        ("a:\n  - {port: 1, port: 2}\n", "line 2, column 15", "key 'port' is there twice, keep one"),
        ('{"a": 1, a: 2}', "line 1, column 10", "key 'a' is there twice, keep one"),
        ("a: &port 1\nb: *port\n", "line 2, column 4", "YAML aliases (*name) are refused, write the complete value"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "line 3, column 7", "YAML aliases (*name) are refused"),
        ("a: 1\n2: b\n", "line 2, column 1", "key 2 is not text, quote it"),
        ("on: 1\n", "line 1, column 1", "key True is not text, quote it"),
        ("a: 2026-13-01\n", "line 1, column 4", "the value is invalid for its type, quote it or correct it"),
        ("a: !!int abc\n", "line 1, column 4", "the value is invalid for its type"),
        ("name: a\nsites: [\n", "line 3, column 1", "expected the node content"),
        ("a: !other b\n", "line 1, column 4", "could not determine a constructor"),
    ],
)
def test_a_refusal_names_line_and_column(file: Path, text: str, place: str, reason: str) -> None:
    refused = refusal(file, text)
    assert (refused.place, refused.found) == (place, "")
    assert refused.reason.startswith(reason)
    assert refused.reason.endswith("; correct the file at that place")
    assert str(refused) == f"{place}: {refused.reason}"


def test_a_yaml_bomb_is_refused_at_its_first_alias(file: Path) -> None:
    """Nested aliases would expand to gigabytes. They are not followed."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(12)]
    begun = time.monotonic()
    assert refusal(file, "\n".join(lines)).place == "line 2, column 8"
    assert time.monotonic() - begun < 1


def test_deep_nesting_is_refused(file: Path) -> None:
    """The limit does not depend on the parser's stack."""
    assert "nested too deeply" in refusal(file, "a: " + "[" * 5_000 + "]" * 5_000).reason


def test_fifty_megabytes_are_refused_unread(file: Path) -> None:
    """The size is checked before the content."""
    with file.open("wb") as stream:
        stream.truncate(50 * 1024 * 1024)
    begun = time.monotonic()
    refused = refusal(file)
    assert time.monotonic() - begun < 0.5
    assert refused.found == "52428800 bytes"
    assert str(MAX_BYTES) in refused.reason


def test_text_that_is_not_utf8_is_refused_with_its_place(file: Path) -> None:
    """Files in GBK are common among the users."""
    refused = refusal(file, "name: 深圳\n".encode("gbk"))
    assert str(refused) == "is not UTF-8; save the file as UTF-8 (found: byte 6: 0xc9)"


def test_a_control_character_is_refused_with_its_place(file: Path) -> None:
    refused = refusal(file, b"name: a\0b\n")
    assert (refused.place, refused.reason) == (
        "character 8", "contains a control character, which YAML forbids; remove it",
    )  # fmt: skip


@pytest.mark.parametrize("turning", ["\u202e", "\u2067", "\u200f"])
def test_text_that_changes_its_direction_is_refused(file: Path, turning: str) -> None:
    """Also in a comment: a reviewer would see another text than the program reads."""
    refused = refusal(file, f"name: a\n# lab: true{turning}\n")
    assert (refused.place, refused.found) == ("line 2", f"U+{ord(turning):04X}")
    assert "remove it" in refused.reason


@pytest.mark.parametrize(
    ("text", "found"), [("", "an empty file"), ("# nothing\n", "an empty file"), ("- a\n", "list"), ("7", "int")]
)
def test_a_document_that_is_not_a_mapping_is_refused(file: Path, text: str, found: str) -> None:
    refused = refusal(file, text)
    assert (refused.reason, refused.found) == ("must be a mapping with keys and values; correct it", found)


def test_a_folder_in_the_place_of_a_file_is_refused(file: Path) -> None:
    """`hosts.yaml/` is a folder in spite of its name."""
    file.mkdir()
    assert refusal(file).found == "a folder"


def test_a_pipe_is_refused_without_waiting(file: Path) -> None:
    """Reading it would never end."""
    os.mkfifo(file)
    assert "pipe" in refusal(file).found


def test_a_file_without_rights_is_refused(no_root: None) -> None:
    """The message has the system's own reason."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as unreadable:
        os.fchmod(unreadable.fileno(), 0)
        reason = refusal(Path(unreadable.name)).reason
    assert reason == "cannot be read: Permission denied; check the path and its rights"


def test_an_unreadable_file_is_refused_also_for_root(file: Path) -> None:
    """Not even root can read a link to itself."""
    file.symlink_to(file)
    assert refusal(file).reason.startswith("cannot be read: ")


def test_a_file_name_that_would_be_ignored_is_refused() -> None:
    assert misnamed(Path("/estate/links.yml")) == "would not be read; rename it to links.yaml"
    assert not misnamed(Path("/estate/links.yaml"))
    assert not misnamed(Path("/estate/README.md"))
