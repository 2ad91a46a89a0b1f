"""`Journal`: the log of one source partition's effects, with the rule by which a writer may believe itself.

Writer rule: state changes only after the acknowledgement. If the acknowledged offset is not the expected one, somebody
else wrote; if there is no acknowledgement, nobody knows. In both cases: read the log from the place that was expected,
fold it, and decide again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pipeline.journal.effect import Effect, effect_of, pack_effect
from pipeline.journal.index import Ids
from pipeline.journal.log import MOST_BYTES, Log, Unknown
from pipeline.journal.pack import unpack
from pipeline.journal.reading import Reading, Tail
from pipeline.journal.segments import MissingSegment, SealedIds, needed, seal
from pipeline.journal.snapshot import Chunk, Gathering, chunk_of, chunks_of
from pipeline.journal.state import State

Run = Callable[..., Awaitable[Any]]


async def run_here(function: Callable[..., Any], *args: Any) -> Any:
    """The plainest `Run`: no thread."""
    return function(*args)


class JournalBroken(Exception):
    """The journal cannot be what it must be; nothing may be counted until somebody looked. Says what to do."""


class TooLarge(Exception):
    """An effect that no record of a log can hold. Nothing was written: decide on fewer records."""


@dataclass
class JournalCounts:
    """What the journal of one partition went through since this worker owns it."""

    conflicts: int = 0
    unknown: int = 0
    ignored: int = 0


class Journal:
    """State of one source partition and the place in the log up to which it was folded.

    Args:
        log: the journal partition.
        ids: the partition of the ids topic beside it.
        name: for messages.
        writer: a name that no other writer has, so that what two of them seal can be told apart.
        run: calls what takes long, perhaps in a thread.

    Attributes:
        state: the fold so far.
        next: the offset that the next record of ours must get.
        tail: what came into the journal since the last snapshot.
        arrived: whether the effect of the last `append` that was in doubt has been found in the log.
        snapshot_time: when that was written, as the log says, milliseconds since 1970; 0 before one was read.
    """

    def __init__(self, log: Log, ids: Log, name: str, writer: str, run: Run = run_here) -> None:
        self.state = State()
        self.next = 0
        self.tail = Tail()
        self.arrived = False
        self.snapshot_time = 0
        self.counts = JournalCounts()
        self._snapshot_bytes = 0
        self._doubtful = b""
        self._log = log
        self._ids = ids
        self._name = name
        self._writer = writer
        self._run = run
        self._started = False
        self._snapshots = 0
        self._gathering = Gathering({})
        self._sealed = SealedIds(ids)

    async def catch_up(self) -> None:
        """Fold the log up to its end as of now.

        Raises:
            Unknown, OutOfRange: the log does not answer, or was truncated meanwhile: call again.
            JournalBroken: records that must be there are not.
        """
        begin, end = await self._log.bounds()
        if self.next > end:
            self._lost(end)
        if self._started and self.next >= begin:
            await self._follow(end)
        else:
            await self._start_over(begin, end)

    async def append(self, effect: Effect) -> bool:
        """Write an effect decided on this very state; True if it counts. Otherwise the state was caught up.

        Raises:
            TooLarge: its record would be.
            Unknown: it may count or not; `arrived` says so once the state is caught up.
        """
        self.arrived = False
        effect = replace(effect, writer=self._writer)
        value: bytes = await self._run(pack_effect, effect)
        if len(value) > MOST_BYTES:
            raise TooLarge
        self._doubtful = value
        if not await self._put(value, partial(self._run, self.state.fold, effect)):
            return self.arrived
        self._doubtful = b""
        self.tail.add(value)
        return True

    def due(self, floor: int) -> bool:
        """Time for a snapshot: what is read at a recovery is at most about three times what is alive."""
        return self.tail.size >= max(floor, 2 * self._snapshot_bytes)

    async def snapshot(self, horizon: int) -> bool:
        """Seal the ids that changed, write the rest of the state into the journal, and truncate both logs behind it.

        Nothing hangs on it but the length of the journal: if it fails, the next one does it.

        Args:
            horizon: milliseconds behind the watermark for which ids are remembered.

        Returns:
            Whether the snapshot stands, every chunk of it at its expected place.
        """
        state, run = self.state, self._run
        limit = state.watermark - horizon
        self._snapshots += 1
        name = f"{self._writer}.{self._snapshots}"
        await run(state.index.forget, limit)
        changed: Ids = await run(state.changed_ids)
        sealed = (await seal(self._ids, changed, name),) if len(changed) else ()
        segments = needed((*state.segments, *sealed), limit)
        first = self.next
        chunks: list[bytes] = await run(chunks_of, state, segments, name)
        for chunk in chunks:
            if not await self._put(chunk, partial(self._stands, chunk)):
                return False
        state.sealed(segments)
        self._gathering.forget(state.useful)
        self.tail, self._snapshot_bytes = Tail(), sum(map(len, chunks))
        await self._log.truncate(first)
        if segments:
            await self._ids.truncate(segments[0].first)
        return True

    async def _put(self, value: bytes, accepted: Callable[[], Awaitable[Any]]) -> bool:
        """Append; True only if it took exactly the expected place. Otherwise the state has been caught up."""
        try:
            offset = await self._log.append(value)
        except Unknown:
            self.counts.unknown += 1
            await self.catch_up()
            return False
        if offset == self.next:
            await accepted()
            # last: whoever is interrupted before this reads the record again, and ignores it
            self.next = offset + 1
            return True
        self.counts.conflicts += 1
        if offset < self.next:
            self._lost(offset)
        await self.catch_up()
        return False

    async def _follow(self, end: int) -> None:
        """From where we stand. Of a snapshot of somebody else only its segments are new."""
        while self.next < end:
            entries, position = await self._log.read(self.next, end)
            for entry in entries:
                head, columns = unpack(entry.value or b"")
                if head["kind"] == "effect":
                    self.tail.add(entry.value)
                    self._take(effect_of(head, columns), entry.value)
                else:
                    self._pass(chunk_of(head, columns))
            self.next = position

    def _take(self, effect: Effect, value: bytes | None) -> None:
        if effect.sequence > self.state.sequence + 1:
            self._started = False  # our base is not on this log: a zombie's snapshot
            msg = f"the journal {self._name} goes on with {effect.sequence} after {self.state.sequence}"
            raise Unknown(msg)
        if not self.state.fold(effect):
            self.counts.ignored += 1
        elif value == self._doubtful:  # nobody else writes the same: it names its writer
            self.arrived = True

    async def _stands(self, chunk: bytes) -> None:
        """A chunk of ours: if we give up the snapshot, the others may still complete it, for everybody."""
        self._gather(chunk_of(*unpack(chunk)))

    def _pass(self, chunk: Chunk) -> None:
        """Mostly of somebody else's. Segments that the snapshot does not name may be gone: ours are now the same."""
        complete, state = self._gather(chunk), self.state
        if complete and chunk.sequence == state.sequence > state.snapshot_sequence:
            state.sealed(chunk.segments)
            self._gathering.forget(state.useful)
            self.tail = Tail()

    def _gather(self, chunk: Chunk) -> bool:
        """Whether a snapshot is complete with this chunk of it."""
        self._gathering.forget(self.state.useful)
        return self._gathering.take(chunk.sequence, chunk) is not None

    async def _start_over(self, begin: int, end: int) -> None:
        """From the first record that is left, by way of the snapshots among them."""
        reading = Reading(searching=begin > 0)
        position = begin
        while position < end:
            entries, position = await self._log.read(position, end)
            await self._run(reading.take, entries)
        if reading.searching or reading.ahead:
            self._refuse(begin, reading)
        try:
            await self._sealed.load(reading.state.segments, partial(self._run, reading.state.load_sealed))
        except MissingSegment as error:
            msg = f"the journal {self._name} names ids that are not there: {error}; run `feedback reset`"
            raise JournalBroken(msg) from error
        await self._run(reading.state.load_index)
        self.counts.ignored += reading.ignored
        self.state, self.next, self._started = reading.state, position, True
        self._gathering = reading.gathering
        self.tail, self._snapshot_bytes = reading.tail, reading.base
        self.snapshot_time = reading.base_time

    def _refuse(self, begin: int, reading: Reading) -> None:
        found = (
            "no complete snapshot" if reading.searching else f"a hole after effect {reading.state.sequence}"
        )
        msg = (
            f"the journal {self._name} begins at {begin} and has {found}: its records were deleted; its topic must "
            "have cleanup.policy=delete and retention.ms=-1 (`feedback setup` sets both); run `feedback reset`"
        )
        raise JournalBroken(msg)

    def _lost(self, offset: int) -> None:
        # offsets would be used a second time, which no rule can tell from the first: never go on
        msg = (
            f"the broker lost acknowledged records of the journal {self._name}: it stands at {offset}, "
            f"{self.next} was acknowledged; use replication 3 with min.insync.replicas=2, then run `feedback reset`"
        )
        raise JournalBroken(msg)
