"""The API server over HTTPS: objects as JSON in, objects as JSON out, and errors that say what the server said."""

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
"""For one answer; a slow webhook in the cluster takes at most this long too."""
CONNECT_TIMEOUT_S = 5.0
"""For a connection, and again for its TLS: a frozen server still gets connections from its kernel, and says nothing."""
LOOK_TIMEOUT_S = 10.0
"""For one answer to somebody who will ask again."""
QUIET_S = 30.0
"""A watch without an event for so long ends: of a connection that is only half there nothing would ever be heard."""
CONNECTIONS = 192
"""More than the engine works on side by side: waiting for readiness keeps one open for each resource."""
TRIES_S = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses between tries where the server is away for a moment or busy: it restarts in a few seconds."""
_UNTYPED = "failed to create typed patch object"
"""How it refuses, with 500, an object that has a field which its kind does not have, or of another type."""
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
LONGEST = 500
"""Letters of what others say."""
_BUSY = frozenset((429, 500, 502, 503, 504))
_NOT_YET = "not yet ready to handle request"
"""How admission plugins refuse, with 403, while the server that has just started fills its caches."""


class Unreachable(ResourceFailed):
    """The API server gave no usable answer; the text says why and what to do. `passing` where it may in a moment."""

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class ApiError(Exception):
    """The API server refused. `reason` and `causes` are those of its Status."""

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
        """Whether there is no such object, or no such kind."""
        return self.code == 404

    @property
    def field_conflict(self) -> bool:
        """Whether another manager owns a field that was to be set."""
        return self.code == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in self.causes)

    @property
    def lost_race(self) -> bool:
        """Whether someone else has changed the object in the same moment: the same call may be made again."""
        return self.code == 409 and self.reason == "Conflict" and not self.field_conflict

    @property
    def busy(self) -> bool:
        """Whether the server may well answer in a moment: it starts, or has too much to do."""
        if self.code == 403:
            return _NOT_YET in self.message
        return self.code in _BUSY and not self.malformed

    @property
    def malformed(self) -> bool:
        """Whether the object itself is wrong."""
        return self.code == 422 or _UNTYPED in self.message

    @property
    def no_namespace(self) -> bool:
        """Whether the namespace is missing, and not the object."""
        return self.code == 404 and self.kind == "namespaces"

    @property
    def over_quota(self) -> bool:
        """Whether a quota of the namespace does not allow it."""
        return self.code == 403 and "exceeded quota" in self.message


def _unheard(text: str) -> None:
    """Takes warnings that nobody waits for."""


@dataclass(frozen=True)
class _Request:
    """`races`: whether one that was lost may simply be run again."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None
    content: str = ""
    timeout_s: float = ANSWER_TIMEOUT_S
    races: bool = True
    warn: Callable[[str], None] = _unheard


