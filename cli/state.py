"""`state`: the copies of the stacks' state on the operations hosts, and the way back after a lost workstation."""

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

app = typer.Typer(help="The stacks' state: its copies, and the way back when it is lost.", no_args_is_help=True)

From = Annotated[str, typer.Option("--from", metavar="HOST", help="The operations host whose copy is taken.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="The passphrase, as it was kept.", show_default="asks"),
]
ReplaceNewer = Annotated[
    bool, typer.Option("--replace-newer", help="Also replace what is newer, or was changed apart; it is kept beside.")
]

Yes = Annotated[bool, typer.Option("--yes", help="Restore without asking; needed where nobody can answer.")]


@app.command("list")
def list_copies(as_json: Json = False) -> None:
    """What is here and on each operations host: serial, time, where it was made. Exit 0 whatever it finds."""
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
        print("not in any copy, to be kept in a safe place off this machine:")
        for path in _keep():
            print(f"  {path}" + ("" if Path(path).exists() else " (missing)"))


@app.command()
def copy(replace_newer: ReplaceNewer = False, as_json: Json = False) -> None:
    """Copy the state to every reachable operations host that lacks it; `up` does so by itself."""
    with error_boundary(as_json, interrupted="a copy is written whole or not at all; run the same command again"):
        estate = prepare(None)
        from stacks.runs import engine

        holders = engine.back_up(estate, say, replace_newer=replace_newer)
        print_json({"holders": list(holders)}) if as_json else print("held by " + (", ".join(holders) or "no host"))
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
    """Bring the state back from an operations host. Shows what it would do, and asks; what was here is kept beside."""
    with error_boundary(
        as_json, interrupted="run the same command again: it goes on, and what was here is kept beside"
    ):
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
            say(f"the state here is that of {host}'s copy ({mine.as_text()}): nothing to restore")
            _answer(as_json, host, mine.as_json(), None)
            return
        if passphrase is None:
            passphrase = _passphrase(passphrase_file, host)
        if not way.opens(bundle, passphrase):
            raise Refused(f"the passphrase does not open {host}'s copy", "bring the one with which it was made")
        say(f"here: {mine.as_text() if mine else 'no state'}")
        say(f"will be replaced by {host}'s copy: {metadata.as_text()}")
        if not yes:
            _confirm()
        done = engine.restore(estate, host, metadata, bundle, passphrase)
        say("the state is restored" + (f"; the former one is kept in {done.former}" if done.former else ""))
        say("next: `./govcloud plan` compares every host with it, `./govcloud up` mends what differs")
        _answer(as_json, host, metadata.as_json(), done.former)


def _answer(as_json: bool, host: str, metadata: dict[str, Any], former: Path | None) -> None:
    if as_json:
        print_json({"from": host, "state": metadata, "former": str(former) if former else None})


def _operations_hosts(estate: Estate) -> list[str]:
    from estate.model import HostRole

    return [host.name for host in estate.managed_hosts if host.kind is HostRole.OPS]


def _keep() -> list[str]:
    """What a new workstation needs and no copy holds."""
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
                f"{file} is no text, so it holds no passphrase", "name the file that was kept"
            ) from None
    if not sys.stdin.isatty():
        raise WrongUse(
            f"no passphrase on this workstation opens {host}'s copy; nothing was changed",
            "bring it from the safe and add --passphrase-file FILE (docs/lost-workstation.md)",
        )
    return getpass.getpass("passphrase of the state: ", stream=sys.stderr).strip()


def _confirm() -> None:
    # Asked on standard error: standard output is for the answer.
    say("Restore it now? [y/N]")
    if sys.stdin is None or sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise WrongUse("it was not confirmed; nothing was changed", "answer y, or add --yes")
