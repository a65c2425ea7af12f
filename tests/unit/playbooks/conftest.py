"""The estate from which the tests render roles."""

from __future__ import annotations

import pytest

from estate.addressing import AddressPlan, plan
from estate.loader import load
from estate.model import Estate


@pytest.fixture(scope="session")
def estate() -> Estate:
    """Return the estate of the checkout."""
    return load()


@pytest.fixture(scope="session")
def addresses(estate: Estate) -> AddressPlan:
    """Return the estate's address plan."""
    return plan(estate)
