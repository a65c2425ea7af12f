"""Key for the state of the checkout in git: recorded before the first test, compared after the last."""

from __future__ import annotations

import pytest

TREE = pytest.StashKey[str]()
"""Result of `cli.testing.tree` before the first test."""
