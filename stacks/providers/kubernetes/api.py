"""Client of the Kubernetes API server over HTTPS: JSON objects in and out, and errors with the server's own text."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from stacks.providers.kubernetes.kubeconfig import Access, BadKubeconfig
from stacks.providers.kubernetes.objects import Object
from stacks.providers.resource import ResourceFailed

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
ANSWER_TIMEOUT_S = 30.0
"""For one answer. A slow webhook in the cluster takes at most this long too."""
CONNECT_TIMEOUT_S = 5.0
"""For a connection, and again for its TLS. The kernel of a frozen server still accepts connections, but the server does
not answer."""
POLL_TIMEOUT_S = 10.0
"""For one answer to a caller that polls anyway."""
QUIET_S = 30.0
"""A watch ends after this time without an event: a half-open connection would never deliver one."""
CONNECTIONS = 192
"""More than the engine processes in parallel: waiting for readiness keeps one connection open for each resource."""
TRIES_S = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses between attempts while the server is unreachable or busy. It restarts in a few seconds."""
_UNTYPED = "failed to create typed patch object"
"""Text of the refusal, with code 500, if the object has a field that its kind does not have, or a wrong type."""
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
LONGEST = 500
"""Maximum number of characters of a text from another program."""
_BUSY = frozenset((429, 500, 502, 503, 504))
_NOT_YET = "not yet ready to handle request"
"""Text of an admission plugin's refusal, with code 403, while a newly started server fills its caches."""


class Unreachable(ResourceFailed):
    """The API server gave no usable answer. The text has the cause and the next step.

    `passing` means that the server may answer in a moment.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class ApiError(Exception):
    """The API server refused the request. `reason` and `causes` come from its Status object."""

    def __init__(self, code: int, status: Mapping[str, Any]) -> None:
        details = status.get("details") or {}
        self.code = code
        self.reason = str(status.get("reason") or "")
        self.message = str(status.get("message") or f"HTTP {code}")
        self.kind = str(details.get("kind") or "")
        self.name = str(details.get("name") or "")
        self.causes = tuple(cause for cause in details.get("causes") or () if isinstance(cause, Mapping))
        self.pause_s = float(details.get("retryAfterSeconds") or 0)
        super().__init__(self.message)

    @property
    def gone(self) -> bool:
        """Whether the object or its kind does not exist."""
        return self.code == 404

    @property
    def field_conflict(self) -> bool:
        """Whether another manager owns a field of the request."""
        return self.code == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in self.causes)

    @property
    def lost_race(self) -> bool:
        """Whether another client changed the object at the same moment. The caller may repeat the request."""
        return self.code == 409 and self.reason == "Conflict" and not self.field_conflict

    @property
    def busy(self) -> bool:
        """Whether the server is starting or overloaded, so that it may answer in a moment."""
        if self.code == 403:
            return _NOT_YET in self.message
        return self.code in _BUSY and not self.malformed

    @property
    def malformed(self) -> bool:
        """Whether the object itself is invalid."""
        return self.code == 422 or _UNTYPED in self.message

    @property
    def no_namespace(self) -> bool:
        """Whether the namespace is missing, not the object."""
        return self.code == 404 and self.kind == "namespaces"

    @property
    def over_quota(self) -> bool:
        """Whether a quota of the namespace forbids the object."""
        return self.code == 403 and "exceeded quota" in self.message


def _ignore(text: str) -> None:
    """Drop a text."""


@dataclass(frozen=True)
class _Request:
    """One HTTP request. `races`: whether to repeat it after another client changed the object."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None
    content: str = ""
    timeout_s: float = ANSWER_TIMEOUT_S
    races: bool = True
    warn: Callable[[str], None] = _ignore


