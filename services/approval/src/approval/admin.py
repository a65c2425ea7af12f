"""Commands with which officers and operators change stored applications.

    python -m approval.admin review --dsn DSN --key KEY --to approved --officer 1042 --reason "学历已核实"
    python -m approval.admin purge-synthetic --dsn DSN --officer 1042

`review` moves an application along a legal transition: an officer settles a manual review, or reopens a refusal after
an appeal. It also writes an audit row and a message to the citizen. `purge-synthetic` removes all applications of
synthetic people and writes one audit row with their number. Applications of real people cannot be deleted.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from approval.decision import IllegalTransition, State, transition
from approval.schema import add_connection, connect

QUEUE_MESSAGE = """
INSERT INTO approval.outbox (application_id, channel, template, suppressed, mobile)
SELECT id, 'sms', %s, quiet, CASE WHEN NOT quiet THEN mobile END
FROM approval.application AS a CROSS JOIN LATERAL (
    SELECT a.mobile IS NULL OR (a.synthetic AND coalesce(
        (SELECT o.suppressed FROM approval.outbox AS o WHERE o.application_id = a.id ORDER BY o.id LIMIT 1), true
    )) AS quiet
) AS rule WHERE a.id = %s
"""
"""A synthetic person gets this message only if the message about the decision was not suppressed either."""


class AdminError(Exception):
    """The command cannot be completed. The message has the reason."""


@contextmanager
def _committed(dsn: str, wait_s: float) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Open a connection and one transaction, which is committed at the end of the block.

    Raise AdminError if the commit comes with a warning. Then its wait for a standby was cut short, and the command
    must not report success for a change that only one site may have. `store` has the same rule.
    """
    warnings: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "warning")

    with connect(dsn, wait_s) as connection:
        connection.add_notice_handler(note)
        with connection.transaction():
            yield connection
    if warnings:
        raise AdminError(
            f"committed, but it is not known whether a second site has the change ({'; '.join(warnings)}); "
            "check it again when a standby streams"
        )


def review(dsn: str, key: str, to: State, officer: str, reason: str, wait_s: float = 0.0) -> tuple[State, State]:
    """Move one application to another state. Return the states before and after."""
    with _committed(dsn, wait_s) as connection:
        row = connection.execute(
            "SELECT id, state FROM approval.application WHERE key = %s FOR UPDATE", (key,)
        ).fetchone()
        if row is None:
            raise AdminError(f"there is no application with the key {key}")
        before = State(row[1])
        try:
            transition(before, to)
        except IllegalTransition as error:
            raise AdminError(f"illegal transition: {error}") from None
        connection.execute("UPDATE approval.application SET state = %s WHERE id = %s", (to.value, row[0]))
        connection.execute(
            "INSERT INTO approval.audit (application_id, key, event, from_state, to_state, reason_code, actor, site)"
            " VALUES (%s, %s, 'reviewed', %s, %s, %s, %s, 'casework')",
            (row[0], key, before.value, to.value, reason, officer),
        )
        connection.execute(QUEUE_MESSAGE, (to.value, row[0]))
    return before, to


def purge_synthetic(dsn: str, officer: str, wait_s: float = 0.0) -> int:
    """Remove all synthetic applications. Return their number."""
    with _committed(dsn, wait_s) as connection:
        connection.execute("LOCK TABLE approval.application IN SHARE ROW EXCLUSIVE MODE")
        row = connection.execute("SELECT count(*) FROM approval.application WHERE synthetic").fetchone()
        count = int(row[0]) if row else 0
        if count:
            connection.execute(
                "INSERT INTO approval.audit (event, actor, site, detail)"
                " VALUES ('purged', %s, 'casework', jsonb_build_object('applications', %s::bigint))",
                (officer, count),
            )
            connection.execute("DELETE FROM approval.application WHERE synthetic")
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m approval.admin", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("review", "purge-synthetic"):
        command = commands.add_parser(name)
        add_connection(command)
        command.add_argument("--officer", required=True, help="the officer's number; written into the audit row")
        if name == "review":
            command.add_argument("--key", required=True)
            command.add_argument("--to", required=True, choices=[state.value for state in State])
            command.add_argument("--reason", required=True)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object. If the command fails, print one sentence on standard error and return 1."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "review":
            before, after = review(
                arguments.dsn, arguments.key, State(arguments.to), arguments.officer, arguments.reason, arguments.wait
            )
            print(json.dumps({"from": before, "to": after}))
        else:
            print(json.dumps({"purged": purge_synthetic(arguments.dsn, arguments.officer, arguments.wait)}))
    except (AdminError, psycopg.Error) as error:
        print(f"admin: {str(error).strip()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
