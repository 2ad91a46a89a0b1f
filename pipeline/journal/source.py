"""`Source`: the input partition of a journal. What it still holds, and whether it is the one that the journal knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.events.records import Records
from pipeline.journal.journal import JournalBroken
from pipeline.journal.log import Entry, Log


def records_of(entries: Sequence[Entry]) -> Records:
    """Entries of a log as a batch."""
    return Records.of([e.value for e in entries], [e.offset for e in entries], [e.time for e in entries])


class Source:
    """Reads an input partition for its journal.

    Args:
        log: the partition.
        name: for messages.

    Attributes:
        topic_id: what tells the topic from one made anew; empty before `check`, and where nobody can tell.
        expired: offsets that the broker deleted before they were read, each counted once. At most so many records are
            in no number: offsets without a record (transaction markers) are among them.
    """

    def __init__(self, log: Log, name: str) -> None:
        self.topic_id = ""
        self.expired = 0
        self._log = log
        self._name = name
        self._expired_to = 0

    async def check(self, applied: int, applied_time: int, topic_id: str) -> None:
        """Refuse a partition that is another one than the journal was written about.

        Args:
            applied: the last offset that is in the journal; -1 for none.
            applied_time: the broker's time of that record, milliseconds since 1970.
            topic_id: of the topic that they were read from; empty if the journal does not know.

        Raises:
            JournalBroken: the topic was made anew.
            Unknown: the log does not answer, call again.
        """
        found = await self._log.identity()
        if found and topic_id and found != topic_id:
            self._refuse(f"its id is {found}, and that of the topic that was read is {topic_id}")
        self.topic_id = topic_id or found
        await self.behind(applied)
        if applied < 0:
            return
        begin, _ = await self._log.bounds()
        position = applied
        while begin <= position <= applied:
            entries, position = await self._log.read(position, applied + 1)
            if any(entry.time != applied_time for entry in entries):
                self._refuse(f"offset {applied} is another record than the one that is counted")

    async def behind(self, applied: int) -> int:
        """Offsets beyond the applied one, read or not. Raises as `check`."""
        _, end = await self._log.bounds()
        if end <= applied:
            self._refuse(f"it ends at offset {end}, and offset {applied} is counted already")
        return end - 1 - applied

    async def read(self, start: int, stop: int, most: int) -> tuple[Records, int]:
        """At most so many records of [start, stop), and the offset to go on from. What is gone is passed over."""
        begin, _ = await self._log.bounds()
        if begin > start:
            self._count_expired(start, min(begin, stop))
        position = max(start, begin)
        if position >= stop:
            return Records.of([], [], []), stop
        entries, position = await self._log.read(position, stop)
        if len(entries) > most:
            entries, position = entries[:most], entries[most].offset
        return replace(records_of(entries), since=start), position

    def _count_expired(self, start: int, stop: int) -> None:
        start = max(start, self._expired_to)
        self.expired += max(0, stop - start)
        self._expired_to = max(self._expired_to, stop)

    def _refuse(self, found: str) -> None:
        msg = (
            f"the topic of {self._name} was made anew: {found}; new records would be taken for old ones. If that is "
            "meant, run `feedback reset`"
        )
        raise JournalBroken(msg)
