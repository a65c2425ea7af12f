"""Comparison of the ledger with the database: it finds every planted difference and no other."""

from __future__ import annotations

import random

import pytest

from failover.ledger import Unreadable, compare, parse, parse_rows
from tests.unit.failover import ledger_builder as make

LEDGER = parse(make.text(*make.writes(50, lambda n, at: [make.ok(at)])))
ROWS = [(make.key(n), make.digest(n), "approved") for n in range(50)]


def test_the_same_rows_are_clean_and_rows_of_others_are_ignored() -> None:
    others = [(make.key(n), make.digest(n), "rejected") for n in range(900, 950)]
    result = compare(LEDGER, parse_rows(make.csv_of(ROWS + others)))
    assert result.clean
    assert result.compared == 50


def test_a_deleted_row_is_found() -> None:
    result = compare(LEDGER, parse_rows(make.csv_of(ROWS[:7] + ROWS[8:])))
    assert [v.key for v in result.lost] == [make.key(7)]
    assert not result.duplicated


def test_a_duplicated_row_is_found() -> None:
    result = compare(LEDGER, parse_rows(make.csv_of([*ROWS, ROWS[3]])))
    assert [v.key for v in result.duplicated] == [make.key(3)]
    assert not result.lost


@pytest.mark.parametrize("row", [(make.key(3), make.digest(4), "approved"), (make.key(3), make.digest(3), "rejected")])
def test_a_row_with_different_content_is_lost(row: tuple[str, str, str]) -> None:
    result = compare(LEDGER, parse_rows(make.csv_of([*ROWS[:3], row, *ROWS[4:]])))
    assert [v.key for v in result.lost] == [make.key(3)]


def test_two_different_acknowledgements_of_one_key_are_lost() -> None:
    ledger = parse(make.text(make.write(0, [make.ok(0), make.ok(1, decision="rejected")])))
    assert compare(ledger, parse_rows(make.csv_of(ROWS[:1]))).lost


def test_unknown_may_be_present_or_absent() -> None:
    ledger = parse(make.text(*make.writes(10, lambda n, at: [make.silence(at), make.silence(at + 2)])))
    result = compare(ledger, parse_rows(make.csv_of(ROWS[:4])))
    assert result.clean
    assert (result.unknown_present, result.unknown_absent) == (4, 6)


def test_refused_at_every_attempt_must_be_absent() -> None:
    ledger = parse(make.text(*make.writes(10, lambda n, at: [make.no_primary(at)])))
    assert [v.n for v in compare(ledger, parse_rows(make.csv_of(ROWS[:1]))).appeared] == [0]


def test_refused_after_a_timeout_may_be_present() -> None:
    ledger = parse(make.text(make.write(0, [make.silence(0), make.no_primary(3)])))
    assert compare(ledger, parse_rows(make.csv_of(ROWS[:1]))).clean


def test_an_open_entry_of_a_killed_load_generator_is_unknown_not_lost() -> None:
    ledger = parse(make.text(make.write(0, [{"sent_s": 0.0, "answered_s": None, "status": None, "error": None}])))
    result = compare(ledger, ())
    assert result.clean
    assert result.unknown_absent == 1


@pytest.mark.parametrize("text", ["", "key,digest\n", "key,digest,decision\na,b\n"])
def test_rows_in_another_format_are_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_rows(text)


@pytest.mark.parametrize("seed", range(100))
def test_exactly_the_planted_differences_are_found(seed: int) -> None:
    """Property: after random deletions, duplicates and changes the comparison reports exactly these."""
    chance = random.Random(seed)
    numbers = list(range(50))
    chance.shuffle(numbers)
    gone, twice, changed = (set(numbers[a : a + chance.randint(0, 5)]) for a in (0, 10, 20))
    rows = [row for n, row in enumerate(ROWS) if n not in gone | changed]
    rows += [ROWS[n] for n in twice] + [(make.key(n), make.digest(n + 1000), "approved") for n in changed]
    chance.shuffle(rows)
    result = compare(LEDGER, parse_rows(make.csv_of(rows)))
    assert {v.n for v in result.lost} == gone | changed
    assert {v.n for v in result.duplicated} == twice
