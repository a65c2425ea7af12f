"""Key for the tests that this run has collected."""

from __future__ import annotations

import pytest

COLLECTED = pytest.StashKey[dict[str, set[str]]]()
"""Names of the test functions of each file, also of those that -m and -k leave out."""
