"""The outbox: what accepted effects still have to send downstream, in order, by whoever owns the partition.

The mark `published` ends before the first send in doubt; from there everything is sent again. The contents of a number
never differ, so sending again does no harm; sending out of order would, because the roll takes the next number only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.events.partition import partition_of
from pipeline.journal.deltas import SPAN, CellChanges, Delta, pack_delta
from pipeline.journal.log import Unknown
from pipeline.journal.messages import Messages
from pipeline.journal.state import Outgoing, State

DELTAS = "deltas"
_AT_ONCE = 64
Pair = tuple[bytes | None, bytes]


@dataclass(frozen=True, slots=True)
class Send:
    """Records for one partition downstream.

    Attributes:
        topic: its name without the prefix.
        partition: of it.
        pairs: (key, value) of each record, in order.
    """

    topic: str
    partition: int
    pairs: Sequence[Pair]


class Outputs(Protocol):
    """Where sends go."""

    async def send(self, sends: Sequence[Send]) -> Sequence[int]:
        """Append all, in order within a partition; the last offset of each. Raises `Unknown` if any is in doubt."""
        ...


class Outbox:
    """Sends what the state of one source partition holds.

    Args:
        source: "responses" or "touchpoints".
        partition: its number.
        partitions: how many partitions every topic has.
        outputs: where the sends go.
        span: hours that the roll keeps a cell open which nobody touches.

    Attributes:
        sent: where the last record went that this owner has sent: topic without prefix, partition -> offset. Without
            deltas, which are numbered.
    """

    def __init__(
        self, source: str, partition: int, partitions: int, outputs: Outputs, span: int = SPAN
    ) -> None:
        self._source = source
        self._partition = partition
        self._partitions = partitions
        self._outputs = outputs
        self._span = span
        self.sent: dict[tuple[str, int], int] = {}

    async def send(self, sends: Sequence[Send]) -> Sequence[int]:
        """Send at once, and note where it went. Raises `Unknown`."""
        offsets = await self._outputs.send(sends)
        for send, offset in zip(sends, offsets, strict=True):
            if send.topic != DELTAS:
                place = send.topic, send.partition
                self.sent[place] = max(offset, self.sent.get(place, -1))
        return offsets

    async def publish(self, state: State) -> int:
        """Send what is due; how many effects went out. An `Unknown` leaves the mark where it is: call again."""
        due = sorted(s for s in list(state.outbox) if s > state.published)[:_AT_ONCE]
        if not due:
            return 0
        sends = [send for s in due for send in self._sends(state.outbox[s])]
        offsets = await self.send(sends)
        if not _ascending(sends, offsets):
            raise Unknown
        state.mark_published(due[-1])
        return len(due)

    def _sends(self, outgoing: Outgoing) -> list[Send]:
        deltas = [
            Send(DELTAS, q, [(None, pack_delta(self._delta(number, outgoing.watermark, cells)))])
            for q, (number, cells) in outgoing.deltas.items()
        ]
        return deltas + self._messages(outgoing.messages)

    def _messages(self, messages: Messages) -> list[Send]:
        """Those of one partition together."""
        places = messages.places
        if places is None:
            places = [partition_of(key, self._partitions) for key in messages.keys]
        together: defaultdict[tuple[str, int], list[Pair]] = defaultdict(list)
        columns = zip(messages.topics, places, messages.keys, messages.values, strict=True)
        for topic, place, key, value in columns:
            together[topic, place].append((key, value))
        return [Send(topic, place, pairs) for (topic, place), pairs in together.items()]

    def _delta(self, number: int, watermark: int, cells: CellChanges) -> Delta:
        return Delta(self._source, self._partition, number, watermark, cells, self._span)


def _ascending(sends: Sequence[Send], offsets: Sequence[int]) -> bool:
    """Acknowledged in the order in which they were sent, within each deltas partition."""
    last: dict[int, int] = {}
    for send, offset in zip(sends, offsets, strict=True):
        if send.topic == DELTAS:
            if offset <= last.get(send.partition, -1):
                return False
            last[send.partition] = offset
    return True