class Cluster:
    """One API server. All calls run in one event loop.

    `say` receives one line when retries begin. Tests replace the network by `transport`.
    """

    def __init__(self, access: Access, say: Callable[[str], None] = _ignore, transport: Any = None) -> None:
        self.access = access
        self._say, self._retrying = say, False
        self._client = _client(access, transport)

    async def get(self, path: str, **query: str) -> Object:
        """Read one object or list. Raises `ApiError`, `Unreachable`."""
        return await self._call(_Request("GET", path, query))

    async def get_once(self, path: str, **query: str) -> Object:
        """Read with one attempt and a short timeout, for callers that poll. Raises `ApiError`, `Unreachable`."""
        return await self._once(_Request("GET", path, query, timeout_s=POLL_TIMEOUT_S))

    async def apply(
        self, path: str, obj: Object, manager: str, *, force: bool, dry_run: bool, warn: Callable[[str], None]
    ) -> Object:
        """Server-side apply. `warn` receives the server's warnings."""
        query = {"fieldManager": manager, "force": "true" if force else "false", "fieldValidation": "Warn"}
        query |= {"dryRun": "All"} if dry_run else {}
        return await self._call(_Request("PATCH", path, query, obj, APPLY, warn=warn))

    async def patch(self, path: str, steps: list[dict[str, Any]]) -> Object:
        """Send a JSON patch. The caller handles a lost race, because the steps name one resource version."""
        return await self._call(_Request("PATCH", path, {}, steps, JSON_PATCH, races=False))

    async def delete(self, path: str, propagation: str) -> Object:
        """Request the deletion. The object may still exist for a while."""
        return await self._call(_Request("DELETE", path, {}, {"propagationPolicy": propagation}, "application/json"))

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """Yield a stream of events `{"type", "object"}`. The server or `QUIET_S` without data ends it."""
        asked = self._client.stream("GET", path, params={**query, "watch": "true"}, timeout=_patience(QUIET_S))
        with self._reached():
            async with AsyncExitStack() as stack:
                with self._authorised():
                    response = await stack.enter_async_context(asked)
                if response.status_code >= 400:
                    await response.aread()
                    raise _refused(response, self.access.server)
                yield _events(response)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _call(self, request: _Request) -> Object:
        for pause_s in (*TRIES_S, None):
            try:
                answer = await self._once(request)
                self._retrying = False
                return answer
            except Unreachable as error:
                if pause_s is None or not error.passing:
                    raise
                self._report_retry("does not answer")
            except ApiError as error:
                if pause_s is None or not (error.busy or (request.races and error.lost_race)):
                    raise
                pause_s = max(pause_s, min(error.pause_s, TRIES_S[-1]))
                self._report_retry("is busy") if error.busy else None
            await asyncio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _report_retry(self, problem: str) -> None:
        """Report the retries once until the next answer. All attempts together may take more than half a minute."""
        if not self._retrying:
            self._retrying = True
            self._say(f"the API server at {self.access.server} {problem}; retrying")

    async def _once(self, request: _Request) -> Object:
        options = {
            "params": dict(request.query),
            "headers": {"Content-Type": request.content} if request.content else {},
            "content": json.dumps(request.body).encode() if request.body is not None else None,
            "timeout": _patience(request.timeout_s),
        }
        with self._reached(), self._authorised():
            response = await self._client.request(request.method, request.path, **options)
        if response.status_code >= 400:
            raise _refused(response, self.access.server)
        for text in _warnings(response):
            request.warn(text)
        try:
            return dict(response.json())
        except ValueError as error:
            raise Unreachable(
                f"{self.access.server} answers, but is not a Kubernetes API server: check the kubeconfig's address"
            ) from error

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Raise network and TLS errors of the block as `Unreachable`."""
        import httpx2

        try:
            yield
        except (httpx2.TransportError, OSError, ssl.SSLError) as error:
            raise self._unreachable(error) from error

    @contextmanager
    def _authorised(self) -> Iterator[None]:
        """Raise errors of the program or the file that provides the token as `Unreachable`."""
        from lightkube.core.exceptions import ConfigError

        user = self.access.config.user
        try:
            yield
        except ssl.SSLError:
            raise
        except (ConfigError, OSError, ValueError, LookupError, TypeError) as error:
            if user and user.exec:
                source = f"its program {user.exec.command}"
            elif user and user.token_file:
                source = f"its file {user.token_file}"
            else:
                raise
            why = f"{type(error).__name__}: {error}"[:LONGEST]
            raise Unreachable(
                f"the kubeconfig's token for {self.access.server} cannot be read from {source} ({why}): repair the "
                "source, or use another kubeconfig"
            ) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        import httpx2

        server, text = self.access.server, _chain(error)
        if isinstance(error, httpx2.LocalProtocolError):  # its text quotes the header, and with it the token
            return Unreachable(
                f"a request to the API server at {server} cannot be sent: the kubeconfig's credentials contain "
                "characters that are not allowed in an HTTP header; get a new kubeconfig from the cluster"
            )
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return Unreachable(f"the API server at {server} shows a certificate that {_untrusted(text)}")
        if "alert" in text.lower():
            return Unreachable(
                f"the API server at {server} does not accept the kubeconfig's client certificate ({text}): "
                "get a new kubeconfig from the cluster"
            )
        return Unreachable(
            f"the API server at {server} does not answer ({text}): restore it, then run the same command again; "
            "the run continues from here",
            passing=True,
        )


def _untrusted(text: str) -> str:
    """Return the problem of the server's certificate and the next step. OpenSSL's `text` distinguishes the cases."""
    if "expired" in text:
        return (
            "has expired, or its authority's has: compare this machine's clock with the server's; if they agree, renew "
            "the server's certificates"
        )
    if "not yet valid" in text:
        return "is not valid yet: compare this machine's clock with the server's"
    if "mismatch" in text:
        return (
            f"is not for this address ({text}): put an address of the certificate into the kubeconfig, or issue the "
            "certificate for this address too"
        )
    return (
        "the kubeconfig's authority has not signed: the kubeconfig is for another cluster or out of date; get a new "
        f"one from the cluster ({text})"
    )


def _client(access: Access, transport: Any) -> Any:
    import httpx2
    from lightkube.config.client_adapter import ConnectionParams
    from lightkube.core.exceptions import ConfigError

    # The environment's web proxy is for the internet. Clusters are reached directly.
    wanted = ConnectionParams(timeout=_patience(ANSWER_TIMEOUT_S), trust_env=False, transport=transport)
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    try:
        return httpx2.AsyncClient(**wanted.httpx_params(access.config), limits=limits)
    except (ConfigError, OSError, ValueError, ssl.SSLError) as error:
        raise BadKubeconfig(f"the kubeconfig's credentials cannot be used: {error}; get a new one") from error


def _patience(answer_s: float) -> Any:
    import httpx2

    return httpx2.Timeout(answer_s, connect=CONNECT_TIMEOUT_S)


def _warnings(response: Any) -> list[str]:
    """Return the warnings of the headers: unknown fields, kinds that will be removed, pods that a level forbids."""
    found = (match for header in response.headers.get_list("warning") for match in _WARNING.findall(header))
    return [re.sub(r"\\(.)", r"\1", text)[:LONGEST] for text in found]


def _refused(response: Any, server: str) -> Exception:
    try:
        status = response.json()
    except ValueError:
        status = {"message": response.text[:LONGEST] or f"HTTP {response.status_code}"}
    if response.status_code == 401:
        return Unreachable(
            f"the API server at {server} does not accept the kubeconfig's credentials (401): "
            "they have expired or are for another cluster; get a new kubeconfig"
        )
    return ApiError(response.status_code, status if isinstance(status, Mapping) else {})


async def _events(response: Any) -> AsyncIterator[Mapping[str, Any]]:
    import httpx2

    with suppress(httpx2.ReadTimeout):  # no event, or no server: the next read shows which
        async for line in response.aiter_lines():
            if line:
                yield json.loads(line)


def _chain(error: BaseException | None) -> str:
    """Return the innermost text of an exception and its causes. The outermost text is often empty."""
    texts = []
    while error is not None:
        if str(error):
            texts.append(str(error))
        error = error.__cause__ or error.__context__
    return texts[-1] if texts else "no reason given"
