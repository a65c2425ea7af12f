"""Several engines, one after the other, in one process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc import RpcMethodHandler

from tests.unit.stacks.declared import CHANNEL_OPTIONS

NAME = "govcloud.Echo"


def _server(port: int) -> tuple[grpc.Server, int]:
    server = grpc.server(ThreadPoolExecutor(1))
    say: dict[str, RpcMethodHandler] = {"Say": grpc.unary_unary_rpc_method_handler(lambda text, _: text)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, say),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def _say(channel: grpc.Channel) -> bytes:
    return bytes(channel.unary_unary(f"/{NAME}/Say")(b"here"))


def test_a_new_engine_at_the_port_of_an_ended_engine_is_reachable() -> None:
    """The channel options are the SDK's own, as its programs use them for the engine."""
    first, port = _server(0)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as before:
        assert _say(before) == b"here"
        first.stop(0).wait()
        with pytest.raises(grpc.RpcError):
            _say(before)
        second, _ = _server(port)
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as after:
            assert _say(after) == b"here"
        second.stop(0).wait()
