"""The age of the local copy, measured without relying on wall clocks.

Every site writes a heartbeat once a second through the primary. The age of a copy is the time since a new heartbeat
last appeared in it, on this process's monotonic clock. Wall clocks that are five minutes wrong change nothing. Only the
very first observation has to use the difference of clocks.
"""

from dataclasses import dataclass

HEARTBEAT_INTERVAL_S = 1.0
WRITABLE_FOR_S = 3.0
"""A site counts as able to write for this long after its last successful heartbeat: three missed heartbeats."""


CAUGHT_UP_S = 2.0
"""A copy has caught up if its newest heartbeat is at most this old: one missed heartbeat and the delivery of the
next."""
CATCHING_UP_S = 20.0
"""A site waits at most this long after its start for its copy. The limit ends the wait if the clocks differ, or if no
site can write."""


@dataclass(frozen=True, kw_only=True)
class LastHeartbeat:
    """The newest heartbeat count seen in the copy, and the monotonic time in seconds since which the copy shows it."""

    heartbeats: int
    since_s: float


def observe(
    seen: LastHeartbeat | None, heartbeats: int | None, lag_s: float | None, now_s: float
) -> LastHeartbeat | None:
    """Return the new state of knowledge after another observation of the copy."""
    if heartbeats is None:
        return seen
    if seen is None:
        return LastHeartbeat(heartbeats=heartbeats, since_s=now_s - max(0.0, lag_s or 0.0))
    return seen if seen.heartbeats == heartbeats else LastHeartbeat(heartbeats=heartbeats, since_s=now_s)


def age_s(seen: LastHeartbeat | None, now_s: float) -> float | None:
    """Return the age of the copy in seconds, or None before the first heartbeat was seen."""
    return None if seen is None else max(0.0, now_s - seen.since_s)


def caught_up(before: bool, lag_s: float | None, up_s: float) -> bool:
    """Return whether the copy is new enough to announce a site that started `up_s` seconds ago.

    A site that comes back must not show citizens the state from the time when it was lost. After the copy has caught up
    once, the result stays true: later, missing heartbeats mean that there is no primary, and that must not withdraw a
    site. While a copy replays the missed WAL it always shows new heartbeats, so its age on our own clock is always
    small. This function therefore uses the time in the heartbeat.
    """
    return before or up_s > CATCHING_UP_S or (lag_s is not None and lag_s <= CAUGHT_UP_S)


def writable(last_success_s: float | None, now_s: float) -> bool:
    """Return whether this site's own heartbeat succeeded within the last `WRITABLE_FOR_S` seconds."""
    return last_success_s is not None and now_s - last_success_s <= WRITABLE_FOR_S
