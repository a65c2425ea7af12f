"""The checks before a commit: each can fail, and hooks, pre-commit and the Makefile run the same ones."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tools import lint
from workstation import paths

HOOKS = paths.repo() / "tools" / "git-hooks"
KEY = "-----BEGIN {}PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEF\n"


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in the folder, without the user's settings."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return an empty git repository with this project's hooks and a `govcloud` that only records its arguments."""
    assert git(tmp_path, "init", "-q").returncode == 0
    git(tmp_path, "config", "core.hooksPath", str(HOOKS))
    entry = tmp_path / "govcloud"
    entry.write_text('#!/bin/sh\necho "$@" >called\nexit "$(cat result)"\n', encoding="utf-8")
    entry.chmod(0o755)
    (tmp_path / "result").write_text("0", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_a_private_key_is_found_in_a_new_file(repository: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "server.key").write_text(KEY.format(kind), encoding="utf-8")
    assert lint.main(["private-keys"], repository) == 1
    assert capsys.readouterr().out.startswith("server.key: contains a private key")


def test_a_file_that_git_ignores_or_that_names_the_header_is_no_private_key(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.key\n", encoding="utf-8")
    (repository / "server.key").write_text(KEY.format(""), encoding="utf-8")
    (repository / "check.py").write_text('HEADER = "-----BEGIN PRIVATE KEY-----"\n', encoding="utf-8")
    assert lint.main(["private-keys"], repository) == 0


def test_an_unknown_check_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint.main(["spelling"]) == 2
    assert "private-keys, ruff" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [("0", 0), ("1", 1)])
def test_a_commit_is_made_only_if_the_checks_pass(repository: Path, result: str, code: int) -> None:
    (repository / "result").write_text(result, encoding="utf-8")
    assert git(repository, "commit", "-q", "--allow-empty", "-m", "tests: try the hook").returncode == code
    assert (repository / "called").read_text(encoding="utf-8") == "python -m tools.lint\n"


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("docs: explain the hooks", 0),
        ("Merge branch 'redesign'", 0),
        ("docs: " + "字" * 66, 0),
        ("docs: " + "x" * 67, 1),
        ("explain the hooks", 1),
        ("docs:explain the hooks", 1),
    ],
)
def test_the_subject_of_a_commit_has_an_area_and_at_most_72_characters(tmp_path: Path, subject: str, code: int) -> None:
    message = tmp_path / "message"
    message.write_text(f"{subject}\n\nWhy.\n", encoding="utf-8")
    done = subprocess.run([HOOKS / "commit-msg", message], capture_output=True, check=False)
    assert done.returncode == code


def test_pre_commit_runs_every_check_and_downloads_nothing() -> None:
    """pre-commit would download hooks of another repository or in a language of its own."""
    config = yaml.safe_load((paths.repo() / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [source["repo"] for source in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    entries = {hook["id"]: hook["entry"] for hook in hooks}
    assert entries.pop("subject") == "tools/git-hooks/commit-msg"
    assert entries == {name: f"./govcloud python -m tools.lint {name}" for name in lint.CHECKS}


def test_every_target_of_the_makefile_is_explained_and_declared_phony() -> None:
    """A file of the same name would otherwise hide the target."""
    text = (paths.repo() / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", text, re.MULTILINE)
    phony = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony == [" ".join(targets)]
    assert re.findall(r"^([a-z]+):.* ## \S", text, re.MULTILINE) == targets
