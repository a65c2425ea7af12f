"""Runs a drill from lock to report.

It first undoes what an interrupted run left open. After its own steps it undoes all open acts, also after an error.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from estate.addressing import plan as address_plan
from estate.model import Estate, Service
from failover import lock
from failover.drills import registry, retention
from failover.drills.blast_radius import of_site
from failover.drills.context import DrillContext
from failover.drills.undo import UndoContext, undo_all
from failover.journal import Journal, Undo, interrupted
from failover.ledger import Unreadable
from failover.pod_readiness import PodReadinessTimer, pod_probe
from failover.protocols import Clock, Machines, Observer, Power, SystemClock
from failover.report import write as write_report
from failover.result import DrillResult, Event
from failover.step import CheckFailed, Step, run_step
from failover.vantage import Endpoint, LoadProfile, RemoteLoadGenerator
from playbooks.render.pki import AUTHORITY_FILE
from workstation.errors import GovcloudError, Refused, RolledBack, WrongUse

ReportEvent = Callable[[Event], None]
AFTER_LEASE_S = 15.0
"""A site stays powered off this much longer than the lease of a dead primary."""


def run(
    name: str,
    estate: Estate,
    *,
    site: str,
    machines: Machines,
    power: Power,
    observer: Observer,
    home: Path,
    rate_per_s: float = 20.0,
    lang: str = "en",
    on_event: ReportEvent = lambda event: None,
    clock: Clock | None = None,
    endpoint: Endpoint | None = None,
    powered_off_s: float | None = None,
) -> DrillResult:
    """Run the drill and return its result, with any verdict.

    Raises WrongUse (2) for unknown names, Locked (8) while another run holds the lock, Refused (6) if the estate is
    not in its steady state, and RolledBack (7) if the run was interrupted or failed and everything was restored.
    `endpoint` and `powered_off_s` are computed from the estate unless given.
    """
    drill = registry.get(name)
    if site not in [s.name for s in estate.sites]:
        raise WrongUse(f"unknown site {site!r}", f"known sites: {', '.join(s.name for s in estate.sites)}")
    if not 1 <= rate_per_s <= 500:
        raise WrongUse(f"{rate_per_s:g} writes per second", "choose 1 to 500")
    _guard(estate, site)
    clock = clock or SystemClock()
    with lock.held(home, f"drill {name} at {site}"):
        _clean_up(home, UndoContext(machines=machines, power=power, clock=clock), clock, on_event)
        service, host = _service_and_vantage(estate)
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{name}-{site}"
        folder = home / "drills" / run_id
        endpoint = endpoint or endpoint_of(estate, service, machines)
        started = clock.wall()
        pod_timer = PodReadinessTimer(pod_probe(estate, service, site), machines, clock)
        with observer.watch() as watch, pod_timer:
            context = DrillContext(
                estate=estate, service=service, site=site, machines=machines, power=power, observer=observer,
                watch=watch, pods=pod_timer, clock=clock, journal=Journal(folder),
                load_generator=RemoteLoadGenerator(machines, clock, host=host, run_id=run_id),
                endpoint=endpoint, load=LoadProfile(rate_per_s=rate_per_s),
                seed=time.time_ns() // 1_000_000, on_event=on_event,
                powered_off_s=estate.database.ttl_s + AFTER_LEASE_S if powered_off_s is None else powered_off_s,
            )  # fmt: skip
            _run_steps(context, drill.steps(context))
        result = _finish(context, drill.name, started, folder, lang)
        retention.prune(folder.parent)
        return result


def _guard(estate: Estate, site: str) -> None:
    """Check the safety rules that need only the declared estate. Raises Refused."""
    radius = of_site(estate, site)
    if not radius.majority_stays:
        raise Refused(f"{site} has {radius.votes[0]} of {radius.votes[1]} votes: no majority would remain", "")
    for service in estate.services:
        others = [s for s in (*service.placement.active, *service.placement.ready) if s != site]
        if not others:
            raise Refused(f"{service.name} runs only at {site}: no other site could serve it", "")


def _service_and_vantage(estate: Estate) -> tuple[Service, str]:
    """Return the measured service and the vantage host: the first vantage that reaches a service."""
    for vantage in estate.vantages:
        for name in vantage.reaches:
            return estate.service(name), vantage.host
    raise WrongUse("the estate has no vantage, so nothing can be measured", "declare one in the estate's hosts")


def endpoint_of(estate: Estate, service: Service, machines: Machines) -> Endpoint:
    """Return the service's address for citizens, with the CA certificate from the first host that has it."""
    addresses = address_plan(estate).anycast[service.name]
    reason = "the estate has no managed host"
    for host in estate.managed_hosts:
        try:
            found = machines.run(host.name, ["cat", AUTHORITY_FILE], timeout_s=10)
        except GovcloudError as error:
            reason = error.message
            continue
        if found.returncode == 0 and b"BEGIN CERTIFICATE" in found.stdout:
            return Endpoint(
                name=f"{service.name}.govcloud", port=443, ipv4=str(addresses.ipv4), ipv6=str(addresses.ipv6),
                ca=found.stdout,
            )  # fmt: skip
        reason = f"{host.name} has no {AUTHORITY_FILE}"
    raise Refused(f"the estate's CA certificate was not found: {reason}", "deploy the estate first: ./govcloud up")


