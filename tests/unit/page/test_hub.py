import asyncio

import pytest

from pipeline.page import hub as hubs
from pipeline.page.hub import Hub, message


async def test_a_new_page_gets_the_whole_and_then_the_changes() -> None:
    hub = Hub()
    hub.publish("scores", {"rows": [1]})
    hub.publish("scores", {"rows": [1, 2]}, {"rows": [2]})
    stream = hub.stream()
    assert await anext(stream) == message("scores", {"rows": [1, 2]})
    hub.publish("scores", {"rows": [1, 2, 3]}, {"rows": [3]})
    assert await anext(stream) == message("scores", {"rows": [3]})
    await stream.aclose()


async def test_a_page_that_does_not_read_is_let_go_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "WAITING", 3)
    hub = Hub()
    hub.publish("state", 0)
    slow, quick = hub.stream(), hub.stream()
    assert await anext(slow) == await anext(quick) == message("state", 0)
    for number in range(1, 5):
        hub.publish("state", number)
        assert await anext(quick) == message("state", number)
    assert [said async for said in slow] == []
    assert len(hub._pages) == 1
    await quick.aclose()
    assert not hub._pages


async def test_silence_is_broken_by_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "TICK", 0.01)
    hub = Hub()
    stream = hub.stream()
    assert await anext(stream) == message("tick", {})
    await stream.aclose()


async def test_closing_ends_every_page() -> None:
    hub = Hub()
    hub.publish("state", 0)
    pages = [asyncio.create_task(_all(hub)) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hub.close()
    assert await asyncio.gather(*pages) == [[message("state", 0)]] * 3


async def _all(hub: Hub) -> list[bytes]:
    return [said async for said in hub.stream()]


def test_a_message_is_one_event_whatever_it_holds() -> None:
    said = message("note", {"text": "two\nlines\r\n\ndata: x"}).decode()
    assert said.startswith("event: note\ndata: ")
    assert said.endswith("\n\n")
    assert len(said.strip().splitlines()) == 2
