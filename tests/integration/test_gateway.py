"""The gateway over HTTP, with real brokers behind it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pipeline.cli.sending import scales_of, target_of
from pipeline.config import Settings
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.process import free_port
from pipeline.errors import FeedbackError
from pipeline.gateway.app import MAX_BODY
from pipeline.gateway.body import MAX_EVENTS
from pipeline.gateway.door import Door
from pipeline.gateway.server import serve
from pipeline.streams.setup import ensure
from tests.support import topic_log

Build = Callable[..., Settings]
TOKEN = "s3cret-tökən"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
PAID = {
    "type": "touchpoint",
    "source": "shop",
    "touchpoint": "checkout",
    "action": "order_paid",
    "channel": "web",
}
RATED = {
    "type": "response",
    "source": "shop",
    "instrument": "csat_1_5",
    "score": 5,
    "touchpoint": "checkout",
    "channel": "web",
}


class Client:
    """Sends to one gateway."""

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self._http = http
        self.address = address

    async def post(
        self, body: Any, headers: dict[str, str] | None = None, path: str = "/v1/events"
    ) -> tuple[int, Any, Any]:
        """Status, answer, headers."""
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        own = {"Content-Type": "application/json", **(HEADERS if headers is None else headers)}
        async with self._http.post(f"{self.address}{path}", data=data, headers=own) as answer:
            return answer.status, await answer.json(), answer.headers

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._http.get(f"{self.address}{path}") as answer:
            return answer.status, await answer.json()

    async def ready(self) -> None:
        await self.until(lambda answer: answer["ready"])

    async def until(self, holds: Callable[[Any], bool]) -> None:
        """Wait until /readyz says so."""
        while not holds((await self.get("/readyz"))[1]):  # noqa: ASYNC110 - it is another server's state
            await asyncio.sleep(0.05)


@asynccontextmanager
async def at(settings: Settings) -> AsyncIterator[Client]:
    """A client of a gateway of these settings."""
    listen = settings.gateway.listen
    door = Door(["another", TOKEN])
    async with (
        serve(listen.host, listen.port, target_of(settings), door, scales_of(settings)) as address,
        aiohttp.ClientSession() as http,
    ):
        yield Client(http, address)


@pytest.fixture
async def on_broker(settings: Build, kafka: str) -> Settings:
    """Topics set up on the broker of the test, and an instrument of one's own."""
    own = {"mood": {"metric": "csat", "min": 1, "max": 4, "direction": "high", "satisfied_from": 3}}
    made = settings(kafka={"bootstrap": kafka}, instruments=own)
    await ensure(made)
    return made


@pytest.fixture
async def client(on_broker: Settings) -> AsyncIterator[Client]:
    async with at(on_broker) as one:
        await one.ready()
        yield one


async def stored(settings: Settings, kind: str) -> list[dict[str, Any]]:
    return await topic_log.events(settings.kafka.bootstrap, f"{settings.kafka.prefix}.{kind}")


async def test_what_is_answered_with_202_is_in_the_log(client: Client, on_broker: Settings) -> None:
    status, one, _ = await client.post({**PAID, "event_id": "e", "occurred_at": "2026-01-01T01:00:00+01:00"})
    assert (status, one) == (202, {"accepted": 1, "ids": ["e"]})
    status, many, _ = await client.post([RATED, {**PAID, "customer_id": "c"}, {**RATED, "score": 1}])
    assert (status, many["accepted"], len(set(many["ids"]))) == (202, 3, 3)
    responses = {one["response_id"]: one for one in await stored(on_broker, "responses")}
    touchpoints = {one["event_id"]: one for one in await stored(on_broker, "touchpoints")}
    assert (responses.keys(), touchpoints.keys()) == ({many["ids"][0], many["ids"][2]}, {"e", many["ids"][1]})
    assert touchpoints["e"]["occurred_at"].isoformat() == "2026-01-01T00:00:00+00:00"


async def test_a_bad_list_names_every_fault_and_sends_nothing(client: Client, on_broker: Settings) -> None:
    bad = [
        PAID,
        {**RATED, "score": 6},
        {**RATED, "scor": 5, "channel": ""},
        {**RATED, "instrument": "csat"},
        7,
        {**RATED, "instrument": "mood", "score": 5},
    ]
    status, answer, _ = await client.post(bad)
    assert status == 400
    told = [(one["index"], one["field"], one["reason"]) for one in answer["faults"]]
    assert told[:3] == [
        (1, "score", "must be 1 to 5 on csat_1_5, not 6"),
        (2, "scor", "is not a field; did you mean score?"),
        (2, "channel", "must not be empty"),
    ]
    assert [one[:2] for one in told[3:]] == [(3, "instrument"), (4, None), (5, "score")]
    assert "mood" in told[3][2] and told[5][2] == "must be 1 to 4 on mood, not 5"
    assert await stored(on_broker, "touchpoints") == []


NO_EVENTS = {
    b"{": "is not JSON: Expecting property name",
    b"": "is not JSON",
    b"\xff\xff": "is not JSON",
    b"[" * 100_000: "is nested too deeply",
    b"[]": "the list is empty",
    json.dumps([0] * (MAX_EVENTS + 1)).encode(): "10,000 at once are the most",
    b'"text"': "must be a JSON object",
}
NO_TOKEN = (
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    f"Basic {TOKEN}",
    TOKEN,
    f"Bearer {TOKEN}x",
    "Bearer \xff",
)


async def test_a_body_that_is_no_events_is_400(client: Client) -> None:
    for body, reason in NO_EVENTS.items():
        status, answer, _ = await client.post(body)
        assert (status, reason in answer["faults"][0]["reason"]) == (400, True), body[:20]


