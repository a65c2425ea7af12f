"""The synthetic people."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import approval.people as people
from approval.application import DISTRICTS
from approval.identity import check_digit, id_number_fault, name_fault, text_fault
from approval.people import SHARES, Case, applicant, applicants, person
from approval.registers import degree_rows, resident_rows

TODAY = date(2026, 1, 1)


def test_every_person_has_a_valid_number_in_the_unassigned_region_and_a_valid_name():
    """Believable, and no real person's."""
    for n in range(3000):
        who = person(5, n)
        assert id_number_fault(who.id_number, TODAY) is None
        assert who.id_number.startswith("99")
        assert who.id_number[17] == check_digit(who.id_number[:17])
        assert name_fault(who.name) is None, who.name
        assert text_fault(who.university, 60) is None


def test_no_two_people_share_a_number():
    """Hundred thousand of one seed, and another seed."""
    numbers = {people.id_number(1, n) for n in range(100_000)} | {people.id_number(2, n) for n in range(1000)}
    assert len(numbers) == 101_000


def test_the_shares_of_the_cases_are_as_declared():
    """Within what chance allows, and none is missing."""
    assert sum(SHARES.values()) == 1000
    cases = [person(9, n).case for n in range(20_000)]
    for case, share in SHARES.items():
        assert 0.5 * share < cases.count(case) / 20 < 1.6 * share, case


def test_the_same_seed_and_number_give_the_same_applicant():
    """Across calls, and however they are asked for."""
    assert list(applicants(4, 50)) == [applicant(4, n) for n in range(50)]
    assert applicant(4, 7) != applicant(5, 7)


def test_a_duplicate_applicant_applies_for_an_earlier_person():
    """The case that a second application of one person is made of."""
    n = next(n for n in range(1, 500) if person(1, n).case is Case.DUPLICATE)
    assert applicant(1, n) == applicant(1, n - 1)


def test_streets_belong_to_the_citys_districts():
    """Real names."""
    assert set(people._STREETS) == set(DISTRICTS)


def test_the_registers_hold_each_person_once():
    """Primary keys, and certificates without repetition."""
    everyone = [person(1, n) for n in range(5000)]
    residents, degrees = list(resident_rows(everyone)), list(degree_rows(1, everyone))
    assert len({row[0] for row in residents}) == len(residents)
    assert len({row[4] for row in degrees}) == len(degrees)


def test_the_module_runs_alone_with_the_standard_library(tmp_path):
    """A load generator copies this one file to a machine that has nothing else."""
    alone = tmp_path / "people.py"
    alone.write_bytes(Path(people.__file__).read_bytes())
    argv = [sys.executable, "-I", "-S", str(alone), "--seed", "1", "--count", "3", "--first", "2"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"PYTHONIOENCODING": "utf-8"})
    assert [json.loads(line) for line in done.stdout.splitlines()] == [applicant(1, n) for n in (2, 3, 4)]
