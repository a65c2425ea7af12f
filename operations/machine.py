"""Sets this machine up: programs, builds and the base image."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.golang import Group


def prepare(groups: Collection[Group] | None = None) -> None:
    """Set this machine up, for commands that need it. A running lab's memory counts as available."""
    from lab import lab_state
    from tools import setup as installer

    noted = lab_state.read()
    installer.run(groups=groups, before_lab=noted.available_before_mib << 20 if noted else 0)
