"""Paths of the cache and of the home. The cache may be deleted at any time; the home has the lab, keys and state.

Neither is in the source tree. Paths are always absolute, because programs in other folders use them too.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache() -> Path:
    """Return the folder of downloads, builds and images: `$GOVCLOUD_CACHE`, /var/cache/govcloud or the user's cache."""
    if set_to := os.environ.get("GOVCLOUD_CACHE"):
        return Path(set_to).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/govcloud")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "govcloud"


def home() -> Path:
    """Return the folder of lab, keys, Pulumi state and drills: `$GOVCLOUD_HOME` or /var/lib/govcloud."""
    return Path(os.environ.get("GOVCLOUD_HOME") or "/var/lib/govcloud").absolute()


def compiler() -> Path:
    """Return the Go compiler that setup found or fetched. ./govcloud has it on the path, after the host's programs."""
    return cache() / "go" / "bin" / "go"


def bytecode() -> Path:
    """Return the folder of compiled Python modules, as ./govcloud sets it. Nothing is written into the source tree."""
    return cache() / "bytecode"


def repo() -> Path:
    """Return the folder of the running checkout."""
    return Path(__file__).resolve().parent.parent
