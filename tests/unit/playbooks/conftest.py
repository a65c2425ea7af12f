"""The estate that roles are rendered for."""

from __future__ import annotations

import pytest

from estate.addressing import AddressPlan, plan
from estate.loader import load
from estate.model import Estate


@pytest.fixture(scope="session")
def estate() -> Estate:
    """The estate of the checkout."""
    return load()


@pytest.fixture(scope="session")
def addresses(estate: Estate) -> AddressPlan:
    """Its address plan."""
    return plan(estate)
