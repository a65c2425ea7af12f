"""Where Prometheus's own judge of rules and configurations is: on the path, or in a baked image."""

from __future__ import annotations

import shutil

import pytest

from workstation import paths


def find() -> str | None:
    """The program, or None where neither is there."""
    baked = sorted(paths.cache().glob("image/*/rootfs/usr/bin/promtool"))
    return shutil.which("promtool") or (str(baked[-1]) if baked else None)


NEEDED = pytest.mark.skipif(find() is None, reason="no promtool on the path and no image baked yet")
