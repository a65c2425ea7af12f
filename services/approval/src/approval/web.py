"""The HTTP interface: citizens' page, applications, health, metrics."""

import asyncio
import hashlib
import logging
import re
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from uuid import UUID

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from approval import freshness
from approval.application import MAX_BODY_BYTES, parse
from approval.decision import REASONS, Reason
from approval.observability import LabelledRegistry, Metrics, reason_of
from approval.problems import Problem
from approval.settings import Settings
from approval.store import Answer, LocalView, Store

MAX_WRITES = 100
"""Number of applications that are processed at the same time. Further ones are refused immediately, because a queue
would only make all of them late."""

MAX_DRAINED_BYTES = 32 * 1024 * 1024
"""An oversized body is read and discarded up to this size, so that its sender receives the refusal and not a reset."""
BODY_TIMEOUT_S = 10.0
CLOSING_CODES = ("body_too_large", "too_slow")
"""Refusals that may be sent before the whole body has arrived. They close the connection; otherwise the server would
read the rest of the body without end."""
JSON_TYPE = r'application/json(\s*;\s*charset="?utf-8"?)?\s*;?'
CLIENT_GONE = 499
"""Status in log and metrics if the client disconnects in the middle of its request. It is never sent."""
READY_CACHE_S = 0.25
BEIJING_LEEWAY = timedelta(hours=14)
ROUTES = ("/", "/healthz", "/readyz", "/writez", "/metrics", "/v1/applications")
log = logging.getLogger("approval")


@dataclass
class HealthState:
    """State of this process. Times are seconds of the monotonic clock."""

    seen: freshness.LastHeartbeat | None = None
    heartbeat_s: float | None = None
    read_s: float | None = None
    started_s: float = field(default_factory=time.monotonic)
    caught_up: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def update(self, view: LocalView) -> None:
        """Record a successful read of the local copy."""
        now = time.monotonic()
        self.read_s = now
        self.seen = freshness.observe(self.seen, view.heartbeats, view.lag_s, now)
        self.caught_up = freshness.caught_up(self.caught_up, view.lag_s, now - self.started_s)

    def age(self) -> float | None:
        """Return the age of the local copy in seconds."""
        return freshness.age_s(self.seen, time.monotonic())

    def writable(self) -> bool:
        """Return whether this site's last heartbeat was recent."""
        return freshness.writable(self.heartbeat_s, time.monotonic())


def create_app(settings: Settings) -> ASGIApp:
    """Create the application of one instance. It connects to the databases when it starts, and starts without them."""
    metrics = Metrics(settings.site)
    store = Store(settings, on_decision=metrics.decision_seconds.observe)
    health = HealthState()
    _set_gauges(metrics, health, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await store.warm()
        health.tasks = [
            asyncio.create_task(_write_heartbeats(store, health)),
            asyncio.create_task(_follow_local_copy(store, health)),
        ]
        yield
        for task in health.tasks:
            task.cancel()
        await store.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=lifespan)
    _add_error_handlers(app)
    _add_pages(app, settings, metrics, store, health)
    _add_application_routes(app, settings, metrics, store, health)
    return RequestMiddleware(app, settings.site, metrics)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def refused(request: Request, problem: Problem) -> Response:
        return problem_response(problem, request.scope)

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        codes = {404: "path_unknown", 405: "method_not_allowed"}
        return problem_response(Problem(codes.get(error.status_code, "request_refused")), request.scope, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return problem_response(Problem("internal"), request.scope)


def problem_response(problem: Problem, scope: Scope, headers: object = None) -> Response:
    """Return the JSON response of a refusal, and store its code for the request's log line."""
    scope.setdefault("state", {})["code"] = problem.code
    response = JSONResponse(problem.body(), status_code=problem.explanation.status)
    if problem.explanation.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.explanation.retry_after_s)
    if problem.code in CLOSING_CODES:
        response.headers["Connection"] = "close"
    if isinstance(headers, dict) and "Allow" in headers:
        response.headers["Allow"] = headers["Allow"]
    return response


