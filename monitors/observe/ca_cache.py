"""The estate's CA certificate, as the hosts that hold it tell: a vantage has no file of ours to verify answers by."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class CaCertificate:
    """Told by the holders as often as they are asked, read by the vantages."""

    def __init__(self, holders: Iterable[str]) -> None:
        self._lock, self._available = threading.Lock(), threading.Event()
        self._pending, self._text = set(holders), ""
        if not self._pending:
            self._available.set()

    def update(self, holder: str, text: str | None) -> None:
        """The newest certificate stands; nothing, where a holder was not reached or has none yet, changes none."""
        with self._lock:
            self._pending.discard(holder)
            self._text = text or self._text
            if self._text or not self._pending:
                self._available.set()

    def wait(self, timeout_s: float) -> str:
        """The certificate as soon as a holder has told it, or nothing when all have spoken or the time is over: then a
        vantage verifies by its own store."""
        self._available.wait(timeout_s)
        with self._lock:
            return self._text

    def give_up(self) -> None:
        """Nobody is to wait any longer."""
        self._available.set()
