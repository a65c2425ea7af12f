"""Operations of the command line on the stacks: plan, update, drift, destroy. Each stack runs in its own process.

Stacks run in phases: network, data, the sites and the province, then the platform. Stacks of one phase run in parallel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from estate.model import Estate
from stacks.phases import DATA, PLATFORM, phases, stack_names
from stacks.programs import pod_images
from stacks.programs.context import Context, current_context
from stacks.programs.stack_hosts import stack_hosts
from stacks.runs import fingerprint, preflight, refresh, worker, workspace
from stacks.runs.reports import Change, DestroyResult, DriftResult, PlanResult, UpResult
from stacks.runs.worker_pool import OnEvent, StackResult, WorkerPool
from stacks.state import checkpoints, disk_reserve, lock, state_backup, store
from stacks.state import restore as state_restore
from stacks.state.lineage import StateMetadata
from stacks.state.restore import Restored
from workstation.errors import GovcloudError, Refused, WrongUse
from workstation.oci import OciImage
from workstation.ssh import Access

PROTECTED = "is currently marked for protection"
"""Part of the engine's error when it refuses to delete or replace a protected resource."""


class StacksFailed(GovcloudError):
    """One or more stacks could not be deployed as declared. `results` lists the changes that were made nevertheless."""

    def __init__(self, message: str, next_step: str, results: Sequence[StackResult]) -> None:
        super().__init__(message, next_step)
        self.results = tuple(results)


def up(
    estate: Estate,
    stacks: Sequence[str] = (),
    without: Sequence[str] = (),
    on_event: OnEvent = lambda line: None,
    images: Sequence[OciImage] = (),
) -> UpResult:
    """Deploy the estate as declared.

    `stacks` limits the run to some stacks, `without` excludes unreachable sites, and `images` are the images of the
    pods. Raise `Locked` while another change runs, `Refused` if protected resources would be deleted, and
    `StacksFailed`. Changes made before a failure are reported.
    """
    begun = time.monotonic()
    workspace.prepare()
    with lock.acquire(lock.own_command()) as lock_fd:
        store.claim(store.instance(estate), on_event)
        _repair_checkpoints(estate, on_event)
        _refuse_removals(estate, stacks)
        _ready(estate, stacks, without)
        pod_images.remember(images)
        try:
            results = _run(worker.UP, estate, stacks, without, on_event, lock_fd=lock_fd, images=images)
        finally:
            _back_up_state(estate, without, on_event)
        store.prune()
    return _up_result(results, time.monotonic() - begun, deferred(estate, stacks, without))


def plan(
    estate: Estate,
    stacks: Sequence[str] = (),
    without: Sequence[str] = (),
    on_event: OnEvent = lambda line: None,
    images: Sequence[OciImage] = (),
) -> PlanResult:
    """Return what `up` would change, with the lines that differ. Change nothing.

    Raise `Refused` if protected resources would be deleted or replaced.
    """
    begun = time.monotonic()
    workspace.prepare()
    store.claim(store.instance(estate), on_event)
    checkpoints.require_intact(stack_names(estate))
    _refuse_removals(estate, stacks)
    _ready(estate, stacks, without)
    pod_images.remember(images)
    results = _run(worker.PLAN, estate, stacks, without, on_event, images=images)
    changes = tuple(change for result in results for change in result.changes)
    guard(changes)
    return PlanResult(changes=changes, seconds=time.monotonic() - begun, deferred=deferred(estate, stacks, without))


def drift(
    estate: Estate, stacks: Sequence[str] = (), without: Sequence[str] = (), on_event: OnEvent = lambda line: None
) -> DriftResult:
    """Compare every host with the configuration that was applied to it. Change nothing."""
    begun = time.monotonic()
    workspace.prepare()
    store.claim(store.instance(estate), on_event)
    checkpoints.require_intact(stack_names(estate))
    _ready(estate, stacks, without)
    found: dict[str, tuple[str, ...]] = {}
    chosen = [stack for phase in _selected(estate, stacks, without, in_phases=False) for stack in phase]
    results = refresh.refresh_all({stack: current_context(estate, stack, without) for stack in chosen}, on_event)
    if not all(result.done for result in results):
        raise _failure(results)
    for result in results:
        for host, texts in result.drift.items():
            found[host] = found.get(host, ()) + tuple(text for text in texts if text not in found.get(host, ()))
    return DriftResult(
        differences=dict(sorted(found.items())),
        seconds=time.monotonic() - begun,
        deferred=deferred(estate, stacks, without),
    )


