"""Make the packages of both services importable from the checkout. They are installed only on the services' hosts."""

import sys
from pathlib import Path

for service in ("approval", "messages"):
    sources = str(Path(__file__).parents[3] / "services" / service / "src")
    if sources not in sys.path:
        sys.path.insert(0, sources)