async def test_without_its_token_nobody_gets_in(client: Client) -> None:
    for headers in ({}, *({"Authorization": value} for value in NO_TOKEN)):
        status, answer, told = await client.post(b"not even JSON", headers)
        assert (status, told["WWW-Authenticate"]) == (401, "Bearer"), headers
        assert answer == {"error": "a bearer token is needed"}


async def test_each_token_and_any_case_of_bearer_get_in(client: Client) -> None:
    for authorization in ("Bearer another", f"bearer {TOKEN}"):
        assert (await client.post(PAID, {"Authorization": authorization}))[0] == 202


async def test_json_is_taken_whatever_it_is_declared_as(client: Client) -> None:
    """`curl -d` and many an HTTP library say that it is a form."""
    for kind in (
        "application/x-www-form-urlencoded",
        "text/plain; charset=utf-8",
        "application/octet-stream",
    ):
        assert (await client.post(PAID, {**HEADERS, "Content-Type": kind}))[0] == 202, kind


async def test_unreadable_and_too_large_bodies_and_other_places(client: Client) -> None:
    status, answer, _ = await client.post(PAID, {**HEADERS, "Content-Encoding": "gzip"})
    assert (status, "Content-Encoding" in answer["error"]) == (400, True)
    status, answer, _ = await client.post(b"[" + b" " * MAX_BODY)
    assert (status, "send fewer events at once" in answer["error"]) == (413, True)
    status, answer = await client.get("/v1/events")
    assert status == 405
    assert (await client.post(PAID, path="/v1/other"))[0] == 404
    assert await client.get("/healthz") == (200, {"ok": True})
    assert await client.get("/readyz") == (200, {"ready": True, "reason": None})


async def test_many_requests_at_once_are_all_acknowledged(client: Client, on_broker: Settings) -> None:
    async def send(number: int) -> list[str]:
        while True:
            status, answer, told = await client.post([{**RATED, "response_id": f"r-{number}"}, PAID])
            if status == 202:
                return list(answer["ids"])
            assert status == 503 and int(told["Retry-After"]) > 0
            await asyncio.sleep(0.05)

    ids = [one for pair in await asyncio.gather(*(send(number) for number in range(200))) for one in pair]
    responses = [one["response_id"] for one in await stored(on_broker, "responses")]
    touchpoints = [one["event_id"] for one in await stored(on_broker, "touchpoints")]
    assert sorted([*responses, *touchpoints]) == sorted(ids)


async def test_while_the_broker_is_away_it_says_503_and_then_goes_on(settings: Build, tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "broker", port=free_port())
    made = settings(kafka={"bootstrap": broker.bootstrap})
    try:
        async with at(made) as client:
            status, answer, told = await client.post(PAID)
            assert (status, int(told["Retry-After"]) > 0) == (503, True)
            assert "send the same again" in answer["error"]
            assert (await client.get("/readyz"))[0] == 503
            assert await client.get("/healthz") == (200, {"ok": True})
            await asyncio.to_thread(broker.start().wait_ready)
            await ensure(made)
            await client.ready()
            assert (await client.post({**PAID, "event_id": "first"}))[0] == 202
            broker.stop()
            status, answer, _ = await client.post({**PAID, "event_id": "in doubt"})
            assert (status, answer["ids"]) == (503, ["in doubt"])
            assert (await client.post(PAID))[0] == 503
            await asyncio.to_thread(broker.start().wait_ready)
            await client.ready()
            assert (await client.post({**PAID, "event_id": "in doubt"}))[0] == 202
            found = {one["event_id"] for one in await stored(made, "touchpoints")}
            assert found == {"first", "in doubt"}
    finally:
        broker.stop()


async def test_a_missing_topic_is_503_with_what_to_do(settings: Build, kafka: str) -> None:
    async with at(settings(kafka={"bootstrap": kafka})) as client:
        await client.until(lambda answer: "feedback setup" in answer["reason"])
        status, answer, _ = await client.post(PAID)
        assert (status, "run `feedback setup`" in answer["error"]) == (503, True)


async def test_a_taken_address_is_one_sentence(settings: Build, client: Client) -> None:
    port = int(client.address.rpartition(":")[2])
    taken = settings(gateway={"listen": f"127.0.0.1:{port}"})
    with pytest.raises(FeedbackError, match=r"cannot listen at 127\.0\.0\.1:.*set gateway\.listen"):
        async with at(taken):
            pass


async def test_the_command_serves_and_ends_with_0_on_sigterm(
    on_broker: Settings, variables: Callable[..., dict[str, str]]
) -> None:
    kafka = {"bootstrap": on_broker.kafka.bootstrap, "prefix": on_broker.kafka.prefix}
    listen = str(on_broker.gateway.listen)
    environment = variables(kafka=kafka, gateway={"tokens": ["one", "two"], "listen": listen})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline", "gateway", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr
        while listen not in (line := (await process.stderr.readline()).decode()):
            assert line, "the gateway ended"
        async with aiohttp.ClientSession() as http:
            client = Client(http, f"http://{listen}")
            await client.ready()
            assert (await client.post(RATED, {"Authorization": "Bearer two"}))[0] == 202
        process.send_signal(signal.SIGTERM)
        rest = await process.stderr.read()
        assert await process.wait() == 0, rest.decode()
        assert b"Traceback" not in rest
    finally:
        if process.returncode is None:
            process.kill()
    assert len(await stored(on_broker, "responses")) == 1


async def test_the_command_wants_a_token(variables: Callable[..., dict[str, str]]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline", "gateway", env=variables(), stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 1
    assert b"set gateway.tokens, or FEEDBACK_GATEWAY__TOKENS" in told
    assert os.environ.get("FEEDBACK_GATEWAY__TOKENS") is None
