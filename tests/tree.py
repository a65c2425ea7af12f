"""The checkout, as git sees it: noted before the first test, compared after the last."""

from __future__ import annotations

import pytest

TREE = pytest.StashKey[str]()
"""What `cli.testing.tree` said before the first test."""
