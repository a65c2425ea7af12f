"""The decision: a pure function of the application and of the facts in the three agencies' registers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from approval.application import Application, Level


class State(StrEnum):
    """State of an application. Each new application is stored in one of the three outcomes, never undecided."""

    APPROVED = "approved"
    REJECTED = "rejected"
    MANUAL_REVIEW = "manual_review"


LEGAL_TRANSITIONS: Mapping[State | None, frozenset[State]] = {
    None: frozenset(State),
    State.MANUAL_REVIEW: frozenset({State.APPROVED, State.REJECTED}),
    State.REJECTED: frozenset({State.MANUAL_REVIEW}),
    State.APPROVED: frozenset(),
}
"""Legal transitions. None means "not stored yet". An officer settles a review, a refused citizen may appeal, and an
approval is final. The database has the same table (approval.legal_transition), and its trigger refuses all others."""


class Reason(StrEnum):
    """Reason of a decision. REASONS has a sentence for the citizen for each of them."""

    MEETS_CONDITIONS = "meets_conditions"
    NAME_MISMATCH = "name_mismatch"
    PERSON_INACTIVE = "person_inactive"
    HOUSEHOLD_EXISTS = "household_exists"
    DUPLICATE_APPLICATION = "duplicate_application"
    PERSON_UNKNOWN = "person_unknown"
    NO_DEGREE = "no_degree"
    DEGREE_UNVERIFIED = "degree_unverified"
    DEGREE_MISMATCH = "degree_mismatch"
    DISTRICT_CLOSED = "district_closed"
    NOT_RECENT_GRADUATE = "not_recent_graduate"
    CREDIT_LISTED = "credit_listed"


REASONS: Mapping[Reason, str] = {
    Reason.MEETS_CONDITIONS: "符合高校应届毕业生落户条件，已批准。",
    Reason.NAME_MISMATCH: "姓名与公安人口登记不一致。",
    Reason.PERSON_INACTIVE: "公安登记显示该户口已注销。",
    Reason.HOUSEHOLD_EXISTS: "您已是深圳户籍，无需再次申请。",
    Reason.DUPLICATE_APPLICATION: "您已有一份已批准或正在审核的申请。",
    Reason.PERSON_UNKNOWN: "公安人口登记中查无此人，已转人工审核。",
    Reason.NO_DEGREE: "未取得学历，不符合毕业生落户条件。",
    Reason.DEGREE_UNVERIFIED: "人力资源部门尚无该学历记录，已转人工审核。",
    Reason.DEGREE_MISMATCH: "填写的学历与人力资源部门登记不一致，已转人工审核。",
    Reason.DISTRICT_CLOSED: "该区目前未开放落户计划。",
    Reason.NOT_RECENT_GRADUATE: "毕业年份不在本期落户计划范围内。",
    Reason.CREDIT_LISTED: "信用记录需要核实，已转人工审核。",
}


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A person in the population register of public security."""

    name: str
    active: bool
    shenzhen_household: bool


@dataclass(frozen=True, kw_only=True)
class DegreeRecord:
    """The highest degree in the register of human resources."""

    level: Level
    university: str
    graduated_year: int


@dataclass(frozen=True, kw_only=True)
class AdmissionPlan:
    """A district's admission plan of development and reform, with its first and last year of graduation (inclusive)."""

    open: bool
    graduated_from: int
    graduated_to: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts in the registers at the moment of the decision.

    `earlier` is true if the person already has an approved application or one in manual review.
    """

    resident: Resident | None
    degree: DegreeRecord | None
    plan: AdmissionPlan | None
    credit_listed: bool
    earlier: bool


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome and its reason."""

    outcome: State
    reason: Reason


def decide(application: Application, facts: Facts) -> Decision:
    """Return the decision of the first rule that applies. Approve an application to which no rule applies.

    Rules about the person come first, then the rule about duplicates, so that no later rule can open a second case for
    one person. A person or degree that is missing in a register is no reason for a refusal: an officer reviews it.
    """
    for rule in (_about_person, _about_earlier, _about_degree, _about_plan, _about_credit):
        decision = rule(application, facts)
        if decision is not None:
            return decision
    return Decision(outcome=State.APPROVED, reason=Reason.MEETS_CONDITIONS)


def _rejected(reason: Reason) -> Decision:
    return Decision(outcome=State.REJECTED, reason=reason)


def _review(reason: Reason) -> Decision:
    return Decision(outcome=State.MANUAL_REVIEW, reason=reason)


def _about_person(application: Application, facts: Facts) -> Decision | None:
    resident = facts.resident
    if resident is None:
        return None
    if resident.name != application.name:
        return _rejected(Reason.NAME_MISMATCH)
    if not resident.active:
        return _rejected(Reason.PERSON_INACTIVE)
    if resident.shenzhen_household:
        return _rejected(Reason.HOUSEHOLD_EXISTS)
    return None


def _about_earlier(application: Application, facts: Facts) -> Decision | None:
    if facts.earlier:
        return _rejected(Reason.DUPLICATE_APPLICATION)
    return _review(Reason.PERSON_UNKNOWN) if facts.resident is None else None


def _about_degree(application: Application, facts: Facts) -> Decision | None:
    stated, known = application.degree, facts.degree
    if stated is None:
        return _rejected(Reason.NO_DEGREE)
    if known is None:
        return _review(Reason.DEGREE_UNVERIFIED)
    same = (stated.level, stated.university, stated.graduated_year) == (
        known.level,
        known.university,
        known.graduated_year,
    )
    return None if same else _review(Reason.DEGREE_MISMATCH)


def _about_plan(application: Application, facts: Facts) -> Decision | None:
    plan = facts.plan
    if plan is None or not plan.open:
        return _rejected(Reason.DISTRICT_CLOSED)
    year = application.degree.graduated_year if application.degree else 0
    return None if plan.graduated_from <= year <= plan.graduated_to else _rejected(Reason.NOT_RECENT_GRADUATE)


def _about_credit(application: Application, facts: Facts) -> Decision | None:
    return _review(Reason.CREDIT_LISTED) if facts.credit_listed else None


class IllegalTransition(ValueError):
    """A transition that LEGAL_TRANSITIONS does not allow."""


def transition(current: State | None, to: State) -> State:
    """Return the new state. Raise IllegalTransition if the transition is not legal."""
    if to not in LEGAL_TRANSITIONS[current]:
        raise IllegalTransition(f"{current or 'new'} -> {to}")
    return to