def _add_pages(app: FastAPI, settings: Settings, metrics: Metrics, store: Store, health: HealthState) -> None:
    page, policy = load_page()
    registry = LabelledRegistry(metrics.registry, settings.instance)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def citizens_page() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})

    @app.get("/healthz")
    async def healthy() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz")
    async def ready() -> Response:
        """Require a successful local read, and a copy that has caught up once since the start.

        A site therefore stays ready if there is no primary.
        """
        if health.read_s is None or time.monotonic() - health.read_s > READY_CACHE_S:
            health.update(await store.look_up(None))
        if not health.caught_up:
            raise Problem("catching_up")
        return JSONResponse({"status": "ok", "age_s": _rounded(health.age())})

    @app.get("/writez")
    async def able_to_write() -> Response:
        """Require that a write of this site was confirmed by the standbys within the last seconds."""
        if not health.writable():
            raise Problem("no_primary")
        return JSONResponse({"status": "ok"})

    @app.get("/metrics")
    async def scrape() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _add_application_routes(
    app: FastAPI, settings: Settings, metrics: Metrics, store: Store, health: HealthState
) -> None:
    async def apply(request: Request) -> Response:
        # Two keys are invalid, because two readers could each use a different one.
        key = canonical_key(", ".join(request.headers.getlist("idempotency-key")))
        request.state.key = key
        body = await read_body(request)
        check_content(request.headers.get("content-type"), request.headers.get("content-encoding"))
        application = parse(body, _today())
        if application.synthetic and not settings.synthetic:
            raise Problem("synthetic_off")
        answer = await store.submit(application, key)
        if not answer.replayed:
            metrics.decisions.labels(answer.decision, answer.reason_code, str(application.synthetic).lower()).inc()
        request.state.answer = answer
        return JSONResponse(answer_json(answer), status_code=200 if answer.replayed else 201)

    async def look_up(request: Request) -> Response:
        known = canonical_key(request.path_params["key"])
        request.state.key = known
        view = await store.look_up(known)
        health.update(view)
        if view.answer is None:
            raise Problem("not_found")
        body = answer_json(view.answer) | {
            "as_of": _iso(view.as_of) if view.as_of else None,
            "age_s": _rounded(health.age()),
        }
        del body["replayed"]
        return JSONResponse(body)

    # Plain routes: these handlers need no dependency injection, which would take a tenth of a request's time.
    app.add_route("/v1/applications", apply, methods=["POST"])
    app.add_route("/v1/applications/{key}", look_up, methods=["GET"])


def canonical_key(text: str | None) -> str:
    """Return the key in lower case if it is a UUID in its usual form with hyphens. Otherwise raise Problem."""
    if not text:
        raise Problem("key_missing", "Idempotency-Key")
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise Problem("key_invalid", "Idempotency-Key")
    return str(UUID(text))


def check_content(media_type: str | None, encoding: str | None) -> None:
    """Raise Problem unless the headers say that the body is uncompressed JSON in UTF-8.

    Missing headers count as that. The service never decompresses a body, because a small one could become huge.
    """
    if encoding is not None and encoding.strip().lower() != "identity":
        raise Problem("content_encoding", "Content-Encoding")
    if media_type is not None and not re.fullmatch(JSON_TYPE, media_type.strip(), re.IGNORECASE):
        raise Problem("content_type", "Content-Type")


async def read_body(request: Request) -> bytes:
    """Return the whole body, at most MAX_BODY_BYTES. Raise Problem if it is longer or too slow."""
    body = bytearray()
    length = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                length += len(chunk)
                if length > MAX_DRAINED_BYTES:
                    break
                if length <= MAX_BODY_BYTES:
                    body += chunk
    except TimeoutError:
        raise Problem("too_slow") from None
    if length > MAX_BODY_BYTES:
        raise Problem("body_too_large")
    return bytes(body)


def answer_json(answer: Answer) -> dict[str, object]:
    """Return the JSON of an acknowledgement. Clients read it and the ledger stores it."""
    return {
        "application_id": answer.application_id,
        "key": answer.key,
        "decision": answer.decision,
        "reason_code": answer.reason_code,
        "reason": REASONS[Reason(answer.reason_code)],
        "decided_at": _iso(answer.decided_at),
        "digest": answer.digest,
        "commit": {"timeline": answer.position.timeline, "lsn": answer.position.lsn},
        "replayed": answer.replayed,
    }


