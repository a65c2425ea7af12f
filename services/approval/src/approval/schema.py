"""Update the database schema: `python -m approval.schema apply --dsn DSN`.

The command applies numbered SQL files, each in one transaction, under one advisory lock. It records each applied file
with its digest; such a file must never be edited afterwards. A second run changes nothing. The DSN is the owner's
(approval_owner). The owner must be a member of the three agencies' roles, because it creates their schemas as these
roles.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

ADVISORY_LOCK = 0x60C_0001
"""Advisory lock of schema changes and register loads. Only one of them runs at a time in the whole estate."""

AGENCIES = ("human_resources", "development_reform", "public_security")
APP_ROLE = "approval_app"
MESSAGES_ROLE = "messages_app"
MESSAGES_GRANTS = """
GRANT USAGE ON SCHEMA approval, messages TO messages_app;
GRANT SELECT, UPDATE (sent_at, suppressed, mobile) ON approval.outbox TO messages_app;
GRANT SELECT, INSERT, UPDATE ON messages.delivery TO messages_app;
"""
"""All that the message service may do. It reads no application, no audit row and no register."""
OWNER_DSN = "APPROVAL_OWNER_DSN"
RETRY_S = 0.5
TABLE_LOCK_MS = 300
"""Longest wait of a migration for a table's lock. All later statements on the table wait behind it, so it must be
short. Then the migration is rolled back, and tried again later."""
TABLE_LOCK_PATIENCE_S, TABLE_LOCK_PAUSE_S = 60.0, 0.5
"""For how long a migration is tried, and the pause between two attempts, in which the statements behind it proceed."""
CONNECT_OPTIONS = "-c synchronous_commit=on -c client_min_messages=warning -c lock_timeout=60s"


class SchemaError(Exception):
    """The schema cannot be applied. The message has the next step."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One SQL file. `number` orders them."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Digest of the text. The database stores it to detect an edited file."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """Return the packaged SQL files in their order."""
    folder = resources.files("approval") / "migrations"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return tuple(
        Migration(number=int(item.name[:4]), name=item.name, text=item.read_text(encoding="utf-8")) for item in files
    )


def pending(shipped: tuple[Migration, ...], applied: dict[int, str]) -> tuple[Migration, ...]:
    """Return the migrations to apply. Raise SchemaError if an applied file has changed or is not in this release."""
    known = {migration.number: migration for migration in shipped}
    for number, digest in sorted(applied.items()):
        if number not in known:
            raise SchemaError(f"the database has migration {number}, this release does not: install the newer release")
        if known[number].sha256 != digest:
            raise SchemaError(f"{known[number].name} was edited after it was applied: restore it and add a new file")
    return tuple(migration for migration in shipped if migration.number not in applied)


def apply(dsn: str, wait_s: float = 0.0) -> list[str]:
    """Apply the pending migrations and return the names of their files, and what else has changed."""
    done = []
    with connect(dsn, wait_s) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        with connection.transaction():
            _require_roles(connection)
            _create_migration_table(connection)
        rows = connection.execute("SELECT number, sha256 FROM approval.migration").fetchall()
        for migration in pending(migrations(), dict(rows)):
            _apply_one(connection, migration)
            done.append(migration.name)
        if _grant_messages(connection):
            done.append(f"rights of {MESSAGES_ROLE}")
    return done


def _grant_messages(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Give the message service its rights if the platform has created its login. Return whether it had none."""
    row = connection.execute(
        "SELECT has_table_privilege(r.oid, t.oid, 'INSERT') FROM pg_roles AS r, pg_class AS t"
        " WHERE r.rolname = %s AND t.oid = to_regclass('messages.delivery')",
        (MESSAGES_ROLE,),
    ).fetchone()
    if row != (False,):
        return False
    with connection.transaction():
        connection.execute(MESSAGES_GRANTS)
    return True


def _apply_one(connection: psycopg.Connection[tuple[Any, ...]], migration: Migration) -> None:
    """Apply and record one migration. Raise psycopg.errors.LockNotAvailable if a table stays locked."""
    deadline = time.monotonic() + TABLE_LOCK_PATIENCE_S
    while True:
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {TABLE_LOCK_MS}")
                connection.execute(migration.text.encode())
                connection.execute(
                    "INSERT INTO approval.migration (number, name, sha256) VALUES (%s, %s, %s)",
                    (migration.number, migration.name, migration.sha256),
                )
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if time.monotonic() >= deadline:
                raise
        time.sleep(TABLE_LOCK_PAUSE_S)


def connect(dsn: str, wait_s: float = 0.0) -> psycopg.Connection[tuple[Any, ...]]:
    """Return an autocommit connection whose commits wait for the synchronous standbys.

    If the server is unreachable, retry for `wait_s` seconds, then raise psycopg.OperationalError.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return psycopg.connect(dsn, autocommit=True, connect_timeout=5, options=CONNECT_OPTIONS)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_S)


def add_connection(command: argparse.ArgumentParser) -> None:
    """Add the arguments for the database connection. All commands have the same ones."""
    given = os.environ.get(OWNER_DSN)
    command.add_argument(
        "--dsn", default=given, required=given is None, help=f"the owner's connection string; default: ${OWNER_DSN}"
    )
    command.add_argument("--wait", type=float, default=0.0, help="seconds to wait until the server is reachable")


def _create_migration_table(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    if connection.execute("SELECT to_regclass('approval.migration')").fetchone() != (None,):
        return
    connection.execute("CREATE SCHEMA IF NOT EXISTS approval")
    connection.execute(
        "CREATE TABLE approval.migration (number integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )


def _require_roles(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Raise SchemaError with the missing roles or memberships before the first file is applied."""
    present = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    missing = [name for name in (*AGENCIES, APP_ROLE) if name not in present]
    if missing:
        raise SchemaError(f"database roles are missing: {', '.join(missing)}; the Ansible role postgresql creates them")
    for agency in AGENCIES:
        if connection.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", (agency,)).fetchone() != (True,):
            user = connection.info.user
            grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(agency), sql.Identifier(user)).as_string(connection)
            raise SchemaError(f"{user} is not a member of {agency}; run this as a superuser: {grant}")


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object with the applied files. On failure print one sentence on standard error and return 1."""
    parser = argparse.ArgumentParser(prog="python -m approval.schema", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("apply", help="apply the pending migrations")
    add_connection(command)
    arguments = parser.parse_args(argv)
    try:
        done = apply(arguments.dsn, arguments.wait)
    except (SchemaError, psycopg.Error) as error:
        print(f"schema: {str(error).strip()}", file=sys.stderr)
        return 1
    print(json.dumps({"applied": done, "changed": bool(done)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
