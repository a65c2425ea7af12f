"""What becomes of the API server's answers: which are tried again, and what is said of the others."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from stacks.providers.kubernetes.api import Unreachable
from tests.unit.kubernetes.clusters import Script, cluster


def test_what_the_http_library_says_of_a_header_is_not_passed_on() -> None:
    """It quotes the token; and a second try would be no better."""
    server = Script(httpx2.LocalProtocolError("Illegal header value b'Bearer hunter2hunter2 '"))
    with pytest.raises(Unreachable, match="letters that no header may") as told:
        asyncio.run(cluster(server).get("/api/v1/pods"))
    assert "hunter2" not in str(told.value)
    assert len(server.asked) == 1
