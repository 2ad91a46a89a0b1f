"""`SourcePartition`: one source partition and its journal, from records to acknowledged outputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.events.checked import Checked
from pipeline.events.records import Records
from pipeline.events.rejected import Rejected
from pipeline.events.schemas import Unseen
from pipeline.journal.deltas import SPAN
from pipeline.journal.effect import Effect
from pipeline.journal.journal import Journal, Run, TooLarge, run_here
from pipeline.journal.log import Log
from pipeline.journal.outbox import Outbox, Outputs, Send
from pipeline.journal.source import Source
from pipeline.journal.state import State
from pipeline.journal.timers import MOST_AT_ONCE, Timers

Learn = Callable[[Sequence[int]], Awaitable[None]]


async def learn_nothing(ids: Sequence[int]) -> None:
    """The plainest `Learn`: everything is known that can be."""
    raise Unseen(ids)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a batch would change.

    Attributes:
        effect: the change itself.
        misplaced: records whose key belongs into another partition: their duplicates cannot be seen.
        rejected: records that cannot be counted.
        dead_letters: the same, ready to send.
        checked: the records and what was found in them, for whoever stores them.
    """

    effect: Effect
    misplaced: int
    rejected: tuple[Rejected, ...]
    dead_letters: tuple[Send, ...]
    checked: Checked | None = None


class Decider(Protocol):
    """Decides what records of one source do. Pure: a function of the state and the records.

    Attributes:
        max_records: how many at once make an effect that fits a journal record.
        horizon: milliseconds behind the watermark for which ids are remembered.
    """

    max_records: int
    horizon: int

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """`records` begin behind `state.applied`; nothing is changed. After `Unseen`: learn, call again."""
        ...


