"""Shell completion through the `./govcloud` entry, in a real bash."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from workstation import paths

COMPLETE = """
eval "$(_GOVCLOUD_COMPLETE=source_bash ./govcloud)"
complete -p govcloud >/dev/null || exit 1
COMP_WORDS=({words} "") COMP_CWORD={count}
_govcloud_completion ./govcloud
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def bash(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script in the checkout, without the user's own settings."""
    env = {"PATH": "/usr/bin:/bin", "HOME": os.devnull, "GOVCLOUD_CACHE": str(paths.cache()), **variables}
    argv = ["bash", "--noprofile", "--norc", "-c", script]
    return subprocess.run(argv, cwd=paths.repo(), env=env, capture_output=True, text=True, check=False)


def completions(*words: str) -> set[str]:
    """Return the words that bash offers after `words`."""
    script = COMPLETE.format(words=" ".join(words), count=len(words))
    done = bash(script)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_and_their_parts() -> None:
    assert {"demo", "up", "drill", "switchover"} <= completions("./govcloud")
    assert completions("./govcloud", "drill") == {"list", "show", "run", "report"}


def test_show_completion_prints_a_script_for_the_commands_plain_name() -> None:
    """Bash looks up `./govcloud` by the part after the last slash."""
    done = bash("./govcloud --show-completion; exit $?")
    assert done.returncode == 0
    assert done.stdout.strip().endswith("complete -o default -F _govcloud_completion govcloud")


def test_completion_without_an_environment_is_empty_and_installs_no_environment(tmp_path: Path) -> None:
    done = bash(
        "./govcloud",
        GOVCLOUD_CACHE=str(tmp_path),
        _GOVCLOUD_COMPLETE="complete_bash",
        COMP_WORDS="./govcloud dr",
        COMP_CWORD="1",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_usage_still_names_the_command_as_it_is_typed() -> None:
    done = bash("./govcloud drill --help")
    assert "Usage: ./govcloud drill" in done.stdout
