"""Links and paths in documents lead to existing files, and the index of decisions is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from workstation import paths

REPO = paths.repo()
DECISIONS = REPO / "docs" / "decisions"
NAMES_OF_THE_PAST = ("0025-plain-english.md",)
"""Documents that name files of the past on purpose."""


def documents() -> list[Path]:
    """Every Markdown file that people read, the newest ones included."""
    return sorted([*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md"), *(REPO / "services").glob("*/*.md")])


def broken_links(document: Path, text: str) -> Iterator[str]:
    """Targets of links that are no file or folder. Addresses on the web and places on the same page are not checked."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file = target.split("#")[0]
        if file and "://" not in file and not (document.parent / file).exists():
            yield target


def missing_paths(text: str) -> Iterator[str]:
    """Paths between backticks that begin with a folder of the repository and do not exist.

    A path with `*`, `{}` or a word in capital letters is a pattern and is not checked.
    """
    folders = "|".join(re.escape(folder.name) for folder in REPO.iterdir() if folder.is_dir())
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", text):
        if not re.search(r"/[A-Z]{2,}\b|NN", path) and not (REPO / path).exists():
            yield path


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(REPO)))
def test_links_and_paths_of_a_document_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert list(broken_links(document, text)) == []
    assert document.name in NAMES_OF_THE_PAST or list(missing_paths(text)) == []


def test_a_broken_link_and_a_missing_path_are_found() -> None:
    """The checks can fail."""
    text = "[a](style.md#rules) [b](gone.md) [c](https://example.org/) `docs/gone.md` `docs/style.md` `lab/*.py`"
    assert list(broken_links(REPO / "docs" / "page.md", text)) == ["gone.md"]
    assert list(missing_paths(text)) == ["docs/gone.md"]


def test_the_index_lists_every_decision_with_its_number_and_title() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[(\d+)\. (.+)\]\((.+)\)$", index, re.MULTILINE)
    titles = [
        (file.name, *file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split(" ", 1))
        for file in sorted(DECISIONS.glob("0*.md"))
    ]
    assert [(name, number.zfill(4), title) for number, title, name in listed] == titles
