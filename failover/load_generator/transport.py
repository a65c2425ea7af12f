"""Sends each HTTPS request on a new connection and verifies the certificate with the estate's CA.

An open connection could survive a route change that new citizens would notice, so every request opens a new one. The
service's name resolves to the anycast address of the chosen IP version: the certificate is checked for the name, and
the measurement is of the address.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Self

import aiohttp  # type: ignore[import-not-found,unused-ignore]  # a Debian package of the vantage

LONGEST_ANSWER = 64 * 1024
"""Bytes. The service never sends a longer answer."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The address of the service. `addresses` maps the IP version (4, 6) to an IP address."""

    name: str
    port: int
    addresses: dict[int, str]
    ca: str


@dataclass(frozen=True, kw_only=True)
class Response:
    """The answer to a request. Without an answer `status` is None and `error` is the cause."""

    status: int | None = None
    error: str | None = None
    site: str | None = None
    retry_after_s: float = 0.0
    fields: dict[str, Any]


class _FixedResolver:
    """A resolver that returns one fixed address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[dict[str, Any]]:
        version = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        flags = socket.AI_NUMERICHOST
        return [{"hostname": host, "host": self._address, "port": port, "family": version, "proto": 0, "flags": flags}]

    async def close(self) -> None:
        """Do nothing: the resolver has no open resources."""


class Transport:
    """Sends requests; one client session for each IP version."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._tls = ssl.create_default_context(cafile=endpoint.ca)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._sessions: dict[int, Any] = {}

    async def __aenter__(self) -> Self:
        for version, address in self._endpoint.addresses.items():
            resolver: Any = _FixedResolver(address)  # aiohttp's abstract class has only these two methods
            connector = aiohttp.TCPConnector(
                resolver=resolver, use_dns_cache=False, force_close=True, limit=0, ssl=self._tls
            )
            jar = aiohttp.DummyCookieJar()
            self._sessions[version] = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=jar, trust_env=False
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    async def write(self, family: int, path: str, key: str, body: dict[str, Any]) -> Response:
        """Send a body with the idempotency key."""
        data = json.dumps(body, ensure_ascii=False).encode()
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        return await self._send(family, "POST", path, data, headers)

    async def read(self, family: int, path: str) -> Response:
        """Request the answer to an earlier write."""
        return await self._send(family, "GET", path, None, {})

    async def _send(self, family: int, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Response:
        url = f"https://{self._endpoint.name}:{self._endpoint.port}{path}"
        session = self._sessions[family]
        try:
            async with session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
                text = await response.content.read(LONGEST_ANSWER)
                while more := await response.content.read(LONGEST_ANSWER):
                    text += more
                    if len(text) > LONGEST_ANSWER:
                        return Response(status=response.status, error="answer too long", fields={})
                return _parse_response(response.status, response.headers, text)
        except TimeoutError:
            return Response(error="timeout", fields={})
        except aiohttp.ClientConnectorCertificateError as error:
            return Response(error=f"certificate: {error.certificate_error}", fields={})
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
            return Response(error=_reason(error), fields={})


def _reason(error: BaseException) -> str:
    """Return a short cause that can be counted: the error's class and, if present, its `errno`."""
    inner = getattr(error, "os_error", None) or error
    number = getattr(inner, "errno", None)
    return f"{type(error).__name__}" + (f" errno {number}" if number else "")


def _parse_response(status: int, headers: Any, text: bytes) -> Response:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = {}
    asked = headers.get("Retry-After", "")
    return Response(
        status=status,
        site=headers.get("X-Govcloud-Site"),
        retry_after_s=float(asked) if asked.isdigit() else 0.0,
        fields=fields if isinstance(fields, dict) else {},
    )
