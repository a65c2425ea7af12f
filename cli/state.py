"""`state`: backups of the stacks' state on the operations hosts, and its restore on a new workstation."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Json, error_boundary, load_estate, print_json, validated_choice
from cli.stacks import prepare
from workstation.errors import GovcloudError, Refused, WrongUse
from workstation.progress import say

if TYPE_CHECKING:
    from estate.model import Estate

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
        estate = prepare(None)
        from stacks.state import state_backup, store
        from workstation.ssh import Access

        mine, current = state_backup.local_metadata(estate), store.instance(estate)
        rows = state_backup.summary(state_backup.survey_hosts(estate, Access.default()), mine, current)
        if as_json:
            print_json({"instance": current, "here": mine.as_json() if mine else None, "copies": rows, "keep": _keep()})
            return
        print(f"here: {mine.as_text() if mine else 'no state'}")
        for row in rows:
            print(f"{row['host']}: {row['copy']}" + (f" · {row['text']}" if "text" in row else ""))
        print("no backup contains these files; keep them in a safe place off this machine:")
        for path in _keep():
            print(f"  {path}" + ("" if Path(path).exists() else " (missing)"))


@app.command()
def copy(replace_newer: ReplaceNewer = False, as_json: Json = False) -> None:
    """Back up the state to every reachable operations host without the current one. `up` does this automatically."""
    with error_boundary(as_json, interrupted="no backup is left half written; run the same command again"):
        estate = prepare(None)
        from stacks.runs import engine

        holders = engine.back_up(estate, say, replace_newer=replace_newer)
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
        validated_choice(host, _operations_hosts(load_estate()), "operations host")
        estate = prepare(None)
        from stacks.runs import engine
        from stacks.state import restore as way
        from stacks.state import state_backup, store
        from stacks.state.lineage import Relation, relation
        from workstation.ssh import Access

        metadata, bundle = state_backup.fetch(estate, Access.default(), host)
        mine = state_backup.local_metadata(estate)
        if why := way.refusal(host, metadata, mine, store.instance(estate), replace_newer=replace_newer):
            raise why
        passphrase = way.matching_passphrase(bundle)
        if passphrase and mine and relation(metadata, mine) is Relation.SAME:
            say(f"nothing to restore: the state here is the same as {host}'s backup ({mine.as_text()})")
            _answer(as_json, host, mine.as_json(), None)
            return
        if passphrase is None:
            passphrase = _passphrase(passphrase_file, host)
        if not way.opens(bundle, passphrase):
            raise Refused(
                f"the passphrase does not decrypt {host}'s backup", "use the passphrase with which the backup was made"
            )
        say(f"here: {mine.as_text() if mine else 'no state'}")
        say(f"will be replaced by {host}'s backup: {metadata.as_text()}")
        if not yes:
            _confirm()
        done = engine.restore(estate, host, metadata, bundle, passphrase)
        say("the state is restored" + (f"; the former state is kept in {done.former}" if done.former else ""))
        say("next: `./govcloud plan` compares every host with the state, `./govcloud up` corrects the differences")
        _answer(as_json, host, metadata.as_json(), done.former)


def _answer(as_json: bool, host: str, metadata: dict[str, Any], former: Path | None) -> None:
    if as_json:
        print_json({"from": host, "state": metadata, "former": str(former) if former else None})


def _operations_hosts(estate: Estate) -> list[str]:
    from estate.model import HostRole

    return [host.name for host in estate.managed_hosts if host.kind is HostRole.OPS]


def _keep() -> list[str]:
    """Return the files that a new workstation needs and that no backup contains."""
    from stacks.state import state_files
    from workstation.ssh import Access

    access = Access.default()
    return [str(path) for path in (state_files.passphrase_file(), access.key, access.known_hosts)]


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
