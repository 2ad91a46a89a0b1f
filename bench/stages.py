"""Where a record's microseconds go in the pure core: `python -m bench.stages`, without broker and threads.

Every stage is a function of the product itself with a stopwatch around it, so the list cannot drift from the code: a
function that is renamed fails here by its name.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

import numpy as np

from bench.responses import Responses, responses
from pipeline.cli.memory import keep_freed_memory
from pipeline.config import Settings
from pipeline.events import batch as batch_module
from pipeline.events import part as part_module
from pipeline.events.block import Block
from pipeline.events.joined import Joined
from pipeline.events.records import Records
from pipeline.events.skim import Skim
from pipeline.journal import decide as decide_module
from pipeline.journal import outcomes as outcomes_module
from pipeline.journal.callbacks import Callbacks
from pipeline.journal.deltas import Delta, pack_delta, unpack_delta
from pipeline.journal.effect import pack_effect
from pipeline.journal.grouping import Changes
from pipeline.journal.index import Index
from pipeline.journal.leaves import Leaves
from pipeline.journal.outcomes import Outcome
from pipeline.journal.rollup import Rollup
from pipeline.journal.state import State
from pipeline.measures.instruments import SHIPPED, bounds
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.windows import DEFAULT
from pipeline.stores.sink import encoded
from pipeline.streams.garbage import search_seldom
from pipeline.streams.outgoing import cell_pairs
from pipeline.streams.rows import rows_of, sources
from pipeline.streams.topics import Topics

BATCH = 25_000  # what a fetch brings of a partition, about
PARTITIONS = 4
_HORIZON_MS = 7 * 86_400_000


class Stopwatch:
    """CPU seconds and calls by stage. A stage within a stage is a part of it, and has a line of its own below it."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, ...], float] = {}
        self._calls: Counter[tuple[str, ...]] = Counter()
        self._within: tuple[str, ...] = ()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            outside, self._within = self._within, (*self._within, name)
            stage = self._within
            self._seconds.setdefault(stage, 0.0)
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._seconds[stage] += time.process_time() - started
                self._calls[stage] += 1
                self._within = outside

        return timed

    def inside(self, owner: Any, attribute: str, name: str) -> None:
        """Time a function where it is called: for good, this process does nothing else."""
        setattr(owner, attribute, self.around(name, getattr(owner, attribute)))

    def table(self, records: int) -> Iterator[str]:
        """One line a stage."""
        yield f"{'stage':<40}{'us/record':>11}{'us/call':>11}{'calls':>8}"
        for stage in sorted(self._seconds, key=self._place):
            seconds, calls = self._seconds[stage], self._calls[stage]
            name = "  " * (len(stage) - 1) + stage[-1]
            yield f"{name:<40}{seconds / records * 1e6:>11.3f}{seconds / calls * 1e6:>11.0f}{calls:>8}"

    def _place(self, stage: tuple[str, ...]) -> list[int]:
        """Of a line: below the stage that it is a part of, in the order of first calls."""
        order = list(self._seconds)
        return [order.index(stage[: k + 1]) for k in range(len(stage))]


def _inside(watch: Stopwatch) -> None:
    """The parts of a decision."""
    watch.inside(decide_module, "decode", "decode")
    watch.inside(Block, "of", "join the values")
    watch.inside(Skim, "run", "look at the fields")
    watch.inside(batch_module, "_strange_texts", "look at the texts")
    watch.inside(part_module, "frame", "columns")
    watch.inside(part_module, "id128", "hash the ids")
    watch.inside(decide_module, "label_responses", "check and label")
    watch.inside(part_module, "labels_of", "labels")
    watch.inside(Leaves, "numbers", "number the leaves")
    watch.inside(decide_module, "settle", "settle")
    watch.inside(outcomes_module, "repeats", "repeats in the batch")
    watch.inside(Index, "find", "look up the ids")
    watch.inside(Changes, "by_partition", "group into cells")
    watch.inside(Callbacks, "messages", "follow-ups")
    watch.inside(decide_module, "_outcomes", "count the outcomes")
    watch.inside(part_module, "partitions_of", "look for misplaced ones")


