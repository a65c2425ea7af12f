"""The words of the old private dialect do not return: `docs/style.md` lists them, and this test searches all text."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from workstation import paths

STYLE = "docs/style.md"
HEADING = "## Words that must not return"

NOT_OURS = (
    "docs/generated/",  # written by programs
    "docs/images/",  # pictures
    "tests/unit/golden/",  # copies of files as they are on hosts
    "LICENSE",
    "services/approval/src/approval/migrations/",  # databases store the digest of each file
    "tests/rules/test_style.py",  # plants the words
)
NOT_PROSE = (".svg", ".lock", ".sum", ".mod")
RENDERED = ("playbooks/render/", "stacks/components/tenancy.py")
"""Strings here are configuration of hosts or clusters. Another wording would change all of them, so only comments and
docstrings are searched."""

CODE = "\0"
"""Replaces characters that are no prose, so that words on both sides of code never join to a phrase."""
BETWEEN = r"""(?:[\s#"'/*]|\bf(?="))+"""
"""Between two words of a phrase: also a line break with its comment sign, or the quotes of a string that goes on."""


def words() -> tuple[str, ...]:
    """All words and phrases in the left column of the table in `docs/style.md`."""
    section = (paths.repo() / STYLE).read_text(encoding="utf-8").split(f"{HEADING}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    return tuple(word.strip() for row in rows[1:] for word in row.split(","))


def pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Matches any of the phrases as whole words."""
    return re.compile(
        rf"\b(?:{'|'.join(BETWEEN.join(map(re.escape, phrase.split())) for phrase in phrases)})\b", re.IGNORECASE
    )


def found(name: str, text: str, forbidden: re.Pattern[str]) -> Iterator[str]:
    """Each forbidden phrase in one file's text, as `file:line: phrase`.

    Most texts have none even with their code, which takes far less time to search than to tell code from prose.
    """
    if not forbidden.search(text.replace("_", " ")):
        return
    for match in forbidden.finditer(prose(name, text)):
        line = text.count("\n", 0, match.start()) + 1
        yield f"{name}:{line}: {' '.join(re.split(BETWEEN, match.group()))}"


def prose(name: str, text: str) -> str:
    """The text with the same length and lines, in which all characters that are no prose are replaced."""
    if name == STYLE:
        text = re.sub(r"^\|.*$", _hidden, text, flags=re.MULTILINE)
    if name.endswith(".py"):
        text = _python(text, strings=not name.startswith(RENDERED))
    return re.sub(r"`[^`\n]*`", _hidden, text) if name.endswith((".py", ".md")) else text


def _hidden(match: re.Match[str]) -> str:
    return CODE * len(match.group())


def _python(text: str, *, strings: bool) -> str:
    """Comments, docstrings, the words of test names, and with `strings` all strings that contain a space.

    Other names, and strings without a space, are no prose.
    """
    lines = text.splitlines(keepends=True)
    kept = [[character if character in " \n" else CODE for character in line] for line in lines]
    statement = True  # whether a string that comes next begins a statement: then it is a docstring
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        docstring = kind == "STRING" and statement
        if kind not in ("NL", "COMMENT"):
            statement = kind in ("NEWLINE", "INDENT", "DEDENT")
        test = before == "def" and token.string.startswith("test_")
        before = token.string
        if kind == "COMMENT" or docstring or test or (strings and _sentence(kind, token.string)):
            (first, begin), (last, end) = token.start, token.end
            for row in range(first - 1, last):
                line = lines[row]
                columns = slice(begin if row == first - 1 else 0, end if row == last - 1 else len(line))
                kept[row][columns] = line[columns].replace("_", " ") if test else line[columns]
    return "".join(character for line in kept for character in line)


def _sentence(kind: str, string: str) -> bool:
    return kind in ("STRING", "FSTRING_MIDDLE") and len(string.split()) > 1


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of every file of the repository that people write."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=paths.repo(), capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        file = paths.repo() / name
        if not name.startswith(NOT_OURS) and not name.endswith(NOT_PROSE) and file.is_file():
            yield name, file.read_text(encoding="utf-8")


def test_no_forbidden_word_is_in_the_repository() -> None:
    forbidden = pattern(words())
    assert [hit for name, text in texts() for hit in found(name, text, forbidden)] == []


def test_the_search_covers_real_files() -> None:
    """A broken list of files or words would let everything pass."""
    names = {name for name, _ in texts()}
    assert {"README.md", STYLE, "cli/app.py", "govcloud", "lab/wires/main.go"} <= names
    assert {"whoever", "for want of", "mended"} < set(words())
    assert all(re.fullmatch(r"[a-z' ]+", word) for word in words())


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.md", "One.\nWhoever reads it.", 2),
        ("a.md", "a lock, the holder of\nwhich has ended", 1),
        ("a.py", '"""Return it.\n\nNobody else\ncalls it.\n"""\n', 3),
        ("a.py", "x = 1  # the operator is\n# told of it", 1),
        ("a.py", 'raise ValueError("no such host: " + name, "mend the estate")', 1),
        ("a.py", 'print(\n    f"the reserve is given "\n    f"back to {name}"\n)', 2),
        ("a.py", "\ndef test_the_host_is_told() -> None:\n    pass\n", 2),
        ("a.py", "async def test_mend(host: str) -> None: ...\n", 1),
        ("playbooks/render/a.py", '"""Render it for whoever asks."""\nTEXT = "# Whoever is primary."', 1),
        ("a.yaml", "summary: the host is told", 1),
        ("govcloud", "# build it anew", 1),
        ("a.go", "// the frame is given\n// back", 1),
    ],
)
def test_a_planted_phrase_is_found_on_its_line(name: str, text: str, line: int) -> None:
    """The check can fail: in documents, docstrings, comments and messages, also across a line break."""
    (hit,) = found(name, text, pattern(words()))
    assert hit.startswith(f"{name}:{line}: ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "The commit amends the file; recommended, and mendable by `mend`."),
        ("a.md", "None of the hosts answers. The operator tells the carrier, which has told its customers."),
        ("a.md", "Look at the log. The dark theme looks fine. Secrets are encrypted at rest."),
        ("a.md", "`./govcloud state keep` is\n\ntolerant"),
        ("a.py", 'user = "nobody"\nkeys = ["is", "told"]\nnobody = mend(whoever)'),
        ("a.py", "def is_told() -> bool:\n    return test_is_told() or test.anew\n"),
        ("a.py", "run(is_a, told)  # of a host, which answers"),
        ("playbooks/render/a.py", 'TEXT = (\n    # of HAProxy\n    "# Whoever is primary.\\n"\n)'),
        (STYLE, "| whoever | the operator |"),
    ],
)
def test_ordinary_english_and_names_are_not_flagged(name: str, text: str) -> None:
    assert list(found(name, text, pattern(words()))) == []


def test_the_page_of_the_rules_is_searched_outside_its_tables() -> None:
    text = Path(paths.repo() / STYLE).read_text(encoding="utf-8") + "\nWhoever.\n"
    assert len(list(found(STYLE, text, pattern(words())))) == 1
