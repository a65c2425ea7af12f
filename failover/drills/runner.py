"""Runs a drill from lock to report.

It first undoes what an interrupted run left open. After its own steps it undoes all open acts, also after an error.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from estate.addressing import plan as address_plan
from estate.model import Estate, Service
from failover import lock
from failover.drills import registry, retention
from failover.drills.context import DrillContext
from failover.drills.drill import Drill
from failover.drills.fault import Fault
from failover.drills.undo import NotUndone, undo_all
from failover.journal import Journal, Undo, journals
from failover.ledger import Unreadable
from failover.measured_service import measured_service
from failover.pod_readiness import PodReadinessTimer, pod_probe
from failover.protocols import DrillInterfaces, Machines, Watch
from failover.report import write as write_report
from failover.result import DrillResult, Event
from failover.step import CheckFailed, Step, run_step
from failover.vantage import Endpoint, LoadProfile, RemoteLoadGenerator
from playbooks.render.pki import AUTHORITY_FILE
from workstation.errors import GovcloudError, Refused, RolledBack, WrongUse

ReportEvent = Callable[[Event], None]
AFTER_LEASE_S = 15.0
"""A fault stays this much longer than the lease of a dead primary."""


RATE_PER_S = 10.0
"""Writes per second, and as many reads. Both together must leave a lab of two processors enough to boot a site, see
`docs/decisions/0034-load-of-a-drill.md`."""


@dataclass(frozen=True, kw_only=True)
class DrillOptions:
    """What the operator chooses. `endpoint` and `hold_s` are computed from the estate unless given.

    - `target`: the fault's object; None is the drill's default.
    - `hold_s`: the shortest time that the fault stays.
    """

    target: str | None = None
    rate_per_s: float = RATE_PER_S
    lang: str = "en"
    endpoint: Endpoint | None = None
    hold_s: float | None = None


def run(
    name: str,
    estate: Estate,
    on: DrillInterfaces,
    home: Path,
    options: DrillOptions | None = None,
    *,
    on_event: ReportEvent = lambda event: None,
) -> DrillResult:
    """Run the drill and return its result, with any verdict.

    Raises WrongUse (2) for unknown names, Locked (8) while another run holds the lock, Refused (6) if the estate is
    not in its steady state or a safety rule forbids the fault, and RolledBack (7) if the run was interrupted or failed
    and everything was restored.
    """
    drill, options = registry.get(name), options or DrillOptions()
    fault = drill.fault(estate, options.target)
    if not 1 <= options.rate_per_s <= 500:
        raise WrongUse(f"{options.rate_per_s:g} writes per second", "choose 1 to 500")
    fault.guard(estate)
    with lock.held(home, f"drill {name} at {fault.target}"):
        _clean_up(home, on, on_event)
        fault = fault.located(estate, on)
        folder = home / "drills" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{name}-{fault.target}"
        started = on.clock.wall()
        service, _ = measured_service(estate)
        pods = PodReadinessTimer(pod_probe(estate, service, fault.site) if fault.site else None, on.machines, on.clock)
        with on.observer.watch() as watch, pods:
            context = _context(estate, fault, on, watch, pods, folder, options, on_event)
            _run_steps(context, drill.steps(context))
        result = _finish(context, drill, started, folder, options.lang)
        retention.prune(folder.parent)
        return result


def _context(
    estate: Estate,
    fault: Fault,
    on: DrillInterfaces,
    watch: Watch,
    pods: PodReadinessTimer,
    folder: Path,
    options: DrillOptions,
    on_event: ReportEvent,
) -> DrillContext:
    service, vantage = measured_service(estate)
    endpoint = options.endpoint or endpoint_of(estate, service, on.machines)
    return DrillContext(
        estate=estate, service=service, fault=fault, on=on, watch=watch, pods=pods, journal=Journal(folder),
        load_generator=RemoteLoadGenerator(on.machines, on.clock, host=vantage, run_id=folder.name), endpoint=endpoint,
        load=LoadProfile(rate_per_s=options.rate_per_s), seed=time.time_ns() // 1_000_000, on_event=on_event,
        hold_s=estate.database.ttl_s + AFTER_LEASE_S if options.hold_s is None else options.hold_s,
    )  # fmt: skip


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


def _clean_up(home: Path, on: DrillInterfaces, on_event: ReportEvent) -> None:
    """Undo the open acts of interrupted runs, the oldest run first. Try every run, then raise NotUndone with all
    failures."""
    failures: list[str] = []
    for journal in journals(home / "drills"):
        run_id = journal.path.parent.name

        def report(undo: Undo, run_id: str = run_id) -> None:
            on_event(Event(wall=on.clock.wall(), code="undo", source="drill", subject=str(undo), detail=run_id))

        try:
            undo_all(journal, on, report)
        except NotUndone as error:
            failures += [f"{failure} ({run_id})" for failure in error.failures]
        except OSError as error:
            failures.append(f"the journal {journal.path} cannot be read: {error.strerror} ({run_id})")
    if failures:
        raise NotUndone(failures)


def _run_steps(context: DrillContext, planned: tuple[Step, ...]) -> None:
    """Run the steps in order. After any error or interrupt, undo all open acts before raising it."""
    with _termination_interrupts():
        try:
            for step in planned:
                context.say("step", subject=step.name, text=step.title)
                if missing := run_step(step, context.journal, context.clock):
                    context.say("not_in_time", subject=step.name, detail=missing, text=step.title)
        except BaseException as error:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
            try:
                with _undisturbed():
                    undone = undo_all(
                        context.journal,
                        context.on,
                        lambda undo: context.say("undo", subject=str(undo), detail=context.load_generator.run_id),
                    )
            except NotUndone as left:
                raise NotUndone(left.failures, why) from error
            if isinstance(error, CheckFailed) and context.facts.injected_wall is None:
                raise Refused(
                    f"the drill did not begin: {error.message}",
                    "see `./govcloud status`; if all is well there, the load is too much for the machine: lower --rate",
                ) from error
            if isinstance(error, KeyboardInterrupt | GovcloudError) and undone:
                undos = ", ".join(map(str, undone))
                raise RolledBack(f"{why}; undone: {undos}", f"journal: {context.journal.path}") from error
            raise


def _finish(context: DrillContext, drill: Drill, started: float, folder: Path, lang: str) -> DrillResult:
    fault, facts = context.fault, context.facts
    try:
        evidence = facts.evidence()
    except Unreadable as error:
        raise GovcloudError(f"the ledger cannot be used: {error}", f"see {folder / 'ledger.jsonl'}") from error
    result = DrillResult(
        id=context.load_generator.run_id, scenario=drill.name, title=drill.title, site=fault.site,
        target=fault.target, words=fault.words, estate=context.estate.name,
        objectives=context.service.objectives, rate_per_s=context.load.rate_per_s, started_wall=started,
        injected_wall=facts.injected_wall or started, restored_wall=facts.restored_wall,
        served_wall=facts.served_wall, healthy_wall=facts.healthy_wall, pods_wall=facts.pods_wall,
        remaining=facts.remaining, events=tuple(facts.events), evidence=evidence,
        report=str(folder / f"report.{lang}.html"),
    )  # fmt: skip
    write_report(result, context.estate, folder)
    context.load_generator.remove()
    context.journal.note("end", drill.name, detail=result.verdict.value)
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
    """Ignore Ctrl-C, SIGTERM and SIGHUP, so that nothing interrupts the undo (a site may be powered on)."""
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
