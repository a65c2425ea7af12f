"""Running a program against Pulumi's mocks and keeping what it registered, with its options."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS as CHANNEL_OPTIONS
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import run_pulumi_func

# One process of tests outlives many engines, and gRPC shares what it knows of an address among all channels: an engine
# that is given the port of one that has ended would be taken for dead until gRPC tries again.
CHANNEL_OPTIONS.append(("grpc.use_local_subchannel_pool", 1))

CLUSTER_IP = "10.192.20.7"
"""Of every Service that asks for no other."""


@dataclass
class Recorded:
    """What a program registered: requests by the resource's name, and by its URN where names are not enough."""

    requests: dict[str, Any] = field(default_factory=dict)
    by_urn: dict[str, Any] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        """Names of one type, in registration order; `kind` is the type's last part."""
        return [name for name, request in self.requests.items() if request.type.endswith(f":{kind}")]

    def depends_on(self, name: str) -> set[str]:
        """Names of the custom resources that it waits for."""
        urns = self.requests[name].dependencies
        return {urn.rsplit("::", 1)[-1] for urn in urns} & {n for n, r in self.requests.items() if r.custom}

    def inputs(self, name: str) -> dict[str, Any]:
        """Inputs as the engine gets them; secrets are wrapped."""
        return dict(rpc.deserialize_properties(self.requests[name].object, keep_unknowns=True))

    def is_secret(self, name: str, key: str) -> bool:
        """Whether the engine is told to keep an input secret."""
        return bool(rpc.is_rpc_secret(rpc.deserialize_properties(self.requests[name].object)[key]))


class _Outputs(mocks.Mocks):
    """Answers as our provider does: computed outputs are there."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        made = {"Authority": ("cert", "key"), "Certificate": ("cert", "key"), "Password": ("text",)}
        outputs = {key: f"{key} of {args.name}" for key in made.get(args.typ.rsplit(":", 1)[-1], ())}
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
        """With the types of all that it stands below, as the engine makes it."""
        above = f"{parent.split('::')[2]}$" if parent and "pulumi:pulumi:Stack" not in parent else ""
        return f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{above}{type_}::{name}"

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:
        self._recorded.requests[request.name] = request
        self._recorded.by_urn[self.make_urn(request.parent, request.type, request.name)] = request
        return super().RegisterResource(request)


def declare(program: Callable[[], None], stack: str) -> Recorded:
    """Run the program to its end."""
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
    """Close what Pulumi leaves open: it makes an event loop in each thread that has none.

    The engine may be done while the thread that ran its program still cleans up. That thread closes its loop itself,
    and a loop cannot be closed by two at once: it is waited for, since one that is collected unclosed fails whatever
    test happens to run then.
    """
    left: list[asyncio.AbstractEventLoop] = []
    cleaned_up: list[asyncio.AbstractEventLoop] = []
    original = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        loop = original()
        runs_a_program = sys._getframe(1).f_globals["__name__"] == "pulumi.automation._server"
        (cleaned_up if runs_a_program else left).append(loop)
        return loop

    asyncio.new_event_loop = noted
    try:
        yield
    finally:
        asyncio.new_event_loop = original
        for loop in left:
            loop.close()
        deadline = time.monotonic() + 10
        while not all(loop.is_closed() for loop in cleaned_up) and time.monotonic() < deadline:
            threading.Event().wait(0.01)
