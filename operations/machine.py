"""Sets this machine up: packages, builds and the base image. Runs outside the lab's namespace, as root."""

from __future__ import annotations

import logging
from collections.abc import Collection

from lab import lab_state
from tools import setup as installer
from tools.golang import Group

logger = logging.getLogger(__name__)


def prepare(groups: Collection[Group] | None = None) -> None:
    """Set this machine up, for operations that need it. A running lab's memory counts as available.

    `groups` are the builds that are needed; None means those of the declared estate. Raises GovcloudError.
    """
    noted = lab_state.read()
    before_mib = noted.available_before_mib if noted else 0
    logger.debug("available memory before the lab: %d MiB", before_mib)
    installer.run(groups=groups, before_lab=before_mib << 20)