class SourcePartition:
    """Applies records of one source partition exactly once. One call at a time (`publish` may run beside it).

    Args:
        source: "responses" or "touchpoints".
        partition: its number.
        partitions: how many partitions every topic has.
        journal: its journal.
        inputs: the source partition itself, for ranges that the delivery left out.
        outputs: where deltas, derived records and dead letters go.
        decide: what records do.
        timers: what time alone does; None for a source that has no cases.
        learn: asks which schemas have these ids, however long that takes; afterwards `decide` knows.
        run: calls a function, perhaps in a thread, and awaits the result.
        snapshot_floor: bytes of effects below which the journal is not cut to a snapshot.

    Attributes:
        filled: records that the delivery left out and that were read here instead.
        span: hours that the roll keeps a cell open which nobody touches.
    """

    def __init__(
        self,
        source: str,
        partition: int,
        partitions: int,
        *,
        journal: Journal,
        inputs: Log,
        outputs: Outputs,
        decide: Decider,
        timers: Timers | None = None,
        learn: Learn = learn_nothing,
        run: Run = run_here,
        snapshot_floor: int = 16 << 20,
        span: int = SPAN,
    ) -> None:
        self.partition = partition
        self.journal = journal
        self.filled = 0
        self._source = Source(inputs, f"{source}/{partition}")
        self._decide = decide
        self._timers = timers
        self._learn = learn
        self._run = run
        self._snapshot_floor = snapshot_floor
        self._settled: list[Decision] = []  # and not told to the caller yet
        self._sent: Decision | None = None
        self._outbox = Outbox(source, partition, partitions, outputs, span)

    @property
    def state(self) -> State:
        """The fold of the journal so far."""
        return self.journal.state

    @property
    def expired(self) -> int:
        """Offsets of the source that were deleted before they were read."""
        return self._source.expired

    @property
    def sent(self) -> Mapping[tuple[str, int], int]:
        """See `Outbox`."""
        return self._outbox.sent

    async def recover(self) -> None:
        """Bring the state to the end of the journal.

        Raises:
            JournalBroken: the journal is not what it must be, or the source is another one than it tells of.
        """
        await self.journal.catch_up()
        await self._run(self.state.index.forget, self.state.watermark - self._decide.horizon)
        await self._source.check(self.state.applied, self.state.applied_time, self.state.topic_id)

    async def apply(self, records: Records) -> list[Decision]:
        """Settle records in offset order; what counted through this call, and through one before that broke off.

        Records may have been delivered before, and may begin too far ahead. When this returns, all of them are in the
        journal. Raises `Unknown` when the log does not answer: call again with the same records.
        """
        known = 0  # everything below is settled, or holds no record
        while len(records := records.after(self.state.applied)):
            known = max(known, self.state.applied + 1)
            now, _ = records.split(self._decide.max_records)
            if records.start > known:
                now, known = await self._missing(known, records.start)
            decision = await self._settle(now) if len(now) else None
            if len(now) and (decision is None or decision.effect.last < now.last):
                known = 0  # what was read is not settled, or only the first half of it
        self._claim()
        settled, self._settled = self._settled, []
        return settled

    async def behind(self) -> int:
        """Offsets of the source that are not settled yet. Raises `JournalBroken` if it was made anew."""
        return await self._source.behind(self.state.applied)

    async def read_on(self) -> tuple[Records, int]:
        """Some of the records behind the applied offset, without waiting for their delivery, and how far that goes."""
        position, records = self.state.applied + 1, Records.of([], [], [])
        end = position + await self.behind()
        while not len(records) and position < end:
            records, position = await self._source.read(position, end, self._decide.max_records)
        return records, position

    def overdue(self, clock: int) -> bool:
        """Whether time alone changes something by then, milliseconds since 1970."""
        state = self.state
        return self._timers is not None and bool(state.cases.due(clock, state.watermark, 1))

    async def pass_time(self, clock: int) -> int:
        """Take into account that time has come to `clock`, for as many cases as one effect holds; how many.

        What was not accepted, because somebody else was quicker, is still due. Raises as `apply`.
        """
        most = MOST_AT_ONCE
        while self._timers and (effect := await self._run(self._timers, self.state, clock, most)):
            self._claim()
            self._sent = None  # from here on `arrived` tells of the timer
            try:
                await self.journal.append(effect)
            except TooLarge:
                if most == 1:
                    raise
                most //= 2
            else:
                return len(effect.cases)
        return 0

    async def tidy(self) -> bool:
        """A snapshot, once the journal has grown; whether one was written. A failed one is left to the next time."""
        if not self.journal.due(self._snapshot_floor):
            return False
        return await self.journal.snapshot(self._decide.horizon)

    async def publish(self) -> int:
        """Send what accepted effects owe downstream; how many effects went out."""
        return await self._outbox.publish(self.state)

    async def _settle(self, records: Records) -> Decision | None:
        """Some of the first of these records; None if somebody else was quicker."""
        decision = await self._decided(records)
        if decision.dead_letters:
            # before the journal: were they sent after it, a crash in between would lose them; their key is the
            # position of the record, so that sending them again changes nothing
            await self._outbox.send(decision.dead_letters)
        effect = decision.effect
        if self._source.topic_id != self.state.topic_id:
            effect = replace(effect, topic_id=self._source.topic_id)
        self._claim()  # of what was sent before, if reading the journal has found it meanwhile
        self._sent = decision
        try:
            counts = await self.journal.append(effect)
        except TooLarge:
            if len(records) == 1:
                raise
            return await self._settle(records.split(len(records) // 2)[0])
        claimed = self._claim(counts=counts)
        self._sent = None  # nobody is in doubt about it any more
        return claimed

    def _claim(self, *, counts: bool = False) -> Decision | None:
        """What was sent last, if it counts, or turned out to after its acknowledgement was lost."""
        decision = self._sent if counts or self.journal.arrived else None
        if decision is not None:
            self._settled.append(decision)
            self._sent = None
        return decision

    async def _decided(self, records: Records) -> Decision:
        while True:
            try:
                decision: Decision = await self._run(self._decide, self.state, self.partition, records)
            except Unseen as unseen:
                await self._learn(unseen.ids)
            else:
                return decision

    async def _missing(self, start: int, stop: int) -> tuple[Records, int]:
        """Some of what the delivery left out in [start, stop), and how far that goes.

        Another owner was here, or the delivery lost something: so the journal is read first.
        """
        await self.journal.catch_up()
        if self.state.applied >= start:
            return Records.of([], [], []), self.state.applied + 1
        records, position = await self._source.read(start, stop, self._decide.max_records)
        self.filled += len(records)
        return records, position
