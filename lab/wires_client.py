"""The link emulator: built from source once, started in its own namespace, controlled over a socket."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lab import launch, names
from lab.command import LabError, wait_for
from lab.names import Directories
from lab.topology import Machine, PortKind, Topology, Wire
from workstation import atomic_write, paths
from workstation.progress import step

SOURCE = Path(__file__).parent / "wires"
ANSWER_S = 10.0
BUILD_S, BUILD_AT_MOST_S = 10.0, 300.0
"""Expected and longest time of the daemon's build on two cores."""


@dataclass(frozen=True, kw_only=True)
class WireSettings:
    """One direction of a link: `delay_ms` one way, `loss` from 0 to 1, `bandwidth_mbit` 0 for unlimited."""

    delay_ms: float
    loss: float
    bandwidth_mbit: float
    cut: bool = False


@dataclass(frozen=True, kw_only=True)
class DirectionState:
    """Present settings and counters of one direction."""

    settings: WireSettings
    frames: int
    bytes: int
    dropped: int


def declared(wire: Wire) -> WireSettings:
    """Return the estate's delay and bandwidth of a link, without loss and without a cut."""
    return WireSettings(delay_ms=wire.delay_ms, loss=0.0, bandwidth_mbit=wire.bandwidth_mbit)


def program() -> Path:
    """Return the path of the daemon. Build it from this checkout's source if the cache has no build of this source."""
    sources = sorted([*SOURCE.glob("*.go"), SOURCE / "go.mod"])
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    built = paths.cache() / "wires" / digest / names.WIRES_PROGRAM
    if not built.exists():
        with step("building the wires' daemon from this checkout", BUILD_S):
            _build(built)
    return built


def _build(target: Path) -> None:
    if not paths.compiler().exists():  # the first on the PATH may be too old; setup checks the version
        raise LabError("no Go compiler, which is needed once to build the wires' daemon", "run ./govcloud setup")
    target.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    environment.setdefault("GOCACHE", str(paths.cache() / "go" / "build"))  # setup has compiled the library there
    options = ["-mod=readonly", "-trimpath", "-ldflags", "-s -w"]
    with atomic_write.replacing(target) as draft:
        argv = [str(paths.compiler()), "build", *options, "-o", str(draft), "."]
        try:
            done = subprocess.run(
                argv, cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=BUILD_AT_MOST_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"the build of the wires' daemon did not end within {BUILD_AT_MOST_S:g} s") from None
        if done.returncode:
            raise LabError(f"the wires' daemon cannot be built: {done.stderr.strip()[-600:]}")


def start(directories: Directories, groups: Sequence[Path]) -> None:
    """Start the daemon in the links' namespace. It outlives this process."""
    names.RUN.mkdir(parents=True, exist_ok=True)
    argv = [
        "nsenter",
        f"--net={names.NETNS_DIR / names.WIRES}",
        str(program()),
        "-socket",
        str(directories.wires_socket),
    ]
    launch.start_detached(argv, groups=groups, log=directories.wires_log)
    wait_for("the socket of the wires' daemon exists", directories.wires_socket.exists, deadline_s=10)


class Wires:
    """Client of the daemon. It applies each request completely, within microseconds."""

    def __init__(self, directories: Directories, topology: Topology) -> None:
        self.directories, self.topology = directories, topology

    def add_all(self) -> None:
        """Add all links with the estate's figures. No frames flow until both ends are attached."""
        self._send([{"op": "add", "wire": w.name, "settings": asdict(declared(w))} for w in self.topology.wires])

    def attach(self, machines: Sequence[Machine]) -> None:
        """Attach the machines' ends of their links, so that they carry frames."""
        self._send([_end("attach", p) for m in machines for p in m.ports if p.kind is PortKind.WIRE])

    def detach(self, machines: Sequence[Machine]) -> None:
        """Detach the machines' ends. Their links stop in both directions, all at the same moment."""
        self._send([_end("detach", p) for m in machines for p in m.ports if p.kind is PortKind.WIRE])

    def cut(self, wire: str, direction: int, cut: bool) -> None:
        """Cut or heal a link. Direction 0 is from the first end to the second, 1 is back, -1 is both."""
        self._send([{"op": "set", "wire": wire, "direction": direction, "cut": cut}])

    def change(self, wire: str, direction: int, settings: WireSettings) -> None:
        """Change delay, loss, bandwidth and cut while frames flow."""
        self._send([{"op": "set", "wire": wire, "direction": direction, "settings": asdict(settings)}])

    def state(self) -> dict[str, tuple[DirectionState, DirectionState]]:
        """Return the present state of both directions of every link."""
        found = {}
        for name, wire in self._send([])["wires"].items():
            first, second = (_direction(value) for value in wire["directions"])
            found[name] = (first, second)
        return found

    def _send(self, ops: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ANSWER_S)
                connection.connect(str(self.directories.wires_socket))
                connection.sendall(json.dumps({"ops": ops}).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    answer: dict[str, Any] = json.loads(answers.readline())
        except (OSError, ValueError) as error:
            raise LabError(f"the wires' daemon does not answer: {error}", "run ./govcloud lab up") from None
        if answer.get("error"):
            raise LabError(f"the wires' daemon refuses the request: {answer['error']}")
        return answer


def _end(op: str, port: Any) -> dict[str, Any]:
    return {"op": op, "wire": port.wire, "end": port.end, "interface": port.outside if op == "attach" else ""}


def _direction(value: dict[str, Any]) -> DirectionState:
    settings = WireSettings(**{field.name: value[field.name] for field in fields(WireSettings)})
    return DirectionState(settings=settings, frames=value["frames"], bytes=value["bytes"], dropped=value["dropped"])
