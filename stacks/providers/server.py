"""The provider's process: a gRPC server for the engine, with readable errors and progress lines.

The SDK's servicer turns an exception into "Unexpected <class …>". This servicer returns the exception's own text.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
from pulumi.provider.experimental import provider as sdk
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from stacks.providers.resource import Call, Resource, ResourceFailed, Unfinished

VERSION = "0.1.0"
THREADS = 64
"""More than the engine runs in parallel: threads that wait for their turn must not block the others."""
SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", 400 << 20),
    ("grpc.server_max_unrequested_time_in_server", 30 * 60),
)
"""Limits in bytes and seconds, as the SDK sets them: gRPC's own are 4 MiB and 30 s, too few for the files of a host."""

_GUARDED = ("Check", "Diff", "Create", "Read", "Update", "Delete", "CheckConfig", "Configure", "Invoke")


class EngineLog:
    """Ordered progress lines for the engine's event stream, each attached to a resource. A lost line does no harm."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._stub = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(address))
        self._waiting: asyncio.Queue[engine_pb2.LogRequest] = asyncio.Queue()
        self._sender = asyncio.create_task(self._send())

    def say(self, urn: str, line: str) -> None:
        """Send a line. Any thread may call this."""
        request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=line, urn=urn, ephemeral=True)
        self._loop.call_soon_threadsafe(self._waiting.put_nowait, request)

    async def _send(self) -> None:
        while True:
            request = await self._waiting.get()
            try:
                await self._stub.Log(request)
            except grpc.RpcError:
                logging.getLogger(__name__).debug("the engine takes no more log lines: %s", request.message)


class Served(sdk.Provider):
    """A provider that can report its progress."""

    log: EngineLog | None = None
    """Set when the server starts."""

    def say(self, urn: str, line: str) -> None:
        """Show a progress line at a resource."""
        if self.log:
            self.log.say(urn, line)


class Govcloud(Served):
    """Dispatches the engine's requests to the resources by type."""

    def __init__(self, resources: dict[str, Resource]) -> None:
        self._resources = resources

    async def check(self, request: sdk.CheckRequest) -> sdk.CheckResponse:
        """Report invalid inputs before anything starts."""
        return sdk.CheckResponse(inputs=request.new_inputs, failures=self._of(request.type).check(request.new_inputs))

    async def diff(self, request: sdk.DiffRequest) -> sdk.DiffResponse:
        """Compare the state of the last read with the new inputs."""
        return self._of(request.type).diff(request.old_state, request.new_inputs)

    async def create(self, request: sdk.CreateRequest) -> sdk.CreateResponse:
        """Create the resource."""
        created, state = await self._of(request.type).create(
            request.properties, self._call(request, request.preview, request.timeout)
        )
        return sdk.CreateResponse(resource_id=created, properties=state)

    async def read(self, request: sdk.ReadRequest) -> sdk.ReadResponse:
        """Return the actual state of the resource."""
        found, state, inputs = await self._of(request.type).read(
            request.resource_id, request.properties, request.inputs, self._call(request, False, 0)
        )
        return sdk.ReadResponse(resource_id=found, properties=state, inputs=inputs)

    async def update(self, request: sdk.UpdateRequest) -> sdk.UpdateResponse:
        """Change the resource."""
        call = self._call(request, request.preview, request.timeout)
        return sdk.UpdateResponse(
            properties=await self._of(request.type).update(request.resource_id, request.olds, request.news, call)
        )

    async def delete(self, request: sdk.DeleteRequest) -> None:
        """Delete the resource."""
        await self._of(request.type).delete(
            request.resource_id, request.properties, self._call(request, False, request.timeout)
        )

    async def cancel(self) -> None:
        """Stop the resources after Ctrl-C: hosts that have not begun are not changed."""
        for resource in self._resources.values():
            stop = getattr(resource, "cancel", None)
            if stop:
                stop()

    def _of(self, token: str) -> Resource:
        kind = token.rsplit(":", 1)[-1]
        if kind not in self._resources:
            raise ResourceFailed(f"this provider has no resource {token}; it has {', '.join(sorted(self._resources))}")
        return self._resources[kind]

    def _call(self, request: Any, preview: bool, timeout_s: float) -> Call:
        stack = request.urn.removeprefix("urn:pulumi:").partition("::")[0]
        return Call(
            name=request.name, stack=stack, preview=preview, timeout_s=timeout_s, say=partial(self.say, request.urn)
        )


class Servicer(ProviderServicer):
    """The SDK's servicer, with failures that carry the exception's own text."""

    async def Handshake(self, request: Any, context: Any) -> Any:
        """Refuse the handshake. The engine works without it; the SDK's own answer leaves a traceback in the logs."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no handshake")

    async def DiffConfig(self, request: Any, context: Any) -> Any:
        """Replace the SDK's method, which passes a boolean to an enum field: `changed` would arrive as `unchanged`."""
        found = await self._provider.diff_config(
            sdk.DiffRequest(
                request.urn,
                request.id,
                PropertyValue.unmarshal_map(request.olds),
                PropertyValue.unmarshal_map(request.news),
                list(request.ignoreChanges),
            )
        )
        kinds = {True: provider_pb2.DiffResponse.DIFF_SOME, False: provider_pb2.DiffResponse.DIFF_NONE}
        changes = provider_pb2.DiffResponse.DIFF_UNKNOWN if found.changes is None else kinds[found.changes]
        return provider_pb2.DiffResponse(changes=changes, replaces=found.replaces, diffs=found.diffs)


def _guarded(name: str) -> Callable[[Any, Any, Any], Awaitable[Any]]:
    inner = getattr(ProviderServicer, name)

    async def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return await inner(self, request, context)
        except Unfinished as error:
            context.set_trailing_metadata((("grpc-status-details-bin", _details(error)),))
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except ResourceFailed as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except Exception as error:
            logging.getLogger(__name__).exception("%s failed", name)
            await context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")

    return call


def _details(error: Unfinished) -> bytes:
    """Return the error details. The engine needs them to record a resource that failed to become ready."""
    failure = provider_pb2.ErrorResourceInitFailed(
        id=error.resource_id, properties=PropertyValue.marshal_map(error.state), reasons=[str(error)]
    )
    if error.inputs is not None:
        failure.inputs.CopyFrom(PropertyValue.marshal_map(error.inputs))
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(failure)
    return bytes(status.SerializeToString())


for _name in _GUARDED:
    setattr(Servicer, _name, _guarded(_name))


@contextmanager
def _death_of(pid: int, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` when the process ends during the block. A killed engine stops no plugin: each would run forever."""
    watched = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(watched, act)
    try:
        yield
    finally:
        loop.remove_reader(watched)
        os.close(watched)


def serve(argv: list[str], provider: Served, program: str = "pulumi-resource-govcloud", version: str = VERSION) -> None:
    """Serve until the engine ends the process. `argv` contains the engine's address."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("engine", help="address of the engine")
    known, _ = parser.parse_known_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)

    async def run() -> None:
        server = grpc.aio.server(options=SERVER_OPTIONS)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=THREADS))
        provider.log = EngineLog(known.engine)
        servicer = Servicer(argv, version, provider, engine_address=known.engine)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        with _death_of(os.getppid(), ended.set):
            await ended.wait()
            await provider.cancel()  # hosts that have begun are finished: the exit waits for their threads
        await server.stop(None)

    asyncio.run(run())