def load_page() -> tuple[str, str]:
    """Return the citizens' page, and a content security policy that allows only its own script and style."""
    page = (resources.files("approval") / "page.html").read_text(encoding="utf-8")
    script = _source_hash(page, "script")
    style = _source_hash(page, "style")
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def _source_hash(page: str, element: str) -> str:
    text = re.search(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
    assert text is not None
    return f"'sha256-{b64encode(hashlib.sha256(text[1].encode()).digest()).decode()}'"


def _today() -> date:
    """Return the latest date of all time zones, so that a clock some hours behind never causes a refusal."""
    return (datetime.now(UTC) + BEIJING_LEEWAY).date()


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _set_gauges(metrics: Metrics, health: HealthState, store: Store) -> None:
    metrics.writable.set_function(lambda: float(health.writable()))
    metrics.read_age.set_function(lambda: -1.0 if (age := health.age()) is None else age)
    metrics.connections.labels("write").set_function(lambda: store.writers.taken)
    metrics.connections.labels("read").set_function(lambda: store.readers.taken)


async def _write_heartbeats(store: Store, health: HealthState) -> None:
    """Write this site's heartbeat for ever. The loop waits for a hanging write, so there is never more than one."""
    failing = False
    while True:
        try:
            await store.write_heartbeat()
            health.heartbeat_s = time.monotonic()
            if failing:
                log.info("writes possible again")
            failing = False
        except Exception as error:
            if not failing:
                log.warning("writes impossible", extra={"fields": {"reason": reason_of(error)}})
            failing = True
        await asyncio.sleep(freshness.HEARTBEAT_INTERVAL_S)


async def _follow_local_copy(store: Store, health: HealthState) -> None:
    """Read the local copy for ever, so that its age is known even without requests."""
    while True:
        try:
            health.update(await store.look_up(None))
        except Problem:
            log.debug("the local copy cannot be read")
        await asyncio.sleep(freshness.HEARTBEAT_INTERVAL_S / 2)


class RequestMiddleware:
    """Middleware around all requests: site header, log line, metrics, and no error that reaches a client as 500."""

    def __init__(self, app: ASGIApp, site: str, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._site, self._metrics, self._clock = app, site, metrics, clock
        self._writes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = self._clock(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers()]
            await send(message)

        scope["state"] = {**scope.get("state", {})}
        writes = scope["method"] == "POST"
        self._writes += writes
        try:
            if writes and self._writes > MAX_WRITES:
                await problem_response(Problem("overloaded"), scope)(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = CLIENT_GONE
            scope["state"].pop("code", None)  # the framework's handler of all exceptions has set "internal"
        except Exception:
            log.exception("request failed", extra={"fields": {"path": scope["path"][:80]}})
            if not status:
                await problem_response(Problem("internal"), scope)(scope, receive, send_with_headers)
        finally:
            self._writes -= writes
        self._record(scope, status, self._clock() - started)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"x-govcloud-site", self._site.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        state = scope["state"]
        route = scope["path"] if scope["path"] in ROUTES else "other"
        if scope["path"].startswith("/v1/applications/"):
            route = "/v1/applications/{key}"
        self._metrics.requests.labels(route, str(status), state.get("code", "")).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if route in ("/healthz", "/readyz", "/writez", "/metrics") and status == 200:
            return
        fields = {"site": self._site, "method": scope["method"], "route": route, "status": status}
        fields |= {"ms": round(seconds * 1000, 1)} | {name: state[name] for name in ("code", "key") if name in state}
        answer: Answer | None = state.get("answer")
        if answer is not None:
            fields |= {
                "decision": answer.decision,
                "reason": answer.reason_code,
                "replayed": answer.replayed,
                "timeline": answer.position.timeline,
                "lsn": answer.position.lsn,
            }
        log.info("request", extra={"fields": fields})
