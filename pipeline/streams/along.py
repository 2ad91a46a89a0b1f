"""`Along`: what the tallies of this process have read, checked and settled, for the archive to store as well.

Without it the archive fetches and decodes every record a second time. With it, it does so only where it must: where
another worker counts the partition, after an outage of the store, at a start. The archive stays who it was: a group,
positions and commits of its own. An offer is nothing but records that it need not fetch.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition

from pipeline.events.checked import Checked
from pipeline.events.records import Records

Offer = Callable[[str, int, Records], None]  # topic, partition
Taken = Mapping[TopicPartition, Sequence[Records]]
PATIENCE = 2.0  # seconds without an offer after which the archive looks for itself whether there is more
_ROOM = 128 << 20  # bytes: what is kept for an archive that waits for its store
_SMALL = 2048  # records; to decode fewer again, together with others, costs less than rows of their own
_AT_ONCE = 16 << 20  # bytes: more are taken the next time
_EACH = 60  # bytes that a record takes beside its value
_FOUND = 350  # and what was found in it, beside a copy of its value


def offer_nobody(topic: str, partition: int, checked: Records) -> None:
    """The plainest `Offer`: nobody in this process stores."""


class Along:
    """What is on offer of the partitions that the archive of this process reads.

    An offer never waits and promises nothing: what nobody wants, and what finds no room, is dropped.

    Args:
        topics: of which tallies in this process make offers.
        room: bytes of what is held.
        clock: seconds that never go back.
    """

    def __init__(
        self, topics: Iterable[str] = (), room: int = _ROOM, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topics = frozenset(topics)
        self._room = self._left = room
        self._clock = clock
        self._feeds: dict[TopicPartition, _Feed] = {}

    def want(self, partitions: Iterable[TopicPartition]) -> None:
        """These the archive reads from now on, and no others; what is held for it is given up."""
        now = self._clock()
        self._left = self._room
        self._feeds = {tp: _Feed(now) for tp in partitions if tp.topic in self._topics}

    def offer(self, topic: str, partition: int, records: Records) -> None:
        """Records that are counted; offers of a partition come in the order of its log.

        Where there is no room for what was found in them they are kept without: decoded again, but not fetched.
        """
        feed = self._feeds.get(TopicPartition(topic, partition))
        if feed is None:
            return
        feed.heard, feed.end = self._clock(), records.last + 1
        if len(records) < _SMALL or _size(records) > self._left:
            records = Records(records.values, records.offsets, records.times, since=records.since)
        if _size(records) <= self._left:
            self._left -= _size(records)
            feed.held.append(records)

    def take(self, tp: TopicPartition, position: int) -> Sequence[Records]:
        """Some of what goes on at `position` without a gap; what lies before it is given up."""
        held, taken, size = self._feeds[tp].held, list[Records](), 0
        while held and held[0].start <= position and size < _AT_ONCE:
            records = held.popleft()
            size += records.nbytes
            self._left += _size(records)
            rest = records.after(position - 1)
            if len(rest) and rest.goes_on(position):
                taken.append(rest)
                position = rest.last + 1
        self._feeds[tp] = self._feeds.pop(tp)  # the others come first the next time
        return taken

    def among(self, paused: Collection[TopicPartition]) -> Collection[TopicPartition]:
        """Partitions that are worth a look: something is or may soon be on offer, or they are `paused` for it."""
        return [tp for tp, feed in self._feeds.items() if feed.held or tp in paused or self._alive(feed)]

    def follows(self, tp: TopicPartition, position: int) -> bool:
        """Whether what comes at `position` is held, or worth waiting for: its tally is alive and has not passed it."""
        feed = self._feeds[tp]
        if feed.held and feed.held[0].goes_on(position):
            return True
        return feed.end <= position and self._alive(feed)

    def _alive(self, feed: _Feed) -> bool:
        return self._clock() - feed.heard < PATIENCE


@dataclass(slots=True)
class _Feed:
    """Of one partition: when an offer came last, where it ended, held or not, and what is held."""

    heard: float
    end: int = 0
    held: deque[Records] = field(default_factory=deque)


async def read_along(
    consumer: Any, along: Along, most: int, wanted: Callable[[], bool], readable: Container[TopicPartition]
) -> Taken:
    """What the tallies have for us. A partition is not fetched while it is worth waiting for its tally.

    Args:
        consumer: of the archive; its positions move behind what is taken, as if it had been fetched.
        along: what is on offer.
        most: with so many records it is enough for now.
        wanted: whether the partitions are still ours, asked after a wait.
        readable: which of them are to be read now.
    """
    taken: dict[TopicPartition, Sequence[Records]] = {}
    among = [tp for tp in along.among(consumer.paused()) if tp in readable]
    known = await known_positions(consumer, among)
    if not wanted():
        return {}
    for tp, position in known.items():
        so_far = [one for some in taken.values() for one in some]
        if sum(map(len, so_far)) >= most or sum(one.nbytes for one in so_far) >= _AT_ONCE:
            break
        if some := along.take(tp, position):
            taken[tp] = some
            position = some[-1].last + 1
            consumer.seek(tp, position)
        (consumer.pause if along.follows(tp, position) else consumer.resume)(tp)
    return taken


async def known_positions(consumer: Any, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The next offset of each of these partitions; without those whose beginning is not known yet."""
    waits = {tp: asyncio.create_task(consumer.position(tp)) for tp in partitions}
    if waits:
        await asyncio.wait(waits.values(), timeout=0.5)
    for wait in waits.values():
        wait.cancel()
    return {tp: wait.result() for tp, wait in waits.items() if wait.done() and not _failed(wait)}


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


def _size(records: Records) -> int:
    """About the bytes that it takes."""
    plain = records.nbytes + (len(records) + 8) * _EACH
    return plain + records.nbytes + len(records) * _FOUND if isinstance(records, Checked) else plain