def destroy(estate: Estate, stacks: Sequence[str] = (), on_event: OnEvent = lambda line: None) -> DestroyResult:
    """End the management of a lab's estate, last phase first. Remove nothing from any host.

    Raise `Refused` if the estate is not a lab.
    """
    guard_destroy(estate)
    begun = time.monotonic()
    workspace.prepare()
    with lock.acquire(lock.own_command()) as lock_fd:
        store.claim(store.instance(estate), on_event)
        _repair_checkpoints(estate, on_event)
        results = _run(worker.DESTROY, estate, stacks, (), on_event, lock_fd=lock_fd)
        _back_up_state(estate, (), on_event)
    return DestroyResult(stacks=tuple(result.stack for result in results), seconds=time.monotonic() - begun)


def restore(estate: Estate, host: str, metadata: StateMetadata, backup: bytes, passphrase: str) -> Restored:
    """Replace the local state with a host's backup, under the lock.

    Raise the same errors as `state_restore.restore`.
    """
    workspace.prepare()
    with lock.acquire(lock.own_command()):
        return state_restore.restore(estate, host, metadata, backup, passphrase)


def back_up(estate: Estate, on_event: OnEvent, *, replace_newer: bool = False) -> tuple[str, ...]:
    """Back up the state to the operations hosts now. Return the hosts that hold the backup."""
    workspace.prepare()
    with lock.acquire(lock.own_command()):
        _repair_checkpoints(estate, on_event)
        return state_backup.back_up(estate, Access.default(), on_event, replace_newer=replace_newer)


def deferred(estate: Estate, stacks: Sequence[str], without: Sequence[str]) -> tuple[str, ...]:
    """Return the hosts of the selected stacks that are excluded with their sites."""
    names = [stack for stack in stack_names(estate) if not stacks or stack in stacks]
    hosts = {host.name for stack in names for host in stack_hosts(estate, stack) if host.at in set(without)}
    return tuple(sorted(hosts))


def guard_destroy(estate: Estate) -> None:
    """Raise `Refused` unless the estate declares that it is a lab."""
    if not estate.lab:
        raise Refused(
            f"{estate.name} is not a lab, so it is never destroyed: its machines hold citizens' data",
            "remove single hosts from the estate and run `./govcloud up`: that only ends their management",
        )


def guard(changes: Sequence[Change]) -> None:
    """Raise `Refused` if a plan would delete or replace a resource that holds data."""
    bad = [change for change in changes if change.guarded and change.op in ("delete", "replace")]
    if bad:
        names = ", ".join(f"{change.stack}: {change.op} {change.host or change.resource}" for change in bad)
        raise Refused(
            f"the plan would remove resources that hold data: {names}",
            "declare them in the estate again, or move the data first",
        )


def _ready(estate: Estate, stacks: Sequence[str], without: Sequence[str]) -> None:
    """Raise unless a run may start: names are known, hosts answer, no operations host has a newer state.

    Change nothing.
    """
    chosen = [name for phase in _selected(estate, stacks, without, in_phases=True) for name in phase]
    wanted = {host.name for name in chosen for host in stack_hosts(estate, name) if host.at not in set(without)}
    preflight.check_hosts(estate, [host for host in estate.managed_hosts if host.name in wanted], Access.default())
    state_backup.refuse_if_behind(estate, Access.default(), without)


def _back_up_state(estate: Estate, without: Sequence[str], on_event: OnEvent) -> None:
    """Back up the state to the operations hosts, also after a failure: the state then contains the changes made before
    it.

    An error here is only reported, so that it does not hide the cause of the failed run.
    """
    try:
        _repair_checkpoints(estate, on_event)
        state_backup.back_up(estate, Access.default(), on_event, without)
    except (GovcloudError, OSError) as error:
        on_event(f"the state was not backed up to the operations hosts: {error}")


def _repair_checkpoints(estate: Estate, on_event: OnEvent) -> None:
    """Repair truncated checkpoints, so that none is used or sent."""
    for stack in stack_names(estate):
        try:
            checkpoints.repair(stack, on_event)
        except OSError as error:
            why = f"the state of {stack} is truncated and cannot be repaired: {error.strerror or error}"
            raise GovcloudError(why, disk_reserve.FREE_SPACE) from None


def _refuse_removals(estate: Estate, stacks: Sequence[str]) -> None:
    """Raise `Refused` if the estate no longer declares a protected data host that is in the state.

    Runs before any engine.
    """
    if DATA not in (stacks or stack_names(estate)):
        return
    declared = {f"{DATA}-{host.name}" for host in stack_hosts(estate, DATA)}
    gone = []
    for resource in store.resources(DATA):
        name = str(resource["urn"]).rsplit("::", 1)[-1]
        if resource.get("protect") and name.startswith(f"{DATA}-") and name not in declared:
            gone.append(
                Change(stack=DATA, op="delete", resource=name, host=name.removeprefix(f"{DATA}-"), guarded=True)
            )
    guard(gone)


