"""Where things lie. Caches may be deleted at any time; the home holds lab, keys and state. Never the source tree.

Always absolute: programs that are started elsewhere, and records that are read from elsewhere, get these paths too.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache() -> Path:
    """Downloads, builds and images: `$GOVCLOUD_CACHE`, or /var/cache/govcloud, or the user's own cache directory."""
    if set_to := os.environ.get("GOVCLOUD_CACHE"):
        return Path(set_to).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/govcloud")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "govcloud"


def home() -> Path:
    """Lab, keys, Pulumi state, drills: `$GOVCLOUD_HOME` or /var/lib/govcloud."""
    return Path(os.environ.get("GOVCLOUD_HOME") or "/var/lib/govcloud").absolute()


def compiler() -> Path:
    """The Go compiler that setup has found new enough, or fetched; ./govcloud has it on the path, after the host's."""
    return cache() / "go" / "bin" / "go"


def repo() -> Path:
    """The checkout that is running."""
    return Path(__file__).resolve().parent.parent
