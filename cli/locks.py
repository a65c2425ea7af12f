"""One change of the estate at a time: what deploys it keeps off what moves it, and the reverse.

`stacks` and `failover` know nothing of each other, and each has a lock of its own. A drill that takes a city away in
the middle of `up` would leave half a change behind, and `up` in a drill would spoil what is measured. So each command
takes both: `up` and `destroy` here the lock of what moves, and the engine its own; what moves takes here the engine's,
and its own in its run. `upgrade` holds the lock of what moves and calls the engine itself; `demo` holds none, for its
steps are commands. None waits for a lock, so the order cannot block two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workstation import paths


@contextmanager
def block_failover() -> Iterator[None]:
    """No drill and no move of the database begins meanwhile. Raises `Locked` (8) with the holder's name and start."""
    from failover import lock
    from stacks.state.lock import own_command

    with lock.held(paths.home(), own_command()):
        yield


@contextmanager
def block_deployment() -> Iterator[None]:
    """Nothing is deployed meanwhile. Raises `Locked` (8) with the holder's name and start.

    An upgrade takes the engine's lock for one site after the other: the lock that it holds all the time is looked at
    first, or whoever is about to be refused could hold the other just when it is wanted.
    """
    from failover import lock as moves
    from stacks.state import lock
    from stacks.state.state_files import state_home

    with moves.held(paths.home(), lock.own_command()):
        pass
    state_home().mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock.acquire(lock.own_command()):
        yield
