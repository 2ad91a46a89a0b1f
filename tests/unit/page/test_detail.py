import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from pipeline.config import Listen
from pipeline.page import detail
from pipeline.page.detail import Details
from pipeline.page.workers import Workers


class Worker:
    """Answers slowly, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def scores(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        self.reached.set()
        await self.go_on.wait()
        part = {"partition": 0, "position": 1, "scores": [len(self.asked)], "answers": []}
        return web.json_response({"at": "", "ready": True, "of": 1, "parts": [part]})


@pytest.fixture
async def worker() -> Worker:
    return Worker()


@pytest.fixture
async def details(worker: Worker) -> AsyncIterator[Details]:
    app = web.Application()
    app.router.add_get("/scores", worker.scores)
    async with TestServer(app) as server, ClientSession() as session:
        yield Details(Workers([Listen("127.0.0.1", server.port or 0)], session))


CHECKOUT = {"window": "1h", "touchpoint": "checkout"}


async def test_who_asks_the_same_shares_one_question_and_may_leave(details: Details, worker: Worker) -> None:
    first, *others = [asyncio.create_task(details.ask(CHECKOUT)) for _ in range(5)]
    await worker.reached.wait()
    first.cancel()
    worker.go_on.set()
    assert {(await each).body for each in others} == {b'{"scores": [1], "answers": []}'}
    assert worker.asked == [{"window": "1h", "touchpoint": "checkout", "channel": "", "segment": ""}]


async def test_an_answer_is_asked_for_again_when_it_is_old(
    details: Details, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.go_on.set()
    monkeypatch.setattr(detail, "FRESH", 0.0)
    said = [json.loads((await details.ask(CHECKOUT)).body)["scores"] for _ in range(2)]
    assert said == [[1], [2]]


async def test_too_many_different_questions_are_refused(
    details: Details, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.go_on.set()
    monkeypatch.setattr(detail, "AT_ONCE", 2)
    found = [(await details.ask(CHECKOUT | {"channel": channel})).status for channel in ("a", "b", "c", "a")]
    assert found == [200, 200, 503, 200]
    assert len(worker.asked) == 2