def _run(
    operation: str,
    estate: Estate,
    stacks: Sequence[str],
    without: Sequence[str],
    on_event: OnEvent,
    *,
    lock_fd: int | None = None,
    images: Sequence[OciImage] = (),
) -> list[StackResult]:
    """Run all stacks, phase by phase, and stop after a failed phase. `DESTROY` runs the phases in reverse order.

    Raise `StacksFailed`, or `Refused` by protection.
    """
    order = _selected(estate, stacks, without, in_phases=operation != worker.PLAN)
    backwards = operation == worker.DESTROY
    pool = WorkerPool(operation, estate, without, on_event, lock_fd, images)
    writes = lock_fd is not None

    def context(stack: str) -> Context:
        return current_context(estate, stack, without, images)

    try:
        with disk_reserve.reserved(pool.stop) if writes else nullcontext():
            read = {} if backwards else _as_applied([stack for phase in order for stack in phase], context, on_event)
            for phase in reversed(order) if backwards else order:
                # An earlier phase may have changed inputs of this one, so compare the fingerprint again.
                done = [stack for stack in phase if stack in read and fingerprint.is_current(context(stack), stack)]
                pool.results += [read[stack] for stack in done]
                rest = [stack for stack in phase if stack not in done]
                if rest and not pool.run(rest):
                    raise _failure(pool.results, pool.stopped)
    except BaseException:
        if operation == worker.UP:
            on_event("changed so far: " + (", ".join(pool.changed()) or "nothing"))
        raise
    return pool.results


def _as_applied(stacks: Sequence[str], context: Callable[[str], Context], on_event: OnEvent) -> dict[str, StackResult]:
    """Return the results, by stack, of stacks with no new declaration and no difference in a refresh.

    A failed refresh is ignored here: the operation itself reports the cause.
    """
    contexts = {stack: now for stack in stacks if fingerprint.is_current(now := context(stack), stack)}
    if contexts:
        on_event(f"{', '.join(contexts)}: nothing new is declared; the hosts and objects are only compared")
    results = refresh.refresh_all(contexts, lambda line: None)
    return {result.stack: result for result in results if result.done and not result.drift}


def _selected(estate: Estate, stacks: Sequence[str], without: Sequence[str], in_phases: bool) -> list[list[str]]:
    names = stack_names(estate)
    if unknown := [stack for stack in stacks if stack not in names]:
        raise WrongUse(f"unknown stack {', '.join(unknown)}", f"known: {', '.join(names)}")
    sites = {site.name for site in estate.sites}
    if unknown := [site for site in without if site not in sites]:
        raise WrongUse(f"unknown site {', '.join(unknown)}", f"known: {', '.join(sorted(sites))}")
    if both := [stack for stack in stacks if stack in without]:
        raise WrongUse(f"{', '.join(both)} is both selected and excluded", "name the stack or the site, not both")
    if sites <= set(without):
        raise WrongUse("every site is excluded, so there is nothing to do", "exclude only the unreachable sites")
    wanted = [stack for stack in names if (not stacks or stack in stacks) and stack not in without]
    if not in_phases:
        return [wanted] if wanted else []
    return [chosen for phase in phases(estate) if (chosen := [stack for stack in phase if stack in wanted])]


def _up_result(results: Sequence[StackResult], seconds: float, deferred_hosts: tuple[str, ...]) -> UpResult:
    changes = [change for result in results for change in result.changes]
    return UpResult(
        changes=len(changes),
        seconds=seconds,
        hosts_changed=tuple(sorted({change.host for change in changes if change.host})),
        objects_changed=tuple(sorted({change.resource for change in changes if change.stack == PLATFORM})),
        stacks={result.stack: len(result.changes) for result in results},
        stack_seconds={result.stack: result.seconds for result in results if result.seconds is not None},
        host_seconds={
            result.stack: took
            for result in results
            if (took := {c.host: c.seconds for c in result.changes if c.host and c.seconds is not None})
        },
        deferred=deferred_hosts,
    )


def _failure(results: Sequence[StackResult], stopped: str = "") -> GovcloudError:
    errors = [f"{result.stack}: {error}" for result in results if not result.done for error in result.errors]
    if any(PROTECTED in error for error in errors):
        return Refused("\n".join(errors), "it holds data: declare it in the estate again, or move the data first")
    if stopped:
        return StacksFailed("\n".join([stopped, *errors]), disk_reserve.FREE_SPACE, results)
    return StacksFailed(
        "\n".join(errors), "repair the cause and run the same command again: it continues where it stopped", results
    )
