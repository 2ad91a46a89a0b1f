"""What a worker of the horizon's length leaves behind: journals with snapshots and sealed ids, deltas, and the roll."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from rich.progress import Progress

from bench.place import Place
from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.events.records import Records
from pipeline.journal.celltable import Cells
from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.effect import Effect
from pipeline.journal.grouping import Changes
from pipeline.journal.index import Ids
from pipeline.journal.journal import Journal
from pipeline.journal.leaves import Leaves
from pipeline.journal.outcomes import Outcome
from pipeline.journal.partition import Decision, SourcePartition
from pipeline.journal.roll_snapshot import RollSnapshots
from pipeline.journal.state import State
from pipeline.measures.cells import Series
from pipeline.measures.scoreboard import Scoreboard
from pipeline.streams.connection import client_options
from pipeline.streams.kafka_log import Broker, KafkaLog
from pipeline.streams.kafka_outputs import KafkaOutputs
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics

AT_ONCE = 40_000  # ids of an effect
HORIZON_MS = 7 * 86_400_000
CELLS_A_LEAF = 2
_SNAPSHOT_FLOOR = 16 << 20


class Filler:
    """Decides effects as busy source partitions would: new ids of the whole horizon, and a share of the cells.

    Args:
        partition: of the source; each has ids of its own.
        ids: how many it gets in all.
        series: how many leaves there are; every one occurs in every source partition.
    """

    max_records = 1
    horizon = HORIZON_MS

    def __init__(self, partition: int, ids: int, series: int) -> None:
        self.effects = -(-ids // AT_ONCE)
        self._sizes = np.diff(np.linspace(0, ids, self.effects + 1).astype(np.int64))
        self._leaves = np.array_split(np.arange(series), self.effects)
        self._series = series
        self._rng = np.random.default_rng(partition)
        self._end = int(time.time() * 1000)

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """One effect, whatever the records are."""
        k = state.sequence
        n, leaves, changes = int(self._sizes[k]), Leaves(state), Changes()
        numbers = np.array([leaves.number(_leaf(int(j))) for j in self._leaves[k]], np.int64)
        watermark = self._end - HORIZON_MS + (k + 1) * HORIZON_MS // self.effects
        for bin_ in range(CELLS_A_LEAF):
            bins = np.full(len(numbers), 4 + bin_)
            changes.add(numbers, np.full(len(numbers), self._end // 60_000), bins, 20, bins * 20_000)
        effect = Effect(
            sequence=k + 1,
            last=records.last,
            time=int(records.times[-1]),
            watermark=watermark,
            published=state.published,
            outcomes={(watermark // 86_400_000, Outcome.COUNTED): n},
            ids=self._ids(n, watermark),
            leaves=leaves.new,
            deltas={
                q: (state.numbers[q] + 1, cells) for q, cells in changes.by_partition(leaves.leaf, 4).items()
            },
        )
        return Decision(effect, 0, (), ())

    def _ids(self, n: int, watermark: int) -> Ids:
        rng = self._rng
        a, b = (rng.integers(1, 1 << 64, n, dtype=np.uint64) for _ in range(2))
        until = watermark - rng.integers(0, HORIZON_MS // self.effects, n)
        series = rng.integers(0, self._series, n).astype(np.int32)
        scores = rng.integers(0, 11, n).astype(np.int32)
        return Ids(a, b, until, np.zeros(n, np.int64), series, (until // 60_000).astype(np.int32), scores)


def _leaf(k: int) -> Series:
    instruments = (("csat", "csat_1_5"), ("nps", "nps_0_10"), ("ces", "ces_1_7"), ("csat", "csat_1_7"))
    k, kind = divmod(k, len(instruments))
    k, channel = divmod(k, 3)
    return Series(*instruments[kind], f"touchpoint_{k}", ("web", "app", "phone")[channel], "none")


async def fill(at: Place, records: int, series: int, progress: Progress) -> None:
    """Write journals, ids, deltas and snapshots as the worker does, through its own pieces."""
    settings = at.settings
    await ensure(settings)
    connection = Broker(client_options(settings))
    await connection.start()
    partitions = settings.kafka.partitions
    task = progress.add_task("filling the journals", total=records)
    fillers = [Filler(p, records // partitions, series) for p in range(partitions)]
    sources = [_source(settings, connection, filler, p) for p, filler in enumerate(fillers)]
    effects = fillers[0].effects
    in_snapshot = range(-(-effects * 3 // 4))
    try:
        for source in sources:
            await source.recover()
        for numbers in (in_snapshot, range(len(in_snapshot), effects)):
            for source in sources:
                for _ in numbers:
                    await _one_effect(settings, connection, source)
                    progress.advance(task, records / partitions / effects)
            if numbers is in_snapshot:
                for q in range(partitions):
                    await _snapshot_of_the_roll(settings, connection, q)
    finally:
        await connection.stop()


def _source(settings: Settings, connection: Broker, filler: Filler, p: int) -> SourcePartition:
    names = Topics(settings.kafka.prefix)
    return SourcePartition(
        "responses",
        p,
        settings.kafka.partitions,
        journal=Journal(
            KafkaLog(connection, names.journal_responses, p),
            KafkaLog(connection, names.ids_responses, p),
            f"{names.journal_responses}/{p}",
            secrets.token_hex(8),
        ),
        inputs=KafkaLog(connection, names.responses, p),
        outputs=KafkaOutputs(lambda: connection.outputs, settings.kafka.prefix),
        decide=filler,
        snapshot_floor=_SNAPSHOT_FLOOR,
    )


async def _one_effect(settings: Settings, connection: Broker, source: SourcePartition) -> None:
    topic, p = Topics(settings.kafka.prefix).responses, source.partition
    sent = await connection.producer.send_and_wait(topic, b"", partition=p)
    await source.apply(Records.of([b""], [sent.offset], [sent.timestamp]))
    await source.publish()
    await source.tidy()


async def _snapshot_of_the_roll(settings: Settings, connection: Broker, q: int) -> None:
    """Of one deltas partition, by an owner whose cells all arrived (nobody reads them here)."""
    names = Topics(settings.kafka.prefix)
    roll = DeltasPartition(
        f"{names.deltas}/{q}",
        deltas=KafkaLog(connection, names.deltas, q),
        snapshots=RollSnapshots(KafkaLog(connection, names.roll, q), secrets.token_hex(8)),
        new_board=partial(Scoreboard, settings.windows, settings.catalogue()),
        send=_nobody_reads,
        stranger=lambda _offset, _error: None,
    )
    await roll.recover()
    await roll.publish()
    if not await roll.snapshot():
        msg = "the snapshot of the roll does not stand"
        raise FeedbackError(msg)


async def _nobody_reads(_leaves: Sequence[Series], _cells: Cells) -> None:
    pass
