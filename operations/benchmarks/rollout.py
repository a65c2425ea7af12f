"""`bench rollout`: deploys another version of the service and rolls it back, each with `up`, under load.

The other version is the service's own image with another label. It has another digest, so every site's registry and
every node must fetch it. It behaves as before, so that every effect that citizens notice comes from the rollout.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from estate.model import Estate
from failover.measured_service import measured_service
from failover.protocols import Clock
from failover.vantage import LoadProfile, RemoteLoadGenerator
from operations import deploy
from operations.benchmarks import load_test
from operations.locks import block_failover
from stacks.phases import PLATFORM
from stacks.runs import engine
from tools.oci.relabel import relabelled
from workstation.errors import GovcloudError
from workstation.oci import OciImage

OnEvent = Callable[[str], None]
STEADY_S = 10.0
"""Seconds of load before, between and after the two rollouts, so that their begin and end are under load."""
LIMIT_S = 1800.0
LEFT = "`./govcloud up platform` deploys the declared version to all sites again"


def rollout(estate: Estate, rate: float, *, reads: bool, on_event: OnEvent) -> dict[str, Any]:
    """Measure one rollout and the way back.

    Runs where the hosts are reachable. Raises GovcloudError if `up` fails, and if `up` did not replace the pods of
    every site.
    """
    with block_failover(), tempfile.TemporaryDirectory(prefix="govcloud-rollout-") as folder:
        declared = deploy.images(estate, [PLATFORM], on_event)
        stamp, (service, _) = str(time.time_ns()), measured_service(estate)
        own = service.name
        other = [relabelled(image, Path(folder) / own, stamp) if image.name == own else image for image in declared]
        _up(estate, declared, on_event)  # so that only the version changes under load
        took: dict[str, float] = {}

        def act(load_generator: RemoteLoadGenerator, clock: Clock) -> None:
            clock.wait(STEADY_S)
            for name, version in (("there_s", other), ("back_s", declared)):
                begun = clock.monotonic()
                replaced(estate, _up(estate, version, on_event))
                took[name] = round(clock.monotonic() - begun, 2)
                clock.wait(STEADY_S)

        try:
            seen = load_test.run_load_test(estate, LoadProfile(rate_per_s=rate, reads=reads, limit_s=LIMIT_S), act)
        except BaseException:
            on_event(LEFT)
            raise
    return {**seen, **took}


def replaced(estate: Estate, changed: Sequence[str]) -> None:
    """Check that the service's Deployment of every site is among the changed objects. Raises GovcloudError."""
    service, _ = measured_service(estate)
    wanted = {f"{site}: Deployment {service.bureau}/{service.name}" for site in service.placement.sites}
    if missing := sorted(wanted - set(changed)):
        raise GovcloudError(f"no new version was rolled out: {', '.join(missing)} did not change", LEFT)


def _up(estate: Estate, images: Sequence[OciImage], on_event: OnEvent) -> tuple[str, ...]:
    return engine.up(estate, [PLATFORM], on_event=on_event, images=images).objects_changed
