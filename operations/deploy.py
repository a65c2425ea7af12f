"""Deploys the stacks: the images of the platform's pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workstation.progress import say

if TYPE_CHECKING:
    from estate.model import Estate
    from workstation.oci import OciImage


def wants_pods(estate: Estate, stacks: list[str] | None) -> bool:
    """Return whether a run of these stacks deploys pods. No names mean all stacks."""
    from stacks.phases import PLATFORM, stack_names

    return PLATFORM in [name for name in stack_names(estate) if not stacks or name in stacks]


def images(estate: Estate, stacks: list[str] | None) -> tuple[OciImage, ...]:
    """Return the images of the platform's pods and build missing ones. Empty if `stacks` excludes the platform."""
    if not wants_pods(estate, stacks):
        return ()
    from stacks.programs.pod_images import needed
    from tools.oci import build

    return tuple(build.build(name, say) for name in needed(estate))