class Cluster:
    """One API server. Calls are made in one event loop.

    `say` is told once when calls begin to be tried again; `transport` takes the place of the network in tests.
    """

    def __init__(self, access: Access, say: Callable[[str], None] = _unheard, transport: Any = None) -> None:
        self.access = access
        self._say, self._away = say, False
        self._client = _client(access, transport)

    async def get(self, path: str, **query: str) -> Object:
        """Read one object or list. Raises `ApiError`, `Unreachable`."""
        return await self._call(_Request("GET", path, query))

    async def look(self, path: str, **query: str) -> Object:
        """Read with one try and little patience, for who comes again anyway. Raises `ApiError`, `Unreachable`."""
        return await self._once(_Request("GET", path, query, timeout_s=LOOK_TIMEOUT_S))

    async def apply(
        self, path: str, obj: Object, manager: str, *, force: bool, dry_run: bool, warn: Callable[[str], None]
    ) -> Object:
        """Server-side apply. `warn` takes what the server does not refuse, but warns of."""
        query = {"fieldManager": manager, "force": "true" if force else "false", "fieldValidation": "Warn"}
        return await self._call(_Request("PATCH", path, query | _dry(dry_run), obj, APPLY, warn=warn))

    async def patch(self, path: str, steps: list[dict[str, Any]]) -> Object:
        """A JSON patch. A lost race is the caller's to run again: the steps name the version that they are for."""
        return await self._call(_Request("PATCH", path, {}, steps, JSON_PATCH, races=False))

    async def delete(self, path: str, propagation: str) -> Object:
        """Ask for deletion; the object may live on for a while."""
        return await self._call(_Request("DELETE", path, {}, {"propagationPolicy": propagation}, "application/json"))

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """A stream of events `{"type", "object"}`; it ends when the server ends it, or has been quiet for long."""
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
                self._away = False
                return answer
            except Unreachable as error:
                if pause_s is None or not error.passing:
                    raise
                self._tell("does not answer")
            except ApiError as error:
                if pause_s is None or not (error.busy or (request.races and error.lost_race)):
                    raise
                pause_s = max(pause_s, min(error.pause_s, TRIES_S[-1]))
                self._tell("is busy") if error.busy else None
            await asyncio.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def _tell(self, what: str) -> None:
        """Once until it answers again: to try all times may take more than half a minute."""
        if not self._away:
            self._away = True
            self._say(f"the API server at {self.access.server} {what}; it is tried again")

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
                f"{self.access.server} answers, but is no Kubernetes API server: see the kubeconfig's address"
            ) from error

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Within the block, what keeps a request from its answer is `Unreachable`."""
        import httpx2

        try:
            yield
        except (httpx2.TransportError, OSError, ssl.SSLError) as error:
            raise self._unreachable(error) from error

    @contextmanager
    def _authorised(self) -> Iterator[None]:
        """Within the block, so is what a program or a file does wrong that is to give the token."""
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
                f"the kubeconfig's token for {self.access.server} cannot be had from {source} ({why}): mend that, or "
                "use another kubeconfig"
            ) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        import httpx2

        server, text = self.access.server, _chain(error)
        if isinstance(error, httpx2.LocalProtocolError):  # its text quotes the header, and with it the token
            return Unreachable(
                f"a request to the API server at {server} cannot be written as HTTP: the kubeconfig's credentials hold "
                "letters that no header may; get it anew from the cluster"
            )
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return Unreachable(f"the API server at {server} shows a certificate that {_untrusted(text)}")
        if "alert" in text.lower():
            return Unreachable(
                f"the API server at {server} does not take the kubeconfig's client certificate ({text}): "
                "get it anew from the cluster"
            )
        return Unreachable(
            f"the API server at {server} does not answer ({text}): bring it back, then run the same command again; "
            "it goes on from here",
            passing=True,
        )


def _untrusted(text: str) -> str:
    """What is wrong with the server's certificate, and what to do; `text` is OpenSSL's, which tells the cases apart."""
    if "expired" in text:
        return (
            "has expired, or its authority's has: compare this machine's clock with the server's; if they agree, have "
            "the server's certificates renewed"
        )
    if "not yet valid" in text:
        return "is not valid yet: compare this machine's clock with the server's"
    if "mismatch" in text:
        return (
            f"is not for this address ({text}): put an address of the certificate into the kubeconfig, or have the "
            "certificate issued for this one too"
        )
    return (
        "the kubeconfig's authority has not signed: the kubeconfig is for another cluster or out of date; get it anew "
        f"from the cluster ({text})"
    )


def _client(access: Access, transport: Any) -> Any:
    import httpx2
    from lightkube.config.client_adapter import ConnectionParams
    from lightkube.core.exceptions import ConfigError

    # The environment's web proxy is for the internet; clusters are reached directly.
    wanted = ConnectionParams(timeout=_patience(ANSWER_TIMEOUT_S), trust_env=False, transport=transport)
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    try:
        return httpx2.AsyncClient(**wanted.httpx_params(access.config), limits=limits)
    except (ConfigError, OSError, ValueError, ssl.SSLError) as error:
        raise BadKubeconfig(f"the kubeconfig's credentials cannot be used: {error}; get it anew") from error


def _patience(answer_s: float) -> Any:
    import httpx2

    return httpx2.Timeout(answer_s, connect=CONNECT_TIMEOUT_S)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _warnings(response: Any) -> list[str]:
    """What the answer's headers warn of: unknown fields, kinds that will go, pods that a level forbids."""
    found = (match for header in response.headers.get_list("warning") for match in _WARNING.findall(header))
    return [re.sub(r"\\(.)", r"\1", text)[:LONGEST] for text in found]


def _refused(response: Any, server: str = "") -> Exception:
    try:
        status = response.json()
    except ValueError:
        status = {"message": response.text[:LONGEST] or f"HTTP {response.status_code}"}
    if response.status_code == 401:
        return Unreachable(
            f"the API server at {server or response.url} does not accept the kubeconfig's credentials (401): "
            "they have expired or are for another cluster; get the kubeconfig anew"
        )
    return ApiError(response.status_code, status if isinstance(status, Mapping) else {})


async def _events(response: Any) -> AsyncIterator[Mapping[str, Any]]:
    import httpx2

    with suppress(httpx2.ReadTimeout):  # nothing has happened, or nobody is there any more: a new read will tell
        async for line in response.aiter_lines():
            if line:
                yield json.loads(line)


def _chain(error: BaseException | None) -> str:
    """The most telling text of an exception and its causes: the outermost is often empty."""
    texts = []
    while error is not None:
        if str(error):
            texts.append(str(error))
        error = error.__cause__ or error.__context__
    return texts[-1] if texts else "no reason given"