def _clean_up(home: Path, undo_context: UndoContext, clock: Clock, on_event: ReportEvent) -> None:
    """Undo the open acts of interrupted runs."""
    for run_id, journal, _ in interrupted(home / "drills"):

        def report(undo: Undo, run_id: str = run_id) -> None:
            on_event(Event(wall=clock.wall(), code="undo", source="drill", subject=str(undo), detail=run_id))

        undo_all(journal, undo_context, report)


def _run_steps(context: DrillContext, planned: tuple[Step, ...]) -> None:
    """Run the steps in order. After any error or interrupt, undo all open acts before raising it."""
    undo_context = UndoContext(machines=context.machines, power=context.power, clock=context.clock)
    with _termination_interrupts():
        try:
            for step in planned:
                context.say("step", subject=step.name)
                if missing := run_step(step, context.journal, context.clock):
                    context.say("not_in_time", subject=step.name, detail=missing)
        except BaseException as error:
            with _undisturbed():
                undone = undo_all(
                    context.journal,
                    undo_context,
                    lambda undo: context.say("undo", subject=str(undo), detail=context.load_generator.run_id),
                )
            if isinstance(error, CheckFailed) and context.injected_wall is None:
                raise Refused(f"the drill did not begin: {error.message}", "see `./govcloud status`") from error
            if isinstance(error, KeyboardInterrupt | GovcloudError) and undone:
                why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
                undos = ", ".join(map(str, undone))
                raise RolledBack(f"{why}; undone: {undos}", f"journal: {context.journal.path}") from error
            raise


def _finish(context: DrillContext, name: str, started: float, folder: Path, lang: str) -> DrillResult:
    try:
        evidence = context.evidence()
    except Unreadable as error:
        raise GovcloudError(f"the ledger cannot be used: {error}", f"see {folder / 'ledger.jsonl'}") from error
    result = DrillResult(
        id=context.load_generator.run_id, scenario=name, site=context.site, estate=context.estate.name,
        objectives=context.service.objectives, rate_per_s=context.load.rate_per_s, started_wall=started,
        injected_wall=context.injected_wall or started, restored_wall=context.restored_wall,
        served_wall=context.served_wall, healthy_wall=context.healthy_wall, pods_wall=context.pods_wall,
        remaining=context.remaining, events=tuple(context.events), evidence=evidence,
        report=str(folder / f"report.{lang}.html"),
    )  # fmt: skip
    write_report(result, context.estate, folder)
    context.load_generator.remove()
    context.journal.note("end", name, detail=result.verdict.value)
    return result


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C. SIGHUP arrives when the operator's terminal or SSH session closes.

    This works in the main thread only.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handler(signal.SIGTERM, interrupt), _handler(signal.SIGHUP, interrupt):
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP, so that nothing interrupts the undo (a site is being powered on)."""
    ignore = signal.SIG_IGN
    with _handler(signal.SIGTERM, ignore), _handler(signal.SIGHUP, ignore), _handler(signal.SIGINT, ignore):
        yield


@contextmanager
def _handler(
    number: signal.Signals, handler: Callable[[int, FrameType | None], None] | signal.Handlers
) -> Iterator[None]:
    nohup = number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
    if nohup or threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, old)
