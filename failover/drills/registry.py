"""The list of all drills: every module in `scenarios` is one."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from failover.drills import scenarios
from failover.drills.drill import Drill
from workstation.errors import WrongUse


def _found() -> tuple[Drill, ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(scenarios.__path__))
    return tuple(import_module(f"{scenarios.__name__}.{name}").DRILL for name in names)


DRILLS: tuple[Drill, ...] = _found()
"""In the order of their names."""


def get(name: str) -> Drill:
    """Return the drill of that name. Raises WrongUse (exit 2) with the known names."""
    for drill in DRILLS:
        if drill.name == name:
            return drill
    raise WrongUse(f"unknown drill {name!r}", f"known drills: {', '.join(d.name for d in DRILLS)}")
