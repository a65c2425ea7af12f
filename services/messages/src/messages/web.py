"""The HTTP interface: receipts from the carrier, health, metrics."""

import asyncio
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from messages.carrier import Carrier
from messages.dispatcher import Dispatcher
from messages.observability import LabelledRegistry, Metrics, reason_of
from messages.policy import State, receipt_context
from messages.settings import Settings
from messages.store import Store, Unconfirmed

MAX_BODY_BYTES = 4096
BODY_TIMEOUT_S = 5.0
READY_FOR_S = 10.0
"""An instance is ready if the database has confirmed a poll within this time."""
CONTEXT = re.compile(r"[0-9a-f]{64}")
REASON = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
log = logging.getLogger("messages.web")

REFUSALS: dict[str, tuple[int, str, str]] = {
    "receipt_malformed": (400, "回执格式不正确。", "The receipt is malformed."),
    "receipt_refused": (403, "回执凭证不正确。", "The receipt's context is wrong."),
    "message_unknown": (404, "没有这条短信。", "There is no such message."),
    "too_large": (413, "回执过大。", "The receipt is too large."),
    "not_ready": (503, "暂时无法处理，请重试。", "The database cannot be written now. Retry."),
}


class Refused(Exception):
    """A refusal. `code` is a key of REFUSALS."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A receipt with a valid form. `context` authenticates it."""

    message_id: str
    state: State
    reason: str | None
    context: str


def create_app(settings: Settings) -> Starlette:
    """Create the application of one instance. It also runs the dispatcher, and starts without a database."""
    metrics = Metrics(settings.site)
    store = Store(settings)
    dispatcher = Dispatcher(settings, store, Carrier(settings), metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(dispatcher.run())
        yield
        dispatcher.stop()
        await running
        await store.close()

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        """Require a recent poll, so that a receipt can be stored. A carrier that is down changes nothing here."""
        return JSONResponse({"status": "ok"}) if dispatcher.polled_within(READY_FOR_S) else refusal("not_ready")

    async def scrape(_: Request) -> Response:
        text = generate_latest(LabelledRegistry(metrics.registry, settings.instance))
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def receive(request: Request) -> Response:
        try:
            meaning = await _receive(request, settings, store)
        except ClientDisconnect:
            meaning = "receipt_malformed"
        except Refused as refused:
            meaning = refused.code
        metrics.receipts.labels(meaning).inc()
        return refusal(meaning) if meaning in REFUSALS else JSONResponse({"status": meaning})

    return Starlette(
        routes=[
            Route("/healthz", live),
            Route("/readyz", ready),
            Route("/metrics", scrape),
            Route("/v1/receipts", receive, methods=["POST"]),
        ],
        lifespan=lifespan,
    )


async def _receive(request: Request, settings: Settings, store: Store) -> str:
    """Store one receipt and return its meaning. The answer follows the commit, so the carrier repeats a lost one."""
    receipt = parse(await _body(request))
    expected = receipt_context(settings.receipt_secret, receipt.message_id)
    if not hmac.compare_digest(receipt.context, expected):
        raise Refused("receipt_refused")
    try:
        meaning = await store.receive(receipt.message_id, receipt.state, receipt.reason)
    except (Unconfirmed, psycopg.Error, OSError) as error:
        log.warning("receipt not stored", extra={"fields": {"reason": reason_of(error)}})
        raise Refused("not_ready") from error
    if meaning == "unknown":
        raise Refused("message_unknown")
    return meaning


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise Refused("too_large")
    except TimeoutError:
        raise Refused("receipt_malformed") from None
    return bytes(body)


def parse(raw: bytes) -> Receipt:
    """Parse the body of a receipt. Raise Refused if a member is missing or wrong. Further members are ignored."""
    try:
        body: Any = json.loads(raw)
        message_id = str(UUID(body["message_id"]))
        state, context, reason = body["state"], body["context"], body.get("reason")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Refused("receipt_malformed") from None
    if state not in (State.DELIVERED.value, State.FAILED.value) or not isinstance(context, str):
        raise Refused("receipt_malformed")
    if reason is not None and not (isinstance(reason, str) and REASON.fullmatch(reason)):
        raise Refused("receipt_malformed")
    if not CONTEXT.fullmatch(context):
        raise Refused("receipt_refused")
    return Receipt(message_id=message_id, state=State(state), reason=reason, context=context)


def refusal(code: str) -> Response:
    """Return the response of a refusal. It has the same form as those of the approval service."""
    status, zh, en = REFUSALS[code]
    response = JSONResponse({"code": code, "message": zh, "message_en": en}, status_code=status)
    if status == 503:
        response.headers["Retry-After"] = "2"
    return response
