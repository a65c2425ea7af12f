"""`state`: backups of the stacks' state on the operations hosts, and its restore on a new workstation."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.json_output import print_json
from cli.output import Json, error_boundary, load_estate
from cli.stacks import enter
from operations import state
from workstation.errors import GovcloudError, WrongUse, validated_choice
from workstation.progress import say

app = typer.Typer(help="The stacks' state: list, write and restore its backups.", no_args_is_help=True)

From = Annotated[str, typer.Option("--from", metavar="HOST", help="The operations host with the backup.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", help="File with the passphrase of the state.", show_default="asks"
    ),
]
ReplaceNewer = Annotated[
    bool,
    typer.Option(
        "--replace-newer", help="Also replace a state that is newer or that diverged. The replaced state is kept."
    ),
]

Yes = Annotated[bool, typer.Option("--yes", help="Restore without asking; needed without a terminal.")]


@app.command("list")
def list_copies(as_json: Json = False) -> None:
    """List the state on this machine and on each operations host: serial, time, origin. Exit 0 with any result."""
    with error_boundary(as_json):
        found = state.survey(enter())
        here, keep = found.here, [str(path) for path in state.files_without_backup()]
        if as_json:
            copies, mine = list(found.copies), here.as_json() if here else None
            print_json({"instance": found.instance, "here": mine, "copies": copies, "keep": keep})
            return
        print(f"here: {here.as_text() if here else 'no state'}")
        for row in found.copies:
            print(f"{row['host']}: {row['copy']}" + (f" · {row['text']}" if "text" in row else ""))
        print("no backup contains these files; keep them in a safe place off this machine:")
        for path in keep:
            print(f"  {path}" + ("" if Path(path).exists() else " (missing)"))


@app.command()
def copy(replace_newer: ReplaceNewer = False, as_json: Json = False) -> None:
    """Back up the state to every reachable operations host without the current one. `up` does this automatically."""
    with error_boundary(as_json, interrupted="no backup is left half written; run the same command again"):
        holders = state.back_up(enter("state copy"), replace_newer=replace_newer, on_event=say)
        print_json({"holders": list(holders)}) if as_json else print("backup on: " + (", ".join(holders) or "no host"))
        if not holders:
            raise typer.Exit(1)


@app.command()
def restore(
    host: From,
    passphrase_file: PassphraseFile = None,
    replace_newer: ReplaceNewer = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Restore the state from an operations host. It shows both states and asks first. The former state is kept."""
    with error_boundary(as_json, interrupted="run the same command again to continue; the former state is kept"):
        validated_choice(host, state.operations_hosts(load_estate()), "operations host")
        estate = enter("state restore")
        found = state.fetch(estate, host, replace_newer=replace_newer)
        here = found.here.as_text() if found.here else "no state"
        if found.is_current:
            say(f"nothing to restore: the state here is the same as {host}'s backup ({here})")
            assert found.here is not None
            _answer(as_json, host, found.here.as_json(), None)
            return
        passphrase = _passphrase(passphrase_file, host) if found.passphrase is None else found.passphrase
        state.check_passphrase(found, passphrase)
        say(f"here: {here}")
        say(f"will be replaced by {host}'s backup: {found.metadata.as_text()}")
        if not yes:
            _confirm()
        done = state.restore(estate, found, passphrase)
        say("the state is restored" + (f"; the former state is kept in {done.former}" if done.former else ""))
        say("next: `./govcloud plan` compares every host with the state, `./govcloud up` corrects the differences")
        _answer(as_json, host, found.metadata.as_json(), done.former)


def _answer(as_json: bool, host: str, metadata: dict[str, Any], former: Path | None) -> None:
    if as_json:
        print_json({"from": host, "state": metadata, "former": str(former) if former else None})


def _passphrase(file: Path | None, host: str) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise GovcloudError(
                f"{file} is not a text file, so it has no passphrase", "name the file with the passphrase"
            ) from None
    if not sys.stdin.isatty():
        raise WrongUse(
            f"no passphrase on this workstation decrypts {host}'s backup; nothing was changed",
            "fetch it from the safe and add --passphrase-file FILE (docs/lost-workstation.md)",
        )
    return getpass.getpass("passphrase of the state: ", stream=sys.stderr).strip()


def _confirm() -> None:
    # The question is on standard error: standard output is for the result.
    say("Restore it now? [y/N]")
    if sys.stdin is None or sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise WrongUse("the restore was not confirmed; nothing was changed", "answer y, or add --yes")
