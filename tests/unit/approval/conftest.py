"""Make the service's package importable from the checkout, because it is installed only on the service's hosts."""

import sys
from pathlib import Path

SOURCES = str(Path(__file__).parents[3] / "services" / "approval" / "src")
if SOURCES not in sys.path:
    sys.path.insert(0, SOURCES)
