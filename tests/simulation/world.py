"""One simulated run: workers, their tasks, what goes wrong around them, and what is watched while they run.

The same seed gives the same run: the scheduler resumes one coroutine at a time by hand, there is no event loop and no
clock. A step of the scheduler is the unit of time.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.events.records import Records
from pipeline.journal.callbacks import Callbacks
from pipeline.journal.celltable import Cells
from pipeline.journal.decide import DEAD_LETTERS, DecideResponses, DecideTouchpoints
from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.effect import Effect
from pipeline.journal.journal import Journal, run_here
from pipeline.journal.log import OutOfRange, Unknown
from pipeline.journal.partition import Decider, SourcePartition
from pipeline.journal.roll_snapshot import RollSnapshots
from pipeline.journal.timers import Timers, timer_clock
from pipeline.measures.buckets import HeldCells
from pipeline.measures.cells import Series
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.windows import Window
from tests.simulation.case_oracle import DUE_MS
from tests.simulation.disk import MARKER, Connection, Disk, Outputs, Wait
from tests.simulation.load import BEGIN, FINAL, HISTORIES, HORIZON, RECORDS, RULES, STEP, History, history

SOURCES = (("responses", 0), ("responses", 1), ("touchpoints", 0))
DELTAS = 2
WORKERS = 3
STEPS = 600  # in which everything may go wrong
LIMIT = 8_000  # until all must be quiet
STUCK = 50  # looks at a partition from which nothing comes, until its owner reads for itself
QUIET = 60  # for so long
SNAPSHOT_FLOOR = 2_500  # bytes
ROLL_FLOOR = 4_000
SPANS = ((26,), (1,), (0,), (0, 1))  # hours that cells stay open; workers need not agree
WINDOWS = (Window("1h", 3600), Window("2h", 7200))  # in a simulation those above an hour move by the hour
FAULTS = ("crashes", "pauses", "rebalances", "rebalances", "broker crashes", "checkpoints")
TROUBLE = (Unknown, OutOfRange)
DECIDE: Mapping[str, Decider] = {
    "responses": DecideResponses(
        "feedback.responses", SHIPPED, HORIZON, DELTAS, callbacks=Callbacks(SHIPPED, DUE_MS, DELTAS)
    ),
    "touchpoints": DecideTouchpoints("feedback.touchpoints", RULES, HORIZON, DELTAS),
}
TIMERS = {"touchpoints": Timers(RULES, DELTAS)}
Key = tuple[str, int]  # ("tally", place in SOURCES) or ("roll", deltas partition)


class Broken(AssertionError):
    """What must hold does not."""


@dataclass(eq=False)
class Worker:
    """A process: frozen until `asleep`, its clock `skew` milliseconds off."""

    asleep: int = 0
    skew: int = 0


@dataclass(eq=False)
class Tenure:
    """The time in which a worker believes that it owns a partition."""

    worker: Worker
    key: Key
    over: bool = False
    tally: SourcePartition | None = None
    roll: DeltasPartition[Any] | None = None


@dataclass(eq=False)
class Task:
    """A coroutine of a tenure."""

    run: Coroutine[None, None, None]
    tenure: Tenure


@dataclass
class Source:
    """A source partition, its journal, and what is known of them from outside."""

    name: str
    partition: int
    history: History
    arrived: int = 0
    committed: int = 0
    inputs: Disk = field(default_factory=Disk)
    journal: Disk = field(default_factory=Disk)
    ids: Disk = field(default_factory=Disk)
    places: dict[int, tuple[int, Any]] = field(default_factory=dict)  # number -> where it was taken, and what
    outcomes: dict[int, dict[Any, int]] = field(default_factory=dict)  # version -> rows
    told: dict[int, Any] = field(default_factory=dict)  # number -> what counters were told of it

    @property
    def last(self) -> int:
        """The offset of the last record."""
        values = self.history.values
        return max(k for k, value in enumerate(values) if value is not MARKER)


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, decide: Mapping[str, Decider] = DECIDE) -> None:
        self._decide = decide
        self.rng = rng = random.Random(seed)
        self.trouble: float = rng.choice([0.3, 1, 2])
        self.often = rng.choice([0.0, 0.2, 0.5])  # how often there is a snapshot that is not due
        self.most = rng.choice([3, 6, 9])  # records that a read gives
        self.spans = rng.choice(SPANS)
        self.down = False
        self.place = -1
        self.now = 0
        self.counts: Counter[str] = Counter()
        self.sources = [self._source(name, p) for name, p in SOURCES]
        self.disks: dict[tuple[str, int], Disk] = {}
        self.cells: dict[Any, tuple[int, int]] = {}  # (cell, part) -> the highest version, and its count
        self.versions: dict[Any, tuple[int, int]] = {}  # (cell, part, version) -> count and total
        self.workers = [Worker() for _ in range(WORKERS)]
        self.owner: dict[Key, Tenure] = {}
        self.tasks: list[Task] = []
        self.task: Task | None = None
        self._windows = rng.random() < 0.5
        self._run = self.elsewhere if rng.random() < 0.5 else run_here
        self._back = 0
        self._parts: list[SourcePartition] = []
        self._rolls = 0
        self._pending: list[tuple[int, Callable[[], object]]] = []
        self.outputs = Outputs(self, self.disk)

    def _source(self, name: str, partition: int) -> Source:
        source = Source(name, partition, history(name, self.rng.randrange(HISTORIES)))
        source.inputs = Disk(source.history.values)
        source.inputs.times = source.history.times
        return source

    def disk(self, topic: str, partition: int) -> Disk:
        """An output partition."""
        return self.disks.setdefault((topic, partition), Disk())

    async def elsewhere(self, function: Callable[..., Any], *args: Any) -> Any:
        """As in a thread: others run before it begins and after it has ended."""
        place = self.place
        await Wait()
        self.place = place
        result = function(*args)
        await Wait()
        return result

    def later(self, act: Callable[[], object], steps: int | None = None) -> None:
        """Do something at a later time."""
        self._pending.append((self.now + (self.rng.randint(1, 60) if steps is None else steps), act))

    def accepted(self, effect: Effect) -> None:
        """Whoever runs now counts this effect."""
        assert self.task is not None
        self.taken(self.task.tenure.key[1], self.place, effect)

    def taken(self, k: int, place: int, effect: Effect) -> None:
        """An effect counts for somebody: the same one at the same place for everybody."""
        found = (
            place,
            (effect.last, effect.watermark, tuple(effect.outcomes.items()), tuple(effect.cases.items())),
        )
        known = self.sources[k].places.setdefault(effect.sequence, found)
        if known != found:
            msg = f"number {effect.sequence} of the journal {SOURCES[k]} is taken as {known} and as {found}"
            raise Broken(msg)

    # workers

    def assign(self, key: Key, worker: Worker) -> None:
        """A rebalance: the one who had it may hear of it much later."""
        old = self.owner.get(key)
        if old is not None:
            self.later(lambda: setattr(old, "over", True), self.rng.choice([0, 20, 200]))
        tenure = self.owner[key] = Tenure(worker, key)
        runs = (
            (self._tally, self._tally_publisher) if key[0] == "tally" else (self._roll, self._roll_publisher)
        )
        self.tasks += [Task(run(tenure), tenure) for run in runs]

    async def _tally(self, tenure: Tenure) -> None:
        source = self.sources[tenure.key[1]]
        inputs = Connection(self, source.inputs, lambda: source.arrived)
        part = self._source_partition(source, inputs)
        await self._patiently(part.recover)
        tenure.tally = part
        position = source.committed
        while not tenure.over:
            try:
                entries, position = await self._delivery(inputs, part, position)
                if entries:
                    for decision in await self._patiently(part.apply, records_of(entries)):
                        self._told(source, decision.effect)
                    await self._tidy(part)
                if source.name in TIMERS and self.rng.random() < 0.2:
                    await self._pass_time(tenure, part, idle=not entries)
                if self.rng.random() < 0.3:
                    source.committed = position
            except TROUBLE:
                await Wait()

    async def _pass_time(self, tenure: Tenure, part: SourcePartition, *, idle: bool) -> None:
        """A timer, by a clock that may be wrong; sometimes the source only seems to be idle."""
        wall, idle = self.clock() + tenure.worker.skew, idle or self.rng.random() < 0.1
        clock = timer_clock(part.state.watermark, wall, idle=idle) if self.trouble else FINAL
        await self._patiently(part.pass_time, clock)
        self.counts["timers"] += 1

    def _told(self, source: Source, effect: Effect) -> None:
        """Counters would grow by this effect."""
        if effect.sequence in source.told:
            msg = f"{source.name}/{source.partition} tells of effect {effect.sequence} twice"
            raise Broken(msg)
        source.told[effect.sequence] = effect.last, effect.outcomes

    async def _tidy(self, part: SourcePartition) -> None:
        """When it is due; and when it is not, since nothing may hang on that."""
        before = part.state.snapshot_sequence
        if self.rng.random() < self.often:
            await part.journal.snapshot(HORIZON)
        else:
            await part.tidy()
        self.counts["snapshots"] += part.state.snapshot_sequence > before

    async def _delivery(
        self, inputs: Connection, part: SourcePartition, position: int
    ) -> tuple[list[Any], int]:
        """The next batch, or an old one, or one too far ahead; at the end what was dropped on the way."""
        _, end = await inputs.bounds()
        if self.rng.random() < 0.15 * self.trouble:
            position = self.rng.randint(0, end)
        if position >= end:
            position = min(end, part.state.applied + 1)
        return await inputs.read(position, end) if position < end else ([], position)

    async def _tally_publisher(self, tenure: Tenure) -> None:
        source, told = self.sources[tenure.key[1]], -1
        while not tenure.over:
            await Wait()
            part = tenure.tally
            if part is None:
                continue
            try:
                await part.publish()
                state = part.state
                if state.applied > told:
                    version, rows = state.applied, dict(state.outcomes)
                    await self._tell(source, version, rows)
                    told = version
            except Unknown:
                await Wait()

    async def _tell(self, source: Source, version: int, rows: dict[Any, int]) -> None:
        await Wait()
        if source.outcomes.setdefault(version, rows) != rows:
            msg = f"two outcomes of {source.name}/{source.partition} at version {version}"
            raise Broken(msg)

    async def _roll(self, tenure: Tenure) -> None:
        q = tenure.key[1]
        disk = self.disk("deltas", q)
        deltas = Connection(self, disk)
        part = self._deltas_partition(tenure, deltas)
        await self._patiently(part.recover)
        tenure.roll = part
        position, still = part.position, 0
        while not tenure.over:
            try:
                begin, end = await deltas.bounds()
                if self.rng.random() < 0.15 * self.trouble:
                    position = self.rng.randint(0, end)
                if position >= end:
                    position = min(end, part.position)
                position = max(begin, position)  # as a consumer does that finds its offset cut off
                still = 0 if position < end else still + 1
                if position < end:
                    entries, position = await deltas.read(position, end)
                    await self._patiently(part.apply, records_of(entries))
                    await self._tidy_roll(part)
                elif still > STUCK:
                    await part.recover()
                    still = 0
            except TROUBLE:
                await Wait()

    async def _tidy_roll(self, part: DeltasPartition[Any]) -> None:
        often = self.rng.random() < self.often
        self.counts["snapshots of the roll"] += await (part.snapshot() if often else part.tidy())

    async def _roll_publisher(self, tenure: Tenure) -> None:
        while not tenure.over:
            await Wait()
            part = tenure.roll
            if part is None or self.rng.random() < 0.5:
                continue
            if self._windows:
                part.board.advance(self.clock() + tenure.worker.skew)
            try:
                await part.publish()
            except Unknown:
                await Wait()

    async def _patiently(self, call: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                return await call(*args)
            except TROUBLE:
                await Wait()

    def _source_partition(self, source: Source, inputs: Connection) -> SourcePartition:
        journal = Journal(
            Connection(self, source.journal),
            Connection(self, source.ids),
            f"journal of {source.name}/{source.partition}",
            f"writer {len(self._parts)}",
            self._run,
        )
        part = SourcePartition(
            source.name,
            source.partition,
            DELTAS,
            journal=journal,
            inputs=inputs,
            outputs=self.outputs,
            decide=self._decide[source.name],
            timers=TIMERS.get(source.name),
            run=self._run,
            snapshot_floor=SNAPSHOT_FLOOR,
            span=self.rng.choice(self.spans),
        )
        self._parts.append(part)
        return part

    def _deltas_partition(self, tenure: Tenure, deltas: Connection) -> DeltasPartition[Any]:
        q = tenure.key[1]
        self._rolls += 1

        async def send(leaves: Sequence[Series], cells: Cells) -> None:
            await self._send_cells(leaves, cells)

        def new_board() -> Any:
            board = self.board()
            board.advance(self.clock() + tenure.worker.skew)
            return board

        return DeltasPartition(
            f"deltas/{q}",
            deltas=deltas,
            snapshots=RollSnapshots(Connection(self, self.disk("roll", q)), f"roll {self._rolls}"),
            new_board=new_board,
            send=send,
            stranger=self.stranger,
            pause=Wait,  # type: ignore[arg-type]  # an awaitable is all that is asked
            run=self.elsewhere,
            snapshot_floor=ROLL_FLOOR,
        )

    def board(self) -> Any:
        """An empty one for the windows of a deltas partition."""
        return Scoreboard(WINDOWS, SHIPPED) if self._windows else NoBoard()

    async def _send_cells(self, leaves: Sequence[Series], cells: Cells) -> None:
        """Some, all or none of them arrive; readers take the highest version."""
        await Wait()
        if self.down:
            raise Unknown("the broker is away")
        names = [leaves[k] for k in cells.leaf.tolist()]
        columns = (cells.minute, cells.bin, cells.part, cells.version, cells.n, cells.total)
        rows = list(zip(names, *(column.tolist() for column in columns), strict=True))
        fate = self.rng.random() / self.trouble if self.trouble else 1.0
        if fate < 0.05:
            rows = rows[: self.rng.randrange(len(rows) + 1)]
        if fate > 0.1:
            self._write_cells(rows)
        else:
            self.later(lambda: self._write_cells(rows))
        await Wait()
        if fate < 0.15:
            raise Unknown("no acknowledgement")

    def _write_cells(self, rows: Collection[Any]) -> None:
        for name, minute, bin_, part, version, n, total in rows:
            key = (*name, minute, bin_), part
            if self.versions.setdefault((key, version), (n, total)) != (n, total):
                msg = f"two values of the cell {key} at version {version}"
                raise Broken(msg)
            if version > self.cells.get(key, (-1, 0))[0]:
                self.cells[key] = version, n

    def stranger(self, offset: int, error: Exception) -> None:
        """See `DeltasPartition`."""
        msg = f"no delta at {offset}: {error!r}"
        raise Broken(msg)

    def clock(self) -> int:
        """The time now, milliseconds since 1970."""
        return BEGIN + min(self.now * RECORDS // STEPS, RECORDS) * STEP

    # what goes wrong

    def _fault(self) -> None:
        rng, worker = self.rng, self.rng.choice(self.workers)
        kind = rng.choice(FAULTS)
        self.counts[kind] += 1
        if kind == "crashes":
            self._crash(worker)
        elif kind == "pauses":
            worker.asleep = self.now + rng.randint(20, 300)
            if rng.random() < 0.7:
                self._move(worker)
        elif kind == "rebalances":
            worker.skew = rng.choice([0, 0, STEP, -STEP])
            self.assign(rng.choice(list(self.owner)), worker)
        elif kind == "broker crashes":
            self._broker_crash()
        else:
            for disk in self._journals():
                disk.kept = disk.start

    def _crash(self, worker: Worker) -> None:
        dead = [task for task in self.tasks if task.tenure.worker is worker]
        self.tasks = [task for task in self.tasks if task.tenure.worker is not worker]
        for task in dead:
            task.run.close()
        worker.asleep = 0
        self._move(worker)

    def _move(self, worker: Worker) -> None:
        for key, tenure in list(self.owner.items()):
            if tenure.worker is worker:
                self.assign(key, self.rng.choice(self.workers))

    def _broker_crash(self) -> None:
        self.down, back = True, self.now + self.rng.randint(5, 40)
        self._back = back
        for disk in self._journals():
            disk.crash(self.rng)

    def _journals(self) -> list[Disk]:
        """All that is ever truncated."""
        journals = [disk for source in self.sources for disk in (source.journal, source.ids)]
        return journals + [self.disk(topic, q) for topic in ("deltas", "roll") for q in range(DELTAS)]

    # the loop

    def run(self) -> None:
        """Until everything has been quiet for a while; raises `Broken`."""
        for k in range(len(SOURCES)):
            self.assign(("tally", k), self.rng.choice(self.workers))
        for q in range(DELTAS):
            self.assign(("roll", q), self.rng.choice(self.workers))
        try:
            self._loop()
        finally:
            for task in self.tasks:
                task.run.close()

    def _loop(self) -> None:
        quiet = None
        while quiet is None or self.now < quiet + QUIET:
            if self.now > LIMIT:
                msg = f"not quiet after {LIMIT} steps: {self.wrong()}"
                raise Broken(msg)
            self.now += 1
            self._time_passes()
            self._step()
            if self.now % 30 == 0 and not self.trouble and not self._pending:
                wrong = self.wrong()
                quiet = None if wrong else quiet or self.now

    def _time_passes(self) -> None:
        rng = self.rng
        if self.down and self.now >= self._back:
            self.down = False
        if self._pending:
            for due in [one for one in self._pending if one[0] <= self.now]:
                self._pending.remove(due)
                due[1]()
        if self.now <= STEPS:
            for source in self.sources:
                if rng.random() < RECORDS / STEPS * 1.3:
                    source.arrived = min(RECORDS, source.arrived + 1)
            if rng.random() < 0.014 * self.trouble:
                self._fault()
        elif self.trouble:
            self.trouble = 0  # what is under way still comes late
            for source in self.sources:
                source.arrived = RECORDS

    def _step(self) -> None:
        ready = self.tasks
        if any(worker.asleep > self.now for worker in self.workers):
            ready = [task for task in ready if task.tenure.worker.asleep <= self.now]
        if ready:
            self.task = self.rng.choice(ready)
            try:
                self.task.run.send(None)
            except StopIteration:
                self.tasks.remove(self.task)

    def happened(self) -> Counter[str]:
        """What the run went through."""
        total = Counter(self.counts, steps=self.now, owners=len(self._parts))
        for part in self._parts:
            counts = part.journal.counts
            total["conflicts"] += counts.conflicts
            total["appends in doubt"] += counts.unknown
            total["gaps filled"] += part.filled
        return total

    def wrong(self) -> list[str]:
        """What is not yet as it must be."""
        from tests.simulation.checks import differences

        return differences(self)


NOTHING = HeldCells((), *(np.zeros(0, kind) for kind in ("u4", "i4", "i4", "i8", "i8")))


class NoBoard:
    """Half of the seeds run without windows: they are no part of what is exactly once, and take their time."""

    def add(self, *_: Any) -> None:
        """See `Scoreboard`."""

    def advance(self, _: int) -> None:
        """See `Scoreboard`."""

    def settle(self, _: int) -> None:
        """See `Scoreboard`."""

    def held(self) -> HeldCells:
        """See `Scoreboard`."""
        return NOTHING

    def missing(self) -> dict[tuple[str, str], int]:
        """See `Scoreboard`."""
        return {}

    def miss(self, _: object) -> None:
        """See `Scoreboard`."""


def records_of(entries: Collection[Any]) -> Records:
    """Entries as a delivery."""
    if not entries:
        return Records.of([], [], [])
    offsets, values, times = zip(*entries, strict=True)
    return Records.of(values, offsets, times)


__all__ = ["DEAD_LETTERS", "Broken", "Source", "World"]
