"""Prevents a deployment and a failover at the same time.

`stacks` and `failover` do not import each other, and each has its own lock: the engine lock and the failover lock. A
drill that powers off a site in the middle of `up` would leave a half-finished change, and `up` during a drill would
spoil the measurement. So every command takes both locks:

- `up` and `destroy` take the failover lock here, and the engine lock in the engine.
- Drills, `switchover`, `failover` and `failback` take the engine lock here, and the failover lock in their run.
- `upgrade` holds the failover lock and calls the engine itself.
- `demo` takes no lock, because its steps are commands.

No command waits for a lock, so the order of the locks cannot cause a deadlock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from failover import lock as moves
from stacks.state import lock as deployments
from stacks.state.lock import own_command
from stacks.state.state_files import state_home
from workstation import paths


@contextmanager
def block_failover() -> Iterator[None]:
    """Hold the failover lock, so that no drill and no move of the primary begins.

    Raises `Locked` (8) with the holder's name and start.
    """
    with moves.held(paths.home(), own_command()):
        yield


@contextmanager
def block_deployment() -> Iterator[None]:
    """Hold the engine lock, so that no deployment begins. Raises `Locked` (8) with the holder's name and start.

    Check the failover lock first: an upgrade holds it all the time, but takes the engine lock once for each site.
    Otherwise a command that will be refused could briefly hold the engine lock just when the upgrade needs it.
    """
    with moves.held(paths.home(), own_command()):
        pass
    state_home().mkdir(parents=True, exist_ok=True, mode=0o700)
    with deployments.acquire(own_command()):
        yield
