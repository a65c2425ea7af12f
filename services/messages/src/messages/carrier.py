"""The adapter for the carrier: one HTTP request for each attempt to send a message.

    POST <MESSAGES_CARRIER_URL>/v1/messages
    Authorization: Bearer <MESSAGES_CARRIER_TOKEN>
    Idempotency-Key: <message ID>
    {"message_id": "…", "to": "+8613800138000", "text": "…", "receipt": {"url": "…", "context": "…"}}

2xx means that the carrier will deliver the message. Another carrier needs only another adapter: the class `Carrier`.
h11 and asyncio are enough for one request, and are already there for the server.
"""

import asyncio
import json
import ssl
from urllib.parse import SplitResult, urlsplit

import h11

from messages.policy import Answer, receipt_context
from messages.settings import Settings
from messages.store import Message
from messages.templates import render

PORTS = {"http": 80, "https": 443}
LONGEST_HEAD = 16 * 1024


class Carrier:
    """The carrier at `MESSAGES_CARRIER_URL`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = urlsplit(settings.carrier_url)
        self._tls: ssl.SSLContext | None = None
        if self._url.scheme == "https":
            self._tls = ssl.create_default_context(cafile=settings.carrier_ca or None)

    async def send(self, message: Message) -> Answer:
        """Make one attempt within `carrier_timeout`. If there is no answer, the result has no status."""
        try:
            async with asyncio.timeout(self._settings.carrier_timeout.total_seconds()):
                return await self._post(request(self._settings, self._url, message))
        except TimeoutError:
            return Answer(status=None, error="timeout")
        except ssl.SSLError:
            return Answer(status=None, error="tls")
        except OSError:
            return Answer(status=None, error="connection")
        except h11.RemoteProtocolError:
            return Answer(status=None, error="protocol")

    async def _post(self, sent: tuple[h11.Request, bytes]) -> Answer:
        host, port = self._url.hostname, self._url.port or PORTS[self._url.scheme]
        reader, writer = await asyncio.open_connection(host, port, ssl=self._tls)
        try:
            head, body = sent
            connection = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            while True:
                got = connection.next_event()
                if got is h11.NEED_DATA:
                    connection.receive_data(await reader.read(LONGEST_HEAD))
                elif isinstance(got, h11.Response):
                    return answer(got)
                elif not isinstance(got, h11.InformationalResponse):
                    raise h11.RemoteProtocolError("the connection was closed before the answer")
        finally:
            writer.transport.abort()


def request(settings: Settings, url: SplitResult, message: Message) -> tuple[h11.Request, bytes]:
    """Return head and body of the request for one message."""
    document: dict[str, object] = {
        "message_id": message.id,
        "to": f"+86{message.mobile}",
        "text": render(message.template, message.application_id),
    }
    if settings.receipts_url:
        context = receipt_context(settings.receipt_secret, message.id)
        document["receipt"] = {"url": settings.receipts_url, "context": context}
    body = json.dumps(document, ensure_ascii=False).encode()
    headers = [
        ("Host", url.netloc.rpartition("@")[2]),
        ("Authorization", f"Bearer {settings.carrier_token}"),
        ("Idempotency-Key", message.id),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    return h11.Request(method="POST", target=f"{url.path}/v1/messages", headers=headers), body


def answer(response: h11.Response) -> Answer:
    """Return status and Retry-After of a response. Its body is never read: the status decides."""
    after = dict(response.headers).get(b"retry-after", b"").decode("latin-1")
    seconds = float(after) if after.isascii() and after.isdigit() else None
    return Answer(status=response.status_code, retry_after_s=seconds)
