"""How old the local copy is, told without trusting any clock.

Every site writes a pulse once a second through the primary. The age of a copy is the time, by this process's
monotonic clock, since the copy last showed a pulse it had not shown before. Wall clocks five minutes wrong change
nothing; only for the very first look the difference of clocks has to serve.
"""

from dataclasses import dataclass

PULSE_S = 1.0
WRITABLE_FOR_S = 3.0
"""A site counts as able to write for this long after its last pulse got through: three missed pulses."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The newest pulse count seen in the copy, and the monotonic time to which it dates, in seconds."""

    beats: int
    since_s: float


def look(seen: Seen | None, beats: int | None, lag_s: float | None, now_s: float) -> Seen | None:
    """What is known after another look at the copy."""
    if beats is None:
        return seen
    if seen is None:
        return Seen(beats=beats, since_s=now_s - max(0.0, lag_s or 0.0))
    return seen if seen.beats == beats else Seen(beats=beats, since_s=now_s)


def age_s(seen: Seen | None, now_s: float) -> float | None:
    """Age of the copy in seconds; None before any pulse was seen."""
    return None if seen is None else max(0.0, now_s - seen.since_s)


def writable(last_success_s: float | None, now_s: float) -> bool:
    """Whether this site's own pulse got through lately."""
    return last_success_s is not None and now_s - last_success_s <= WRITABLE_FOR_S
