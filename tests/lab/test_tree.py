"""Checks the checkout after all other tests."""

from __future__ import annotations

import pytest

from cli.testing import tree
from tests.tree import TREE


def test_no_file_was_written_into_the_checkout(pytestconfig: pytest.Config) -> None:
    """Setup, engine, Ansible, drills and tests write only below the cache and the home directory."""
    assert tree() == pytestconfig.stash[TREE]
