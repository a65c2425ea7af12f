"""One router for each test of this folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from edge_router import BOOT, Router, install

from tests.polling import until
from tools.image import bake
from workstation.errors import GovcloudError


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    """Start a router and wait until its session is up."""
    if os.geteuid():
        pytest.skip("needs root: namespaces and mounts")
    try:
        image = bake.current().resolve()
    except GovcloudError as error:
        pytest.skip(str(error))
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    with subprocess.Popen(
        [*argv, "bash", "-c", BOOT, "bash", str(tmp_path), str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"up\n"
        leader = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text())
        made = Router(leader, tmp_path / "root")
        try:
            install(made)
            until("the session is up", made.session_is_up, 30)
            yield made
        finally:
            holder.kill()