def batches(sent: Responses) -> Iterator[tuple[int, Records]]:
    """The records as a worker gets them: of each partition in turn, all with the time of now."""
    now = int(time.time() * 1000)
    rows = [np.flatnonzero(sent.partition == p) for p in range(PARTITIONS)]
    for first in range(0, max(map(len, rows)), BATCH):
        for p in range(PARTITIONS):
            values = Joined.of([sent.values[row] for row in rows[p][first : first + BATCH].tolist()])
            n = len(values)
            if n:
                yield p, Records(values, np.arange(first, first + n), np.full(n, now, np.int64))


def measure(sent: Responses) -> Stopwatch:
    """Everything that the worker does with the responses but for talking to others, one batch after the other."""
    watch = Stopwatch()
    callbacks = Callbacks(SHIPPED, Settings().follow_ups.milliseconds(), PARTITIONS)
    decider = decide_module.DecideResponses(
        "responses", SHIPPED, _HORIZON_MS, PARTITIONS, callbacks=callbacks
    )
    decide = watch.around("decide", decider)
    _inside(watch)
    pack = watch.around("pack the journal record", pack_effect)
    fold = watch.around("fold into the state", State.fold)
    watch.inside(Index, "put", "ids")
    states = [State() for _ in range(PARTITIONS)]
    roll, archive = _Roll(watch), _Archive(watch)
    for p, records in batches(sent):
        effect = decide(states[p], p, records).effect
        pack(effect)
        fold(states[p], effect)
        for q, (number, cells) in effect.deltas.items():
            roll.take(q, Delta("responses", p, number, effect.watermark, cells))
        roll.tick()
        archive.store(p, records)
    counted = sum(n for state in states for (_, o), n in state.outcomes.items() if o is Outcome.COUNTED)
    assert counted == sent.expected["counted"], "what was measured is not what was meant"
    return watch


class _Roll:
    """The deltas partitions, and a tick after each batch."""

    def __init__(self, watch: Stopwatch) -> None:
        self._pack = watch.around("pack deltas", pack_delta)
        self._unpack = watch.around("unpack deltas", unpack_delta)
        self._fold = watch.around("fold deltas into cells", Rollup.fold)
        self._add = watch.around("add to the windows", Scoreboard.add)
        self._news = watch.around("scores", Scoreboard.news)
        self._pairs = watch.around("encode cells", cell_pairs)
        self._rollups = [Rollup() for _ in range(PARTITIONS)]
        self._boards = [Scoreboard(DEFAULT, SHIPPED) for _ in range(PARTITIONS)]
        self._offset = 0

    def take(self, q: int, delta: Delta) -> None:
        delta = self._unpack(self._pack(delta))
        self._fold(self._rollups[q], self._offset, delta)
        self._offset += 1
        c = delta.cells
        self._add(self._boards[q], c.series, c.at, c.minute, c.bin, c.n, c.total)

    def tick(self) -> None:
        for rollup, board in zip(self._rollups, self._boards, strict=True):
            board.advance(int(time.time() * 1000))
            board.published(self._news(board))
            if rollup.waiting:
                batch = rollup.changed(rollup.waiting)
                self._pairs(rollup.leaves, batch.cells)
                rollup.published(batch)


class _Archive:
    """The raw rows; the store itself is not measured here."""

    def __init__(self, watch: Stopwatch) -> None:
        self._rows = watch.around("raw rows (decode all, check)", rows_of)
        self._encoded = watch.around("raw rows as Arrow", encoded)
        self._source = sources(Topics("bench"), bounds(SHIPPED))[0]

    def store(self, partition: int, records: Records) -> None:
        self._encoded(self._rows(self._source, partition, records).frame, compress=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--rate", type=float, default=1000.0)
    given = parser.parse_args(arguments)
    keep_freed_memory()
    search_seldom()
    watch = measure(responses(given.records, rate=given.rate))
    print("\n".join(watch.table(given.records)))


if __name__ == "__main__":
    main()
