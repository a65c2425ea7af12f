"""Environment variables for a Python that a test starts without this process's environment."""

from __future__ import annotations

import sys

VARIABLES = {"PYTHONPYCACHEPREFIX": sys.pycache_prefix} if sys.pycache_prefix else {"PYTHONDONTWRITEBYTECODE": "1"}
"""Use the bytecode of this run, or write none if this run would write it into the checkout."""
