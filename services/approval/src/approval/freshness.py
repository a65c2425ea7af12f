"""How old the local copy is, told without trusting any clock.

Every site writes a heartbeat once a second through the primary. The age of a copy is the time, by this process's
monotonic clock, since the copy last showed a heartbeat it had not shown before. Wall clocks five minutes wrong change
nothing; only for the very first look the difference of clocks has to serve.
"""

from dataclasses import dataclass

HEARTBEAT_INTERVAL_S = 1.0
WRITABLE_FOR_S = 3.0
"""A site counts as able to write for this long after its last heartbeat got through: three missed heartbeats."""


CAUGHT_UP_S = 2.0
"""A copy whose newest heartbeat is not older than this has caught up: one missed heartbeat, and the way of the next."""
CATCHING_UP_S = 20.0
"""For so long after its start a site may wait for its copy. Where the clocks differ, or nobody writes, this ends it."""


@dataclass(frozen=True, kw_only=True)
class LastHeartbeat:
    """The newest heartbeat count seen in the copy, and the monotonic time to which it dates, in seconds."""

    heartbeats: int
    since_s: float


def observe(
    seen: LastHeartbeat | None, heartbeats: int | None, lag_s: float | None, now_s: float
) -> LastHeartbeat | None:
    """What is known after another look at the copy."""
    if heartbeats is None:
        return seen
    if seen is None:
        return LastHeartbeat(heartbeats=heartbeats, since_s=now_s - max(0.0, lag_s or 0.0))
    return seen if seen.heartbeats == heartbeats else LastHeartbeat(heartbeats=heartbeats, since_s=now_s)


def age_s(seen: LastHeartbeat | None, now_s: float) -> float | None:
    """Age of the copy in seconds; None before any heartbeat was seen."""
    return None if seen is None else max(0.0, now_s - seen.since_s)


def caught_up(before: bool, lag_s: float | None, up_s: float) -> bool:
    """Whether a site that started `up_s` seconds ago may be announced, as far as its copy's age goes.

    A site that comes back must not show citizens the state of the hour at which it was lost. Once caught up, always
    caught up: from then on the heartbeats stop for lack of a primary, and that withdraws nobody. While a copy replays
    what it missed it sees new heartbeats all the time, so its age by our own clock says nothing; the heartbeat's time
    has to serve.
    """
    return before or up_s > CATCHING_UP_S or (lag_s is not None and lag_s <= CAUGHT_UP_S)


def writable(last_success_s: float | None, now_s: float) -> bool:
    """Whether this site's own heartbeat got through lately."""
    return last_success_s is not None and now_s - last_success_s <= WRITABLE_FOR_S
