import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from pipeline.errors import FeedbackError
from pipeline.sample import feed as feeding
from pipeline.sample.event import Event
from pipeline.sample.feed import Feed
from pipeline.sample.progress import HISTORY_MS, first, resumed, save

NOW = 1_790_164_800_000


class Broker:
    """Where the events end; `failures` says how many sends fail before it."""

    def __init__(self, failures: int = 0) -> None:
        self.events: list[Event] = []
        self.failures = failures

    async def send(self, events: Iterable[Event]) -> None:
        if self.failures:
            self.failures -= 1
            raise KafkaConnectionError
        self.events += events


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def live(feed: Feed, clock: Clock, milliseconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the live part while the clock moves on by so much, in steps of a second."""
    stop, end = asyncio.Event(), clock.now + milliseconds

    async def pause(stop: asyncio.Event, seconds: float) -> None:
        clock.now += 1000
        if clock.now >= end:
            stop.set()

    monkeypatch.setattr(feeding, "pause", pause)
    await feed.live(stop)


async def test_the_history_comes_first_and_once(tmp_path: Path, clock: Clock) -> None:
    broker, shares = Broker(), []
    feed = Feed(broker, tmp_path / "sample.json", 5, clock)
    await feed.catch_up(shares.append)
    assert len(broker.events) == feed.sent > 25_000
    assert shares == sorted(shares)
    assert shares[-1] == 1
    again = Feed(broker, tmp_path / "sample.json", 5, clock)
    await again.catch_up()
    assert again.sent == 0


async def test_a_second_start_goes_on_where_the_first_ended(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    feed = Feed(broker, tmp_path / "sample.json", 5, clock)
    await feed.catch_up()
    await live(feed, clock, 20_000, monkeypatch)
    clock.now += 3_600_000  # switched off for an hour
    second = Feed(broker, tmp_path / "sample.json", 2, clock)
    await second.catch_up()
    await live(second, clock, 20_000, monkeypatch)
    ids = [event.record.get("event_id") or event.record["response_id"] for event in broker.events]
    assert len(set(ids)) == len(ids)
    assert [event.at for event in broker.events] == sorted(event.at for event in broker.events)
    assert second.progress.traffic == feed.progress.traffic


async def test_a_broker_that_is_away_loses_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "PATIENCE", 0)
    broker = Broker(failures=2)
    feed = Feed(broker, tmp_path / "sample.json", 5, clock)
    await feed.catch_up()
    assert len(broker.events) == feed.sent
    broker.failures = 3
    before = len(broker.events)
    await live(feed, clock, 30_000, monkeypatch)
    assert broker.events[before:] == feed.progress.traffic.between(NOW, NOW + 29_000, 5, daily=False)


async def test_live_events_are_never_in_the_future(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    feed = Feed(broker, tmp_path / "sample.json", 20, clock)
    await feed.catch_up()
    await live(feed, clock, 5_000, monkeypatch)
    assert max(event.at for event in broker.events) < clock.now


def test_after_more_than_a_day_the_history_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "sample.json"
    save(path, first(NOW).upto(NOW))
    assert resumed(path, NOW + HISTORY_MS - 1) == first(NOW).upto(NOW)
    assert resumed(path, NOW + HISTORY_MS) == first(NOW + HISTORY_MS)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"seed": 1})])
def test_a_spoiled_file_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sample.json"
    path.write_text(text, "utf-8")
    with pytest.raises(FeedbackError, match="remove the data folder to start over"):
        resumed(path, NOW)
