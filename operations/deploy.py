"""Deploys the stacks and compares them with the hosts.

All functions run where the hosts are reachable, except `check_names` (anywhere) and `prepare_image` (outside the lab's
namespace).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from estate.model import Estate
from operations import machine
from operations.locks import block_failover
from stacks.phases import PLATFORM, stack_names
from stacks.programs.pod_images import needed
from stacks.runs import engine
from stacks.runs.reports import DestroyResult, DriftResult, PlanResult, UpResult
from tools.image import bake
from tools.oci import build
from workstation.errors import validated_choice
from workstation.oci import OciImage

OnEvent = Callable[[str], None]
logger = logging.getLogger(__name__)


def check_names(estate: Estate, stacks: Sequence[str] = (), without: Sequence[str] = ()) -> None:
    """Raise WrongUse for a stack or a site that the estate does not have."""
    for name in stacks:
        validated_choice(name, stack_names(estate), "stack")
    for site in without:
        validated_choice(site, [one.name for one in estate.sites], "site")


def wants_pods(estate: Estate, stacks: Sequence[str] = ()) -> bool:
    """Return whether a run of these stacks deploys pods. No names mean all stacks."""
    return PLATFORM in [name for name in stack_names(estate) if not stacks or name in stacks]


def prepare_image(estate: Estate, stacks: Sequence[str] = ()) -> None:
    """Bake the base image again if it is outdated and pods are to be deployed: the pods' images are made from it.

    This needs the network, which a lab's namespace does not have.
    """
    if wants_pods(estate, stacks) and not bake.ready():
        machine.prepare()


def images(estate: Estate, stacks: Sequence[str], on_event: OnEvent) -> tuple[OciImage, ...]:
    """Return the images of the platform's pods and build missing ones. Empty if `stacks` excludes the platform."""
    if not wants_pods(estate, stacks):
        return ()
    return tuple(build.build(name, on_event) for name in needed(estate))


def plan(estate: Estate, stacks: Sequence[str] = (), without: Sequence[str] = (), *, on_event: OnEvent) -> PlanResult:
    """Return what `up` would change. Changes nothing and takes no lock. Raises Refused and StacksFailed."""
    found = engine.plan(estate, stacks, without, on_event=on_event, images=images(estate, stacks, on_event))
    logger.info("plan: %d change(s)", len(found.changes))
    return found


def up(estate: Estate, stacks: Sequence[str] = (), without: Sequence[str] = (), *, on_event: OnEvent) -> UpResult:
    """Deploy the declared estate. Raises Locked while a drill, a move or another deployment runs, and StacksFailed."""
    with block_failover():
        done = engine.up(estate, stacks, without, on_event=on_event, images=images(estate, stacks, on_event))
    logger.info("up: %d change(s) in %.1f s", done.changes, done.seconds)
    return done


def drift(estate: Estate, stacks: Sequence[str] = (), without: Sequence[str] = (), *, on_event: OnEvent) -> DriftResult:
    """Compare every host and cluster with the last deployment. Changes nothing and takes no lock."""
    return engine.drift(estate, stacks, without, on_event=on_event)


def guard_destroy(estate: Estate) -> None:
    """Raise Refused unless the estate is a lab. Callers ask this before they ask the operator for confirmation."""
    engine.guard_destroy(estate)


def destroy(estate: Estate, stacks: Sequence[str] = (), *, on_event: OnEvent) -> DestroyResult:
    """Forget a lab's hosts. Removes nothing from them. Raises Refused, and Locked like `up`."""
    with block_failover():
        return engine.destroy(estate, stacks, on_event=on_event)
