"""Upgrades the sites' clusters, one site at a time with a health gate between.

`build` runs outside the lab's namespace. `plan` and `execute` must run where the hosts are reachable.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from pathlib import Path

from estate import edit
from estate.loader import load
from estate.model import Estate
from failover import upgrade
from failover.upgrade import Plan, UpgradeResult
from monitors.collectors import Observation
from operations import adapters, deploy
from operations.machine import prepare
from stacks.phases import PLATFORM
from stacks.runs import engine
from tools import golang, setup
from workstation import atomic_write

OnEvent = Callable[[str], None]
logger = logging.getLogger(__name__)


def build(version: str) -> None:
    """Build this version, before any change. Programs in the lab's namespace cannot download modules."""
    prepare(setup.declared() | golang.kubernetes([version]))


def plan(estate: Estate, to: str) -> Plan:
    """Return the plan of an upgrade to a version, from one observation. Changes nothing.

    The plan has refusals and warnings: call its `require` before `execute`.
    """
    return upgrade.plan(estate, _observe(estate)(), to)


def execute(plan: Plan, estate: Estate, *, home: Path, on_event: OnEvent) -> UpgradeResult:
    """Carry out the plan: for each site a gate, the new version in the estate's file, `up`, and the gate again.

    Then update the bureaus' namespaces, even if no site was left to upgrade: the run that upgraded the last site may
    have been interrupted there. Raises Refused, Locked, CheckFailed with the problems, and StacksFailed.
    """

    def deploy_site(site: str, version: str) -> None:
        """Edit the declaration first, so that any later `up` finishes the site after a failure."""
        logger.info("%s: version %s is declared", site, version)
        declare_version(site, version)
        engine.up(load(), [site], on_event=on_event)

    done = upgrade.execute(plan, estate, _observe(estate), deploy_site, home, on_event=on_event)
    _update_bureau_policies(on_event)
    return done


def declare_version(site: str, version: str, path: Path | None = None) -> Path:
    """Write the version of a site's cluster into the estate at `path`, and return the changed file.

    No other character of the file changes. Raises the errors of `edit.with_cluster_version`.
    """
    file, text = edit.with_cluster_version(site, version, path)
    atomic_write.write(file, text, mode=stat.S_IMODE(file.stat().st_mode))
    return file


def _observe(estate: Estate) -> Callable[[], Observation]:
    return adapters.observer(estate, tenants=True).snapshot


def _update_bureau_policies(on_event: OnEvent) -> None:
    """Update the bureaus' namespaces to the security policy of the version."""
    estate = load()
    images = deploy.images(estate, [PLATFORM], on_event)
    engine.up(estate, [PLATFORM], on_event=on_event, images=images)
