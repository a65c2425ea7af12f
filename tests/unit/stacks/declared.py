"""Runs a program against Pulumi's mocks and records the resources that it registered, with their options."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.automation import _server
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS as CHANNEL_OPTIONS
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import run_pulumi_func

# One test process outlives many engines, and gRPC shares the state of an address among all channels. If a new engine
# got the port of an ended one, gRPC would treat it as dead until the next retry.
CHANNEL_OPTIONS.append(("grpc.use_local_subchannel_pool", 1))

CLUSTER_IP = "10.192.20.7"
"""Address of every Service that declares none."""


@dataclass
class Recorded:
    """Registrations of a program, by the resource's name, and by its URN if names are not unique."""

    requests: dict[str, Any] = field(default_factory=dict)
    by_urn: dict[str, Any] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        """Return the names of one type, in registration order. `kind` is the last part of the type."""
        return [name for name, request in self.requests.items() if request.type.endswith(f":{kind}")]

    def depends_on(self, name: str) -> set[str]:
        """Return the names of the custom resources that it waits for."""
        urns = self.requests[name].dependencies
        return {urn.rsplit("::", 1)[-1] for urn in urns} & {n for n, r in self.requests.items() if r.custom}

    def inputs(self, name: str) -> dict[str, Any]:
        """Return the inputs as the engine receives them. Secrets are wrapped."""
        return dict(rpc.deserialize_properties(self.requests[name].object, keep_unknowns=True))

    def is_secret(self, name: str, key: str) -> bool:
        """Whether the engine keeps an input secret."""
        return bool(rpc.is_rpc_secret(rpc.deserialize_properties(self.requests[name].object)[key]))


class _Outputs(mocks.Mocks):
    """Answers like our provider: computed outputs exist."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        computed = {"Authority": ("cert", "key"), "Certificate": ("cert", "key"), "Password": ("text",)}
        outputs = {key: f"{key} of {args.name}" for key in computed.get(args.typ.rsplit(":", 1)[-1], ())}
        if args.typ == "kubernetes:core/v1:Service":
            outputs["spec"] = {"clusterIP": CLUSTER_IP, **args.inputs["spec"]}
        return args.name, {**args.inputs, **outputs}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        return {}, None


class _Monitor(mocks.MockMonitor):
    def __init__(self, recorded: Recorded) -> None:
        super().__init__(_Outputs())
        self._recorded = recorded

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """Return a URN that contains the types of all parents, as the engine makes it."""
        above = f"{parent.split('::')[2]}$" if parent and "pulumi:pulumi:Stack" not in parent else ""
        return f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{above}{type_}::{name}"

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:
        self._recorded.requests[request.name] = request
        self._recorded.by_urn[self.make_urn(request.parent, request.type, request.name)] = request
        return super().RegisterResource(request)


def declare(program: Callable[[], None], stack: str) -> Recorded:
    """Run the program to its end and return its registrations."""
    recorded = Recorded()

    async def run() -> None:
        settings.SETTINGS.rpc_manager.clear()
        settings.SETTINGS.outputs.clear()
        mocks.set_mocks(_Outputs(), project="govcloud", stack=stack, monitor=_Monitor(recorded))
        await run_pulumi_func(program)

    with closing_loops():
        asyncio.run(run())
    return recorded


@contextmanager
def closing_loops() -> Iterator[None]:
    """Close the event loops that Pulumi leaves open. One that is collected unclosed would fail an unrelated test.

    Pulumi makes a loop in each thread that has none. It also leaves the loop of a program open if a task of the program
    fails during its cleanup, for example because the engine has ended. The engine may end while the thread of its
    program still cleans up, so this function waits for that thread. Two threads must not close one loop.
    """
    left: list[asyncio.AbstractEventLoop] = []
    programs: dict[int, asyncio.AbstractEventLoop] = {}
    ended = threading.Condition()
    new_event_loop, run = asyncio.new_event_loop, _server.LanguageServer.Run

    def noted() -> asyncio.AbstractEventLoop:
        loop = new_event_loop()
        if sys._getframe(1).f_globals["__name__"] == _server.__name__:
            programs[threading.get_ident()] = loop
        else:
            left.append(loop)
        return loop

    def run_and_close(*args: Any) -> Any:
        own = threading.get_ident()
        try:
            return run(*args)
        finally:
            try:
                if loop := programs.get(own):
                    _close(loop)
            finally:
                with ended:
                    programs.pop(own, None)
                    ended.notify_all()

    asyncio.new_event_loop, _server.LanguageServer.Run = noted, run_and_close
    try:
        yield
    finally:
        asyncio.new_event_loop, _server.LanguageServer.Run = new_event_loop, run
        with ended:
            assert ended.wait_for(lambda: not programs, 60), "a program still runs 60 s after its engine"
        for loop in left:
            loop.close()


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close the loop of a program, in its own thread, after the tasks that the SDK has not ended."""
    if loop.is_closed():
        return
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
