"""`POST /v1/events`: events over HTTP, acknowledged by the broker before they are answered.

| status | means |
|---|---|
| 202 | the broker has all events; `ids` in the order of the request |
| 400 | nothing was sent; `faults` names index, field and reason of everything that is wrong |
| 401 | no token, or a wrong one |
| 408 | the body came too slowly |
| 413 | the body is too large; send fewer events at once |
| 503 | the broker is away: send the same again, with the ids in `ids`, after `Retry-After` seconds |

After a 503 the events may have arrived all the same. Under the same ids they count once, so an app that
retries should give its events ids of its own, or take those of the answer.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from pipeline.client.errors import BufferFullError, ClosedError, DeliveryError
from pipeline.client.message import Message, Rules
from pipeline.client.scales import Scales
from pipeline.client.transport import Transport
from pipeline.gateway.body import BodyError, messages_of
from pipeline.gateway.door import Door

MAX_BODY = 4 * 1024 * 1024
# Bodies and events in the making, on top of the transport's own buffer.
MAX_REQUESTS = 64
RETRY_AFTER = 2
# A body that comes more slowly than this holds a place for nothing.
BODY_SECONDS = 30.0


class Gateway:
    """The handlers, over a transport that somebody else opens and closes."""

    def __init__(self, transport: Transport, door: Door, scales: Scales, ack_seconds: float = 10.0) -> None:
        self._transport = transport
        self._door = door
        self._scales = scales
        self._ack_seconds = ack_seconds
        self._requests = 0

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors_as_json])
        app.router.add_post("/v1/events", self.events)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)
        return app

    async def events(self, request: web.Request) -> web.Response:
        """Take events in."""
        if not self._door.admits(request.headers.get("Authorization")):
            return _answer(401, {"error": "a bearer token is needed"}, {"WWW-Authenticate": "Bearer"})
        if self._transport.trouble:
            return _away(self._transport.trouble)
        if self._requests >= MAX_REQUESTS:
            return _away("too many requests at once")
        self._requests += 1
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
            return await self._take(body)
        except web.RequestPayloadError:
            answer = _answer(
                400, {"error": "the body cannot be read: it is not what its Content-Encoding says"}
            )
            answer.force_close()  # nobody knows where the next request begins
            return answer
        except TimeoutError:
            return _answer(408, {"error": f"the body did not come within {BODY_SECONDS:g} s"})
        finally:
            self._requests -= 1

    async def _take(self, body: bytes) -> web.Response:
        rules = Rules(now=time.time_ns() // 1_000_000, scales=self._scales, known_only=True)
        try:
            messages = messages_of(body, rules)
        except BodyError as fault:
            return _answer(400, {"error": "nothing was sent", "faults": fault.faults})
        try:
            await self._transport.deliver(messages, self._ack_seconds)
        except DeliveryError as fault:
            return _away(fault.reason, messages)
        except (BufferFullError, ClosedError) as fault:
            return _away(str(fault), messages)
        return _answer(202, {"accepted": len(messages), "ids": [message.id for message in messages]})

    async def healthz(self, _: web.Request) -> web.Response:
        """The process is alive."""
        return _answer(200, {"ok": True})

    async def readyz(self, _: web.Request) -> web.Response:
        """Events would get through."""
        trouble = self._transport.trouble
        return _answer(503 if trouble else 200, {"ready": not trouble, "reason": trouble})


def _away(reason: str, messages: list[Message] | None = None) -> web.Response:
    answer: dict[str, Any] = {"error": f"not acknowledged: {reason}; send the same again"}
    if messages:
        answer["ids"] = [message.id for message in messages]
    return _answer(503, answer, {"Retry-After": str(RETRY_AFTER)})


def _answer(status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(content, status=status, headers=headers)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """Aiohttp's own answers (404, 405, 413) in our form."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as fault:
        headers = {"Allow": fault.headers["Allow"]} if "Allow" in fault.headers else None
        text = _TEXTS.get(fault.status, fault.reason)
        return _answer(fault.status, {"error": text}, headers)
    return response


_TEXTS = {
    404: "there is only POST /v1/events, /healthz and /readyz",
    413: f"the body is over {MAX_BODY:,} bytes: send fewer events at once",
}
