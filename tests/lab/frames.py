"""Sends and captures single Ethernet frames in machines' namespaces, below addresses, routes and firewalls."""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass

from lab import names
from lab.command import network_of

EXPERIMENT = 0x88B5
"""EtherType for local experiments."""
ALL = 0x0003


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A frame and its time of arrival, in seconds of the monotonic clock."""

    at: float
    data: bytes


def number_of(seen: Seen) -> int:
    """Return the number of one of our own frames."""
    return int(struct.unpack_from("!I", seen.data, 14)[0])


class Tap:
    """A raw socket on one interface of one machine."""

    def __init__(self, host: str, interface: str, ethertype: int = EXPERIMENT) -> None:
        with network_of(names.NETNS_DIR / names.netns(host)):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
            self.socket.bind((interface, ethertype))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, number: int, size: int = 100) -> float:
        """Send one frame. Return the time of sending, in seconds of the monotonic clock."""
        head = b"\xff" * 6 + b"\x02\0\0\0\0\x01" + struct.pack("!HI", EXPERIMENT, number)
        at = time.monotonic()
        self.socket.send(head.ljust(size, b"\0"))
        return at

    def frames(self, *, within_s: float, count: int = 1 << 30) -> list[Seen]:
        """Return the frames that arrive within the time, at most `count`."""
        end = time.monotonic() + within_s
        found: list[Seen] = []
        while len(found) < count and (left := end - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                data = self.socket.recv(65536)
                found.append(Seen(at=time.monotonic(), data=data))
        return found

    def numbers(self, *, within_s: float, count: int = 1 << 30) -> list[int]:
        """Return the numbers of our own frames that arrive."""
        return [number_of(seen) for seen in self.frames(within_s=within_s, count=count)]
