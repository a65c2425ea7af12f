"""Loads scripts that run on machines by their files, because they are in no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

PLAYBOOKS = Path(__file__).parents[1] / "playbooks"


def load(file: Path) -> ModuleType:
    """Return a script as a module, without running its main part."""
    spec = importlib.util.spec_from_file_location(file.stem.replace("-", "_"), file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
