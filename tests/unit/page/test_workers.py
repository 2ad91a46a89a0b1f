"""Several workers make one page: every partition once, from whoever is furthest, and what is missing is known."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Listen
from pipeline.page import workers
from pipeline.page.hub import Hub
from pipeline.page.watch import Sources, Watch
from pipeline.page.workers import Refused, Workers, together
from tests.unit.page.test_board import row

OF = 4


def part(number: int, position: int) -> dict[str, Any]:
    return {
        "partition": number,
        "position": position,
        "scores": [row(f"p{number}", n=position)],
        "answers": [],
    }


def said(*parts: dict[str, Any], ready: bool = True, at: str = "2026-03-01T12:00:00Z") -> dict[str, Any]:
    return {"at": at, "ready": ready, "of": OF, "parts": list(parts)}


parts_of_a_worker = st.dictionaries(st.integers(0, OF - 1), st.integers(1, 9)).map(
    lambda held: said(*(part(*one) for one in held.items()))
)


@given(st.lists(parts_of_a_worker, min_size=1, max_size=4), st.randoms())
def test_each_partition_once_from_whoever_is_furthest(every: list[dict[str, Any]], random: Any) -> None:
    told = together(every)
    assert told is not None
    held = [(one["partition"], one["position"]) for worker in every for one in worker["parts"]]
    assert {p: one["position"] for p, one in told.parts.items()} == {
        p: max(position for q, position in held if q == p) for p, _ in held
    }
    assert [one["touchpoint"] for one in told.rows("scores")] == sorted({f"p{p}" for p, _ in held})
    assert told.whole == (len({p for p, _ in held}) == OF)
    random.shuffle(every)
    assert together(every) == told


def test_of_nobody_nothing_is_told_and_one_that_recovers_is_not_ready() -> None:
    assert together([]) is None
    told = together([said(part(0, 1), at="2026-03-01T12:00:01Z"), said(ready=False)])
    assert told is not None
    assert (told.at, told.ready, told.whole) == ("2026-03-01T12:00:01Z", False, False)


class Fleet:
    """Workers that answer what a test says: a dictionary, an HTTP status, or nothing at all."""

    def __init__(self) -> None:
        self.addresses: list[Listen] = []
        self.answers: list[Any] = []
        self._stack = AsyncExitStack()

    async def add(self, answer: Any) -> None:
        number = len(self.answers)
        self.answers.append(answer)

        async def scores(_: web.Request) -> web.Response:
            now = self.answers[number]
            if now is None:
                await asyncio.sleep(60)
            if isinstance(now, int):
                return web.Response(status=now, text="no such window")
            return web.json_response(now)

        app = web.Application()
        app.router.add_get("/scores", scores)
        server = await self._stack.enter_async_context(TestServer(app))
        self.addresses.append(Listen("127.0.0.1", server.port or 0))

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    made = Fleet()
    yield made
    await made.close()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as made:
        yield made


async def test_all_are_asked_and_who_is_away_hangs_or_is_somebody_else_holds_up_nobody(
    fleet: Fleet, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", workers.aiohttp.ClientTimeout(total=0.3))
    for answer in (said(part(0, 5)), said(part(0, 4), part(1, 1)), None, 500, ["no", "worker"], {"at": "x"}):
        await fleet.add(answer)
    nowhere = [Listen("127.0.0.1", 1), Listen("no-such-host.invalid", 80)]
    told = await Workers([*fleet.addresses, *nowhere], session).ask()
    assert told is not None
    assert {p: one["position"] for p, one in told.parts.items()} == {0: 5, 1: 1}
    assert await Workers(nowhere, session).ask() is None


async def test_a_wrong_question_is_refused(fleet: Fleet, session: ClientSession) -> None:
    await fleet.add(400)
    with pytest.raises(Refused, match="no such window"):
        await Workers(fleet.addresses, session).ask({"window": "2h"})


async def test_a_name_with_several_addresses_is_a_worker_at_each(
    fleet: Fleet, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.add(said(part(0, 1)))

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, 0)) for address in ("127.0.0.1", "127.0.0.1", "127.0.0.2")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    told = await Workers([Listen("worker", fleet.addresses[0].port)], session).ask()
    assert told is not None
    assert told.parts.keys() == {0}, "127.0.0.2 does not answer"


async def test_what_nobody_tells_just_now_stays_and_the_state_says_so() -> None:
    hub = Hub()
    watch = Watch(Sources((), ""), hub)

    def after(*every: dict[str, Any]) -> tuple[str, dict[str, int]]:
        watch._take(together(every))
        state: dict[str, Any] = hub._state
        shown = state.get("scores", {"rows": []})["rows"]
        return state["state"]["worker"], {one["touchpoint"]: one["n"] for one in shown}

    everything = {f"p{k}": 1 for k in range(OF)}
    assert after(said(part(0, 1), part(1, 1)), said(part(2, 1), part(3, 1))) == ("live", everything)
    assert after(said(part(0, 2), part(1, 1))) == ("partly", everything | {"p0": 2})
    assert after(said(part(0, 2), part(1, 1)), said(ready=False)) == ("catching_up", everything | {"p0": 2})
    assert after() == ("away", everything | {"p0": 2})
    empty = {"partition": 0, "position": 3, "scores": []}
    rest = {name: n for name, n in everything.items() if name != "p0"}
    assert after(said(empty, part(1, 1)), said(part(2, 1), part(3, 1))) == ("live", rest)
