"""`SourcePartition`: one source partition and its journal, from records to acknowledged outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.events.records import Records
from pipeline.events.rejected import Rejected
from pipeline.journal.effect import Effect
from pipeline.journal.journal import Journal, Run, run_here
from pipeline.journal.log import Log
from pipeline.journal.outbox import Outbox, Outputs, Send
from pipeline.journal.state import State


@dataclass(frozen=True, slots=True)
class Decision:
    """What a batch would change.

    Attributes:
        effect: the change itself.
        misplaced: records whose key belongs into another partition: their duplicates cannot be seen.
        rejected: records that cannot be counted.
        dead_letters: the same, ready to send.
    """

    effect: Effect
    misplaced: int
    rejected: tuple[Rejected, ...]
    dead_letters: tuple[Send, ...]


class Decider(Protocol):
    """Decides what records of one source do. Pure: a function of the state and the records.

    Attributes:
        max_records: how many at once make an effect that fits a journal record.
        horizon: milliseconds behind the watermark for which ids are remembered.
    """

    max_records: int
    horizon: int

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """`records` begin behind `state.applied`; nothing is changed."""
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
        run: calls a function, perhaps in a thread, and awaits the result.
        snapshot_floor: bytes of effects below which the journal is not cut to a snapshot.
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
        run: Run = run_here,
        snapshot_floor: int = 16 << 20,
    ) -> None:
        self.partition = partition
        self.journal = journal
        self.filled = 0
        self._inputs = inputs
        self._outputs = outputs
        self._decide = decide
        self._run = run
        self._snapshot_floor = snapshot_floor
        self._outbox = Outbox(source, partition, partitions, outputs)

    @property
    def state(self) -> State:
        """The fold of the journal so far."""
        return self.journal.state

    async def recover(self) -> None:
        """Bring the state to the end of the journal."""
        await self.journal.catch_up()
        await self._run(self.state.index.forget, self.state.watermark - self._decide.horizon)

    async def apply(self, records: Records) -> list[Decision]:
        """Settle records in offset order; what of them counted through this call.

        Records may have been delivered before, and may begin too far ahead. When this returns, all of them are in the
        journal. Raises `Unknown` when the log does not answer: call again with the same records.
        """
        decisions: list[Decision] = []
        complete = False
        while len(records := records.after(self.state.applied)):
            if not complete and records.first > self.state.applied + 1:
                records = await self._with_what_is_missing(records)
                complete = True
                continue
            now, _ = records.split(self._decide.max_records)
            decision = await self._settle(now)
            if decision is not None:
                decisions.append(decision)
        return decisions

    async def tidy(self) -> bool:
        """A snapshot, once the journal has grown; whether one was written. A failed one is left to the next time."""
        if not self.journal.due(self._snapshot_floor):
            return False
        return await self.journal.snapshot(self._decide.horizon)

    async def publish(self) -> int:
        """Send what accepted effects owe downstream; how many effects went out."""
        return await self._outbox.publish(self.state)

    async def _settle(self, records: Records) -> Decision | None:
        decision: Decision = await self._run(self._decide, self.state, self.partition, records)
        if decision.dead_letters:
            # before the journal: were they sent after it, a crash in between would lose them; their key is the
            # position of the record, so that sending them again changes nothing
            await self._outputs.send(decision.dead_letters)
        return decision if await self.journal.append(decision.effect) else None

    async def _with_what_is_missing(self, records: Records) -> Records:
        """Delivery skipped ahead: another owner was here, or the delivery lost something. First the journal."""
        await self.journal.catch_up()
        start = self.state.applied + 1
        if not len(records.after(self.state.applied)) or records.first <= start:
            return records
        missing = await read_records(self._inputs, start, records.first)
        self.filled += len(missing)
        return Records.concat([missing, records]) if len(missing) else records


async def read_records(log: Log, start: int, stop: int) -> Records:
    """All records of [start, stop) that still exist."""
    begin, _ = await log.bounds()
    position = max(start, begin)
    parts: list[Sequence[tuple[int, bytes | None, int]]] = []
    while position < stop:
        entries, position = await log.read(position, stop)
        parts.append(entries)
    rows = [row for part in parts for row in part]
    return Records.of(
        [value for _, value, _ in rows], [offset for offset, _, _ in rows], [time for *_, time in rows]
    )
