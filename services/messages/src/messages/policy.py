"""Decisions about a message, as pure functions: who gets one, what an answer means, when the next attempt is due."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

SYNTHETIC_SEGMENT = "154"
"""First digits of synthetic people's mobile numbers. The approval service refuses them for real people."""

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 60.0
"""Upper limits of the delay after the first attempt, and after many."""
LONGEST_RETRY_AFTER_S = 300.0
RETRIED = frozenset({401, 403, 404, 405, 407, 408, 425, 429})
"""Refusals that are about us, our route or the moment, and not about the message. Other 4xx are final."""

OPENS_AFTER = 5
"""The carrier counts as down after this number of failed attempts without a success between them."""
FIRST_PROBE_S, LONGEST_PROBE_S = 0.5, 5.0
"""Pause before the first probe of a carrier that is down, and the longest pause between two probes."""


class State(StrEnum):
    """State of a message. DELIVERED and FAILED are final."""

    PENDING = "pending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The carrier's answer to one attempt. Without an answer, `status` is None and `error` has the reason."""

    status: int | None
    error: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """State of the message after an attempt, and the cause if it is not sent."""

    state: State
    reason: str = ""


def suppressed_because(mobile: str | None, deliver_synthetic: str) -> str | None:
    """Return the reason why no message may be sent, or None.

    `deliver_synthetic` are the first digits of a test population's numbers. No other synthetic person gets a message.
    """
    if mobile is None:
        return "no_number"
    in_test = deliver_synthetic != "" and mobile.startswith(deliver_synthetic)
    return "synthetic" if mobile.startswith(SYNTHETIC_SEGMENT) and not in_test else None


def judge(answer: Answer) -> Verdict:
    """Return the verdict of one attempt.

    An attempt without an answer may have been accepted. It is repeated with the same message ID.
    """
    if answer.status is None:
        return Verdict(state=State.PENDING, reason=answer.error)
    if 200 <= answer.status < 300:
        return Verdict(state=State.SENT)
    final = 400 <= answer.status < 500 and answer.status not in RETRIED
    return Verdict(state=State.FAILED if final else State.PENDING, reason=f"status_{answer.status}")


def retry_delay_s(attempts: int, retry_after_s: float | None, random: Callable[[], float]) -> float:
    """Return the delay before the next attempt: exponential, with full jitter.

    `attempts` counts the attempts so far, from 1. `random` returns a number from 0 to 1. The carrier's own Retry-After
    is the shortest delay, up to LONGEST_RETRY_AFTER_S.
    """
    limit = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempts - 1, 30))
    return max(random() * limit, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))


class Breaker:
    """Stops the sending while the carrier is down, except for one probe at a time.

    Without it, every waiting message would be tried again and again, and the attempts would grow with the queue.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0
        self._probes = 0
        self._probe_at = 0.0

    @property
    def open(self) -> bool:
        """Whether the carrier counts as down."""
        return self._failures >= OPENS_AFTER

    def allowed(self, free: int, now: float) -> int:
        """Return how many of `free` messages may be sent. `now` is in seconds of the monotonic clock."""
        if not self.open:
            return free
        return min(free, 1) if now >= self._probe_at else 0

    def started(self, now: float) -> None:
        """Record the start of an attempt. A probe without a result blocks the next one, but not for ever."""
        if self.open:
            self._probe_at = now + LONGEST_PROBE_S

    def record(self, verdict: Verdict, now: float) -> None:
        """Record the result of an attempt. A final refusal also proves that the carrier works."""
        if verdict.state is not State.PENDING:
            self._failures = self._probes = 0
            return
        self._failures += 1
        if self.open:
            pause = min(LONGEST_PROBE_S, FIRST_PROBE_S * 2.0 ** min(self._probes, 10))
            self._probe_at = now + pause * (0.5 + self._random() / 2)
            self._probes += 1


def receipt_context(secret: str, message_id: str) -> str:
    """Return the text that the carrier receives with a message and repeats in its receipt.

    Only the carrier of this message knows it, so it authenticates the receipt.
    """
    return hmac.digest(secret.encode(), message_id.encode(), hashlib.sha256).hex()
