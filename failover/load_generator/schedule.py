"""The schedule of the requests. Pure: answers never change it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ScheduledRequest:
    """One scheduled request.

    `n` counts the requests of one kind from 0, `scheduled_us` is microseconds after the run's start, `family` is the IP
    version it must use.
    """

    n: int
    kind: str
    family: int
    scheduled_us: int

    @property
    def scheduled_s(self) -> float:
        """Seconds after the run's start."""
        return self.scheduled_us / MICROSECONDS


def scheduled_requests(
    rate_per_s: float, *, read_after_s: float, limit_s: float, families: tuple[int, ...], reads: bool = True
) -> Iterator[ScheduledRequest]:
    """Yield all requests of a run in the order in which they are due, for at most `limit_s` seconds.

    Writes are due at 0, 1, 2 … intervals. Reads have the same rate, half an interval later. They begin `read_after_s`
    after the run's start, when the first decisions can be read. Each kind alternates between the `families`.
    """
    interval_us = MICROSECONDS / rate_per_s
    first_read = round(read_after_s * rate_per_s)
    for slot in range(int(limit_s * rate_per_s)):
        yield ScheduledRequest(
            n=slot, kind="write", family=families[slot % len(families)], scheduled_us=round(slot * interval_us)
        )
        read = slot - first_read
        if reads and read >= 0:
            at_us = round((slot + 0.5) * interval_us)
            yield ScheduledRequest(n=read, kind="read", family=families[read % len(families)], scheduled_us=at_us)


def idempotency_key(seed: int, n: int) -> str:
    """Return the idempotency key of write `n`. This UUID depends only on the arguments, so that a truncated ledger can
    still be matched with the database."""
    return str(uuid.UUID(int=random.Random(f"govcloud-applicant:{seed}:{n}").getrandbits(128), version=4))


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Pauses between the attempts of one write, in seconds."""

    first_s: float = 0.2
    factor: float = 2.0
    longest_s: float = 3.0

    def pause_s(self, retry: int, chance: float, asked_s: float = 0.0) -> float:
        """Return the pause before retry number `retry` (from 1).

        `chance` in 0…1 spreads it between half and all of its length, so that refused writes do not return all at the
        same time. `asked_s` is the service's Retry-After, which is honoured up to the longest pause.
        """
        grown = min(self.longest_s, self.first_s * self.factor ** (retry - 1))
        return max(grown, min(asked_s, self.longest_s)) * (0.5 + chance / 2)
