"""Command line of the load generator on a vantage: `python3 -m load_generator --ledger … --ca … --address4 …`.

It ends when the sentinel file appears, on SIGTERM or SIGINT, or at the time limit, and waits for open requests. Exit
codes: 0 done, 1 the ledger cannot be written, 2 wrong options.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from . import payloads
from .ledger_writer import LedgerWriter
from .open_loop import LoadGenerator, LoadSettings
from .transport import Endpoint, Transport

SENTINEL_EVERY_S = 0.1

AUTOGROUP, NICE = Path("/proc/self/autogroup"), "-15"
"""With autogroup scheduling the kernel shares the processor by session, and niceness counts only inside a session.
Writing to this file sets the niceness of the whole session. The load generator must not wait for the measured hosts."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options. All times are in seconds."""
    options = argparse.ArgumentParser(
        prog="load_generator", description="sends writes and reads at a fixed rate, independent of the answers"
    )
    options.add_argument("--ledger", type=Path, required=True, help="file to write; must not exist")
    options.add_argument("--sentinel", type=Path, required=True, help="the run ends when this file appears")
    options.add_argument("--ca", required=True, help="CA certificate of the estate, PEM")
    options.add_argument("--name", required=True, help="name of the service, as in its certificate")
    options.add_argument("--port", type=int, default=443)
    options.add_argument("--address4", help="the service's IPv4 address")
    options.add_argument("--address6", help="the service's IPv6 address")
    options.add_argument(
        "--seed", type=int, required=True, help="seed of the idempotency keys; use a new one for each run"
    )
    options.add_argument("--people-seed", type=int, required=True, help="seed of the service's registers")
    options.add_argument("--people", type=int, required=True, help="number of people in those registers")
    options.add_argument("--first", type=int, default=0, help="number of the first person who applies")
    options.add_argument("--rate", type=float, required=True, help="writes per second, and as many reads per second")
    options.add_argument("--no-reads", action="store_true", help="send only writes")
    options.add_argument("--limit", type=float, default=900.0, help="longest duration of the run")
    options.add_argument("--timeout", type=float, default=2.0, help="timeout of one attempt")
    options.add_argument("--deadline", type=float, default=90.0, help="how long a write is retried")
    options.add_argument("--drain", type=float, default=100.0, help="longest wait for open requests at the end")
    options.add_argument("--read-after", type=float, default=2.0, help="age of an acknowledged write before it is read")
    options.add_argument("--in-flight", type=int, default=1000, help="maximum of open first attempts")
    options.add_argument("--retries-at-once", type=int, default=32)
    options.add_argument("--retry-rate", type=float, default=40.0, help="maximum of retries started per second")
    return options


def load_settings(options: argparse.Namespace) -> LoadSettings:
    """Check the options and return the settings. Raises ValueError that names the wrong option."""
    families = tuple(v for v, address in ((4, options.address4), (6, options.address6)) if address)
    if not families:
        raise ValueError("give --address4, --address6 or both")
    if not 0 < options.rate <= 1000:
        raise ValueError(f"--rate {options.rate}: must be above 0 and at most 1000 per second")
    if not 0 < options.limit <= 7200:
        raise ValueError(f"--limit {options.limit}: must be above 0 and at most 7200 seconds")
    if min(options.timeout, options.retry_rate, options.in_flight, options.retries_at_once) <= 0:
        raise ValueError("--timeout, --retry-rate, --in-flight and --retries-at-once must be above 0")
    if options.people < 1 or options.first < 0:
        raise ValueError("--people must be 1 or more and --first 0 or more")
    return LoadSettings(
        seed=options.seed, people_seed=options.people_seed, people=options.people, first=options.first,
        rate_per_s=options.rate, reads=not options.no_reads, families=families, limit_s=options.limit,
        read_after_s=options.read_after, deadline_s=options.deadline, drain_s=options.drain,
        in_flight=options.in_flight, retries_at_once=options.retries_at_once, retry_rate_per_s=options.retry_rate,
    )  # fmt: skip


async def watch_sentinel(generator: LoadGenerator, sentinel: Path) -> None:
    """Stop the load generator when the sentinel file appears."""
    while not sentinel.exists():
        await asyncio.sleep(SENTINEL_EVERY_S)
    generator.reason = "sentinel"
    generator.stop.set()


async def run(options: argparse.Namespace, settings: LoadSettings) -> None:
    """Carry out one run, from the ledger's header to its footer."""
    addresses = {v: a for v, a in ((4, options.address4), (6, options.address6)) if a}
    endpoint = Endpoint(name=options.name, port=options.port, addresses=addresses, ca=options.ca)
    client = payloads.load()
    async with Transport(endpoint, timeout_s=options.timeout) as transport:
        with LedgerWriter(options.ledger) as ledger:
            wall, start = datetime.now(UTC), time.monotonic()
            ledger.header(
                version=1, started_at=wall.isoformat(), started_wall_s=wall.timestamp(), seed=settings.seed,
                first=settings.first, reads=settings.reads,
                rate_per_s=settings.rate_per_s, read_after_s=settings.read_after_s, timeout_s=options.timeout,
                deadline_s=settings.deadline_s, families=list(settings.families), name=options.name,
            )  # fmt: skip
            generator = LoadGenerator(settings, transport, ledger, client, start)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, _signalled, generator, number)
            watcher = asyncio.create_task(watch_sentinel(generator, options.sentinel))
            await generator.run()
            watcher.cancel()
            ledger.footer(ended_s=generator.now_s(), reason=generator.reason, scheduled=generator.scheduled)


def _signalled(generator: LoadGenerator, number: signal.Signals) -> None:
    generator.reason = number.name
    generator.stop.set()


def raise_priority() -> None:
    """Raise the processor priority. Ignore the error of a kernel without autogroups or of a user without the right."""
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(NICE)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parser().parse_args(arguments)
    try:
        settings = load_settings(options)
        raise_priority()
        asyncio.run(run(options, settings))
    except (ValueError, payloads.ClientMissing) as error:
        print(f"load_generator: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"load_generator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
