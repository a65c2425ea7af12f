"""The README has the same headings, commands and links in both languages."""

from __future__ import annotations

import re
from pathlib import Path

from tools.screenshots import MAX_PNG_BYTES
from workstation import paths

ROOT = paths.repo()
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(document: Path) -> str:
    """Return the text without fenced code."""
    return FENCED.sub("", document.read_text(encoding="utf-8"))


def command_lines(document: Path) -> list[str]:
    """Return the lines of all fenced code, without comments and without spaces at their ends."""
    blocks = FENCED.findall(document.read_text(encoding="utf-8"))
    return [line.split(" #")[0].rstrip() for block in blocks for line in block.splitlines()]


def commands_in_prose(document: Path) -> list[str]:
    """Return the calls of `./govcloud` between backticks, in a fixed order."""
    return sorted(set(re.findall(r"`(\./govcloud[^`]*)`", prose(document))))


def targets(document: Path) -> list[str]:
    """Return the targets of all links, in their order."""
    return re.findall(r"\]\(([^)]+)\)", prose(document))


def headings(document: Path) -> list[int]:
    """Return the levels of all headings, in their order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(document), re.MULTILINE)]


def test_both_readmes_have_the_same_headings_and_commands() -> None:
    """Change both files together. Only comments in code may differ."""
    assert headings(CHINESE) == headings(ENGLISH)
    assert command_lines(CHINESE) == command_lines(ENGLISH)
    assert len(command_lines(ENGLISH)) > 5
    assert commands_in_prose(CHINESE) == commands_in_prose(ENGLISH)


def test_both_readmes_lead_to_the_same_pages_and_to_each_other() -> None:
    swapped = {"README.md": "README.zh-CN.md"}
    pages = [re.sub(r"^(docs/images/\w+)\.zh\.", r"\1.en.", target) for target in targets(CHINESE)]
    assert [swapped.get(page, page) for page in pages] == targets(ENGLISH)
    assert targets(ENGLISH)[0] == "README.zh-CN.md"


def test_every_picture_is_in_a_readme_and_small() -> None:
    """Every clone has the pictures. `python -m tools.screenshots` makes them from a real run."""
    shown = {target for target in (*targets(ENGLISH), *targets(CHINESE)) if target.startswith("docs/images/")}
    pictures = {str(file.relative_to(ROOT)): file.stat().st_size for file in (ROOT / "docs/images").iterdir()}
    assert set(pictures) == shown
    assert {name: size for name, size in pictures.items() if size > MAX_PNG_BYTES} == {}


def test_the_chinese_readme_uses_the_words_of_the_glossary() -> None:
    """Each term that the English README explains has one Chinese word."""
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = dict(re.findall(r"^\| ([a-z ]+) \| (\S+) \|", glossary, re.MULTILINE))
    text = CHINESE.read_text(encoding="utf-8")
    for word in ("estate", "site", "vantage", "drill", "lab", "primary", "load generator", "drift", "stack", "bureau"):
        assert words[word] in text, word
