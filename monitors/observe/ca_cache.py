"""The estate's CA certificate, read from the hosts that have it. Vantages verify answers with it and have no file."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class CaCertificate:
    """The CA certificate in memory. The holders' threads update it at each poll; the vantages' threads read it."""

    def __init__(self, holders: Iterable[str]) -> None:
        self._lock, self._available = threading.Lock(), threading.Event()
        self._pending, self._text = set(holders), ""
        if not self._pending:
            self._available.set()

    def update(self, holder: str, text: str | None) -> None:
        """Keep the newest certificate (PEM). An unreachable holder, or one without the file, never overwrites it."""
        with self._lock:
            self._pending.discard(holder)
            self._text = text or self._text
            if self._text or not self._pending:
                self._available.set()

    def wait(self, timeout_s: float) -> str:
        """Return the certificate as soon as a holder has sent it.

        Return "" if all holders have replied without it, or after `timeout_s`. A vantage then verifies answers with its
        own trust store.
        """
        self._available.wait(timeout_s)
        with self._lock:
            return self._text

    def give_up(self) -> None:
        """Release all waiting threads, because the watch ends."""
        self._available.set()
