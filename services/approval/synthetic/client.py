"""The synthetic client of this service: the requests of applicants who match the synthetic registers.

The platform's load generator imports this module on a host outside the estate, where only the standard library and
`approval.people` are available.
"""

from __future__ import annotations

from approval import people

APPLICATIONS = "/v1/applications"


def body(seed: int, n: int) -> dict[str, object]:
    """Return the form of applicant `n`, always marked as synthetic."""
    return {**people.applicant(seed, n), "synthetic": True}


def write_path() -> str:
    """Return the path to which a form is sent, with an idempotency key."""
    return APPLICATIONS


def read_path(key: str) -> str:
    """Return the path of the decision for the key."""
    return f"{APPLICATIONS}/{key}"
