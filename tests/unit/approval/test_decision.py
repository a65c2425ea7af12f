"""The decision rules: each test states one rule."""

from dataclasses import replace
from datetime import date
from itertools import product

import pytest
from approval.application import Application, Degree, Level
from approval.decision import (
    LEGAL_TRANSITIONS,
    REASONS,
    AdmissionPlan,
    DegreeRecord,
    Facts,
    IllegalTransition,
    Reason,
    Resident,
    State,
    decide,
    transition,
)
from approval.people import Case, applicant, person

GRADUATE = Application(
    name="王伟",
    id_number="990001199601011234",
    degree=Degree(level=Level.MASTER, university="深圳大学", graduated_year=2026),
    employer=None,
    district="南山区",
    synthetic=True,
    mobile=None,
    digest="0" * 64,
    body="{}",
)
FACTS = Facts(
    resident=Resident(name="王伟", active=True, shenzhen_household=False),
    degree=DegreeRecord(level=Level.MASTER, university="深圳大学", graduated_year=2026),
    plan=AdmissionPlan(open=True, graduated_from=2024, graduated_to=2026),
    credit_listed=False,
    earlier=False,
)
OTHER_DEGREE = DegreeRecord(level=Level.DOCTOR, university="深圳大学", graduated_year=2026)
CLOSED = AdmissionPlan(open=False, graduated_from=2024, graduated_to=2026)
LATER = AdmissionPlan(open=True, graduated_from=2027, graduated_to=2028)


def test_an_applicant_who_meets_all_conditions_is_approved():
    """This is the usual case."""
    decision = decide(GRADUATE, FACTS)
    assert (decision.outcome, decision.reason) == (State.APPROVED, Reason.MEETS_CONDITIONS)


@pytest.mark.parametrize(
    ("change", "outcome", "reason"),
    [
        ({"resident": replace(FACTS.resident, name="李伟")}, State.REJECTED, Reason.NAME_MISMATCH),
        ({"resident": replace(FACTS.resident, active=False)}, State.REJECTED, Reason.PERSON_INACTIVE),
        ({"resident": replace(FACTS.resident, shenzhen_household=True)}, State.REJECTED, Reason.HOUSEHOLD_EXISTS),
        ({"earlier": True}, State.REJECTED, Reason.DUPLICATE_APPLICATION),
        ({"resident": None}, State.MANUAL_REVIEW, Reason.PERSON_UNKNOWN),
        ({"resident": None, "earlier": True}, State.REJECTED, Reason.DUPLICATE_APPLICATION),
        ({"degree": None}, State.MANUAL_REVIEW, Reason.DEGREE_UNVERIFIED),
        ({"degree": OTHER_DEGREE}, State.MANUAL_REVIEW, Reason.DEGREE_MISMATCH),
        ({"plan": None}, State.REJECTED, Reason.DISTRICT_CLOSED),
        ({"plan": CLOSED}, State.REJECTED, Reason.DISTRICT_CLOSED),
        ({"plan": LATER}, State.REJECTED, Reason.NOT_RECENT_GRADUATE),
        ({"credit_listed": True}, State.MANUAL_REVIEW, Reason.CREDIT_LISTED),
    ],
)
def test_each_fact_decides(change, outcome, reason):
    """One fact differs from the usual case and determines the decision."""
    decision = decide(GRADUATE, replace(FACTS, **change))
    assert (decision.outcome, decision.reason) == (outcome, reason)


def test_an_applicant_without_a_degree_is_refused_even_if_the_register_has_one():
    """The applicant's own statement counts."""
    assert decide(replace(GRADUATE, degree=None), FACTS).reason is Reason.NO_DEGREE


def test_no_combination_of_facts_opens_a_second_case_for_a_person():
    """With an earlier case every outcome is a refusal. Therefore a conflict on the unique index always resolves."""
    residents = (None, FACTS.resident, replace(FACTS.resident, name="李伟"), replace(FACTS.resident, active=False))
    every = product(residents, (None, FACTS.degree, OTHER_DEGREE), (None, FACTS.plan, CLOSED, LATER), (True, False))
    for resident, degree, plan, listed in every:
        facts = Facts(resident=resident, degree=degree, plan=plan, credit_listed=listed, earlier=True)
        assert decide(GRADUATE, facts).outcome is State.REJECTED


def test_every_reason_has_a_sentence_in_chinese():
    """There is also no sentence without a reason."""
    assert set(REASONS) == set(Reason)


def test_an_approval_is_final():
    """No transition leads out of it."""
    for state in State:
        with pytest.raises(IllegalTransition):
            transition(State.APPROVED, state)


def test_only_declared_transitions_are_possible():
    """All pairs of states are tried."""
    for current, to in product((None, *State), State):
        if to in LEGAL_TRANSITIONS[current]:
            assert transition(current, to) is to
        else:
            with pytest.raises(IllegalTransition):
                transition(current, to)


EXPECTED = {
    Case.GRADUATE: Reason.MEETS_CONDITIONS,
    Case.NO_DEGREE: Reason.NO_DEGREE,
    Case.HOUSEHOLD: Reason.HOUSEHOLD_EXISTS,
    Case.UNKNOWN: Reason.PERSON_UNKNOWN,
    Case.NAME_DIFFERS: Reason.NAME_MISMATCH,
    Case.DEGREE_DIFFERS: Reason.DEGREE_MISMATCH,
    Case.DEGREE_MISSING: Reason.DEGREE_UNVERIFIED,
    Case.CREDIT_LISTED: Reason.CREDIT_LISTED,
    Case.CANCELLED: Reason.PERSON_INACTIVE,
    Case.LONG_GRADUATED: Reason.NOT_RECENT_GRADUATE,
}


def test_generated_people_get_the_decision_that_their_case_expects():
    """Register rows and applications of two thousand people pass through the real parser and the real rules."""
    import json

    from approval.application import parse
    from approval.registers import credit_rows, degree_rows, plan_rows, resident_rows

    seed, people = 3, [person(3, n) for n in range(2000)]
    residents = {row[0]: row for row in resident_rows(people)}
    degrees = {row[0]: row for row in degree_rows(seed, people)}
    listed = {row[0] for row in credit_rows(people)}
    plans = {row[0]: AdmissionPlan(open=row[1], graduated_from=row[2], graduated_to=row[3]) for row in plan_rows()}
    seen = set()
    for who in people:
        if who.case is Case.DUPLICATE:
            continue
        form = parse(json.dumps(applicant(seed, who.number)).encode(), date(2026, 6, 1))
        resident, degree = residents.get(form.id_number), degrees.get(form.id_number)
        facts = Facts(
            resident=resident
            and Resident(name=resident[1], active=resident[2] == "active", shenzhen_household=resident[3] == "深圳市"),
            degree=degree and DegreeRecord(level=Level(degree[1]), university=degree[2], graduated_year=degree[3]),
            plan=plans.get(form.district),
            credit_listed=form.id_number in listed,
            earlier=False,
        )
        assert decide(form, facts).reason is EXPECTED[who.case], who
        seen.add(who.case)
    assert seen == set(EXPECTED)
