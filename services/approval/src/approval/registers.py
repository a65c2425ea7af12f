"""Fill the agencies' registers with synthetic people.

    python -m approval.registers load --dsn DSN --people N --seed S

The command writes each register with COPY as the role of the agency that owns it. All writes are in one transaction
under the estate-wide advisory lock. Loading the same seed and size again changes nothing. Another seed or size replaces
only the synthetic people: this command never deletes a real person from a register.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from approval.application import DISTRICTS
from approval.people import GENERATOR, GRADUATED_FROM, GRADUATED_TO, Person, person
from approval.schema import ADVISORY_LOCK, add_connection, connect

LARGEST = 4_000_000
"""Identity numbers of one seed are unique for fewer people than this."""

Row = tuple[object, ...]


def plan_rows() -> list[Row]:
    """Return the admission plan of each district. All are open for the generated years of graduation."""
    return [(district, True, GRADUATED_FROM, GRADUATED_TO) for district in DISTRICTS]


def resident_rows(people: Iterable[Person]) -> Iterator[Row]:
    """Yield the rows of public_security.resident."""
    for who in people:
        if who.on_record:
            yield who.id_number, who.name, "active" if who.active else "cancelled", who.home, who.address


def degree_rows(seed: int, people: Iterable[Person]) -> Iterator[Row]:
    """Yield the rows of human_resources.degree. The certificate number is unique per person."""
    for who in people:
        if who.level is not None:
            certificate = f"99{seed % 10000:04d}{who.graduated_year}{who.number:08d}"
            yield who.id_number, who.level, who.university, who.graduated_year, certificate


def credit_rows(people: Iterable[Person]) -> Iterator[Row]:
    """Yield the rows of development_reform.credit_record."""
    for who in people:
        if who.credit_listed:
            yield who.id_number, "演练数据", "2026-01-01"


def load(dsn: str, people: int, seed: int, wait_s: float = 0.0) -> bool:
    """Load `people` people of `seed`. Return False if exactly these people are already loaded."""
    with connect(dsn, wait_s) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        wanted = (seed, people, GENERATOR)
        if connection.execute("SELECT seed, people, generator FROM approval.register_load").fetchone() == wanted:
            return False
        everyone = [person(seed, n) for n in range(people)]
        _fill(connection, "public_security", "resident", _RESIDENT, resident_rows(everyone))
        _fill(connection, "human_resources", "degree", _DEGREE, degree_rows(seed, everyone))
        _fill(connection, "development_reform", "credit_record", _CREDIT, credit_rows(everyone))
        _plans(connection)
        connection.execute(
            "INSERT INTO approval.register_load (seed, people, generator) VALUES (%s, %s, %s)"
            " ON CONFLICT (only_row) DO UPDATE SET (seed, people, generator, loaded_at)"
            " = (excluded.seed, excluded.people, excluded.generator, now())",
            wanted,
        )
    return True


_RESIDENT = ("id_number", "name", "status", "household_city", "household_address")
_DEGREE = ("id_number", "level", "university", "graduated_year", "certificate")
_CREDIT = ("id_number", "cause", "listed_on")


def _fill(
    connection: psycopg.Connection[tuple[Any, ...]],
    schema: str,
    table: str,
    columns: tuple[str, ...],
    rows: Iterable[Row],
) -> None:
    """Replace the synthetic rows of one register, with the role of its owner."""
    name = sql.Identifier(schema, table)
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("DELETE FROM {} WHERE id_number LIKE '99%'").format(name))
    fields = sql.SQL(", ").join(map(sql.Identifier, columns))
    with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, fields)) as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(sql.SQL("ANALYZE {}").format(name))
    connection.execute("RESET ROLE")


def _plans(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Add the missing plans. A plan that the agency has changed stays as it is."""
    connection.execute("SET LOCAL ROLE development_reform")
    connection.cursor().executemany(
        "INSERT INTO development_reform.admission_plan (district, open, graduated_from, graduated_to)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT (district) DO NOTHING",
        plan_rows(),
    )
    connection.execute("RESET ROLE")


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object. If the registers cannot be filled, print one sentence on standard error and return 1."""
    parser = argparse.ArgumentParser(prog="python -m approval.registers", description=__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("load", help="fill the registers")
    add_connection(command)
    command.add_argument("--people", type=int, default=100_000)
    command.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.people <= LARGEST or arguments.seed < 0:
        parser.error(f"--people must be 0 to {LARGEST}, and --seed must not be negative")
    started = time.monotonic()
    try:
        changed = load(arguments.dsn, arguments.people, arguments.seed, arguments.wait)
    except psycopg.Error as error:
        print(f"registers: {str(error).strip()}", file=sys.stderr)
        return 1
    print(json.dumps({"changed": changed, "people": arguments.people, "seconds": round(time.monotonic() - started, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
