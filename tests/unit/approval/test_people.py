"""The generator of synthetic people."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

from approval import people
from approval.application import DISTRICTS
from approval.identity import check_digit, id_number_problem, name_problem, text_problem
from approval.people import SHARES, Case, applicant, applicants, person
from approval.registers import degree_rows, resident_rows

TODAY = date(2026, 1, 1)


def test_every_person_has_a_valid_number_in_the_unassigned_region_and_a_valid_name():
    """The data is realistic and belongs to no real person."""
    for n in range(3000):
        who = person(5, n)
        assert id_number_problem(who.id_number, TODAY) is None
        assert who.id_number.startswith("99")
        assert who.id_number[17] == check_digit(who.id_number[:17])
        assert name_problem(who.name) is None, who.name
        assert text_problem(who.university, 60) is None


def test_no_two_people_share_a_number():
    """Checked for a hundred thousand people of one seed and a thousand of another."""
    numbers = {people.id_number(1, n) for n in range(100_000)} | {people.id_number(2, n) for n in range(1000)}
    assert len(numbers) == 101_000


def test_the_shares_of_the_cases_are_as_declared():
    """Each share is within a tolerance for chance, and no case is missing."""
    assert sum(SHARES.values()) == 1000
    cases = [person(9, n).case for n in range(20_000)]
    for case, share in SHARES.items():
        assert 0.5 * share < cases.count(case) / 20 < 1.6 * share, case


def test_the_same_seed_and_number_give_the_same_applicant():
    """The result is the same for single calls and for a range."""
    assert list(applicants(4, 50)) == [applicant(4, n) for n in range(50)]
    assert applicant(4, 7) != applicant(5, 7)


def test_a_duplicate_applicant_applies_for_an_earlier_person():
    """This case produces a second application of one person."""
    n = next(n for n in range(1, 500) if person(1, n).case is Case.DUPLICATE)
    assert applicant(1, n) == applicant(1, n - 1)


def test_streets_belong_to_the_citys_districts():
    """The names are real."""
    assert set(people._STREETS) == set(DISTRICTS)


def test_the_registers_contain_each_person_once():
    """Primary keys and certificate numbers are unique."""
    everyone = [person(1, n) for n in range(5000)]
    residents, degrees = list(resident_rows(everyone)), list(degree_rows(1, everyone))
    assert len({row[0] for row in residents}) == len(residents)
    assert len({row[4] for row in degrees}) == len(degrees)


def test_the_module_runs_alone_with_the_standard_library(tmp_path):
    """A load generator copies this one file to a host that has nothing else."""
    alone = tmp_path / "people.py"
    alone.write_bytes(Path(people.__file__).read_bytes())
    argv = [sys.executable, "-I", "-S", str(alone), "--seed", "1", "--count", "3", "--first", "2"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"PYTHONIOENCODING": "utf-8"})
    assert [json.loads(line) for line in done.stdout.splitlines()] == [applicant(1, n) for n in (2, 3, 4)]
