"""Each rule replaced by what one would write without thinking of it. The simulation must then fail.

A control is a context manager that puts the naive rule into the product for as long as it is open.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl

from pipeline.events.records import Records
from pipeline.journal import journal, outcomes, roll_snapshot
from pipeline.journal.celltable import CellTable
from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.hours import HOUR_MS, Hours
from pipeline.journal.index import NEVER
from pipeline.journal.journal import Journal
from pipeline.journal.log import Unknown
from pipeline.journal.outbox import Outbox
from pipeline.journal.partition import SourcePartition
from pipeline.journal.reading import Reading
from pipeline.journal.roll_snapshot import RollSnapshots
from pipeline.journal.rollup import Changed, Folded, Rollup
from pipeline.journal.snapshot import Gathering, load_state
from pipeline.journal.state import State
from pipeline.measures.scoreboard import Scoreboard
from tests.simulation import rebuilds
from tests.simulation.case_controls import CASE_CONTROLS

Control = Callable[[], contextlib.AbstractContextManager[None]]
_fold, _roll, _snapshot = State.fold, Rollup.fold, Reading._snapshot
_difference = rebuilds.difference
_one_version_each, _needed, _chunks_of = outcomes._one_version_each, journal.needed, journal.chunks_of


def _replaced(*places: tuple[Any, str, Any]) -> Control:
    @contextlib.contextmanager
    def control() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for owner, name, naive in places:
                stack.enter_context(patch.object(owner, name, naive))
            yield

    return control


def _fold_anything(state: State, effect: Any) -> bool:
    state.sequence = effect.sequence - 1
    return _fold(state, effect)


async def _believe_yourself(self: Any, value: bytes, accepted: Callable[[], Any]) -> bool:
    try:
        offset = await self._log.append(value)
    except Unknown:
        return False
    await accepted()
    self.next = offset + 1
    return True


async def _fold_first(self: Any, value: bytes, accepted: Callable[[], Any]) -> bool:
    await accepted()
    with contextlib.suppress(Unknown):
        self.next = await self._log.append(value) + 1
    return True


async def _no_answer_is_no_record(self: Any, value: bytes, accepted: Callable[[], Any]) -> bool:
    try:
        offset = await self._log.append(value)
    except Unknown:
        return False
    if offset == self.next:
        await accepted()
        self.next = offset + 1
        return True
    self.next = max(self.next, offset + 1)  # whoever wrote in between is not read
    return False


def _without_the_outbox(state: State, segments: Any, name: str) -> list[bytes]:
    with patch.object(state, "outbox", {}):
        return _chunks_of(state, segments, name)


async def _past_a_doubt(self: Any, state: State) -> int:
    due = sorted(s for s in list(state.outbox) if s > state.published)[:3]
    with contextlib.suppress(Unknown):
        await self._outputs.send([send for s in due for send in self._sends(state.outbox[s])])
    if due:
        state.mark_published(due[-1])
    return len(due)


def _any_number(self: Any, offset: int, delta: Any) -> Folded:
    self._number[delta.source, delta.partition] = delta.number - 1
    return _roll(self, offset, delta)


def _any_higher_number(self: Any, offset: int, delta: Any) -> Folded:
    source = (delta.source, delta.partition)
    if delta.number > self._number.get(source, 0):
        self._number[source] = delta.number - 1
    return _roll(self, offset, delta)


def _published_is_published(self: Any, batch: Any) -> None:
    rows = self._dirty.popleft()
    self._is_dirty[rows] = False


def _version_is_a_count(self: Any, offset: int, cut: int, *columns: Any) -> Any:
    self.counted = getattr(self, "counted", 0) + 1
    return _add(self, len(self) + self.counted % 7, 0, *columns)


_add = CellTable.add


async def _deliveries_only(self: Any, stop: int) -> None:
    self.position = max(self.position, stop)


def _equal_replaces(self: Any, chunk: Any, *_: Any) -> None:
    """A later snapshot of the same number counts, too: for those who read from the beginning."""
    blob = self.gathering.take(chunk.sequence, chunk)
    if blob is not None and (self.searching or chunk.sequence >= self.state.sequence):
        self.state = load_state(blob, chunk.segments)
        self.searching, self.ahead, self.base = False, False, len(blob)


def _only_the_first(self: Any, chunk: Any, *more: Any) -> None:
    if self.searching:
        _snapshot(self, chunk, *more)


def _known_while_indexed(now: Any, arrivals: Any, rows: Any, place: Any, limit: Any, outcome: Any) -> Any:
    """Housekeeping decides: an id is known until a snapshot has left it out."""
    return _one_version_each(now, arrivals, rows, place, np.full_like(limit, NEVER), outcome)


def _last_seen(now: Any, arrivals: Any, rows: Any, place: Any, limit: Any, outcome: Any) -> Any:
    """An id lives as long as its last record says, not the latest one."""
    gone = _one_version_each(now, arrivals, rows, place, limit, outcome)
    now.until[place] = arrivals.time[rows]
    return gone


def _whoever_reads_it(self: Any, effect: Any, _value: Any) -> None:
    if self.state.fold(effect):
        self.arrived = True


async def _believe_the_delivery(_self: Any, _start: int, stop: int) -> Any:
    return Records.of([], [], []), stop


async def _apply_what_comes(self: Any, records: Any) -> list[Any]:
    decision = await self._settle(records) if len(records) else None
    return [decision] if decision else []


async def _dead_letters_later(self: Any, records: Any) -> Any:
    decision = self._decide(self.state, self.partition, records)
    if await self.journal.append(decision.effect):
        await self._outbox.send(decision.dead_letters)
        return decision
    return None


async def _truncate_at_once(self: Any, horizon: int, run: Any = None) -> bool:
    """The snapshot is written, so the log behind it is not needed: whether or not it stands."""
    self._snapshots += 1
    name = f"{self._writer}.{self._snapshots}"
    sealed = (
        [await journal.seal(self._ids, self.state.changed_ids(), name)]
        if len(self.state.changed_ids())
        else []
    )
    segments = _needed((*self.state.segments, *sealed), self.state.watermark - horizon)
    before = self.next
    for chunk in _chunks_of(self.state, segments, name):
        with contextlib.suppress(Unknown):
            self.next = await self._log.append(chunk) + 1
    self.state.sealed(segments)
    await self._log.truncate(before)
    return True


def _only_the_newest(segments: Any, limit: int) -> Any:
    return tuple(segments[-1:])


async def _start_over_with_nothing(self: Any, begin: int, end: int) -> None:
    await _start_over(self, begin, end)
    self._gathering = Gathering({})


async def _forget_own_chunks(self: Any, chunk: bytes) -> None:
    """A snapshot that was given up is none."""


_start_over = Journal._start_over


def _pass_nothing(self: Any, chunk: Any) -> None:
    """Somebody else's snapshot is none of our business."""


def _only_what_is_missing(recounted: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """A rebuild that adds late records, but never takes away what counted twice."""
    return _difference(recounted, stored).filter(pl.col("wanted_n") >= 0)


def _on_top(recounted: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """A rebuild that takes the one before for a part of what is live."""
    both = pl.col("live_n") + pl.col("rebuilt_n"), pl.col("live_total") + pl.col("rebuilt_total")
    return _difference(recounted, stored.with_columns(live_n=both[0], live_total=both[1]))


async def _cut_at_once(self: Any) -> bool:
    """The snapshot is written, so the deltas behind it are not needed: whether or not it stands."""
    if not self._snapshots.known:
        await self._load()
    position = self.position
    stands = await self._snapshots.write(position, roll_snapshot.dump(self.rollup, self.board))
    await self._deltas.truncate(position)
    return bool(stands)


async def _last_complete(
    self: Any, above: int, better: Callable[[int, int], bool] = lambda _a, _b: True
) -> Any:
    """The one that stands last in the log, wherever it was folded up to."""
    self._next, best, gathering = None, None, Gathering({})
    position, end = await self._log.bounds()
    while position < end:
        entries, position = await self._log.read(position, end)
        for entry in entries:
            chunk = roll_snapshot._chunk_of(entry.value)
            blob = gathering.take(chunk.position, chunk)
            if blob is not None and (best is None or better(chunk.position, best.position)):
                best = roll_snapshot.Found(chunk.position, blob)
    self._next = end
    return best


async def _lowest(self: Any, above: int) -> Any:
    return await _last_complete(self, above, lambda one, other: one < other)


async def _ignore_others(self: Any) -> bool:
    """Whoever has a state of its own needs no snapshot of somebody else."""
    if self.position == 0:
        return bool(await _load(self))
    await self._snapshots.best(self.position)
    return False


async def _jump(self: Any) -> None:
    self.position, _ = await self._deltas.bounds()


def _by_the_clock(self: Any, offset: int, watermark: int, span: int) -> bool:
    """A clock that goes on with every delta that anybody reads."""
    _ticks.append(offset)
    return _enter(self, offset, len(_ticks) // 4 * HOUR_MS, span)


def _one_part(self: Any, offset: int, *columns: Any) -> Any:
    rows = _open(self, offset, *columns)
    self.cells.part[rows] = 0
    return rows


def _open_ones(self: Any) -> Any:
    """What has left the state is nobody's business any more."""
    rows = np.flatnonzero(self._table.open_rows(self.hours.cut))
    self._dirty = deque(np.intersect1d(queued, rows) for queued in self._dirty)
    return rows


def _all_published(self: Any) -> Changed:
    held = _held(self)
    return Changed(held.cells, held.rows[:0])


def _settle_by_the_clock(self: Any, now_ms: int) -> None:
    _advance(self, now_ms)
    for book in self._open():
        book.settle(now_ms // HOUR_MS)


def _nothing(*_: Any) -> None:
    """Not done."""


_ticks: list[int] = []
_load, _enter, _open, _held = DeltasPartition._load, Hours.enter, CellTable._open, Rollup.held
_advance = Scoreboard.advance

CONTROLS: MappingProxyType[str, Control] = MappingProxyType(
    {
        "rebuild: only adds": _replaced((rebuilds, "difference", _only_what_is_missing)),
        "rebuild: on top of the one before": _replaced((rebuilds, "difference", _on_top)),
        "fold: any effect counts": _replaced((State, "fold", _fold_anything)),
        "writer: believes itself": _replaced((Journal, "_put", _believe_yourself)),
        "writer: state changes before the acknowledgement": _replaced((Journal, "_put", _fold_first)),
        "writer: no answer means not written": _replaced((Journal, "_put", _no_answer_is_no_record)),
        "writer: what is found is one's own": _replaced((Journal, "_take", _whoever_reads_it)),
        "source: believes the delivery": _replaced((SourcePartition, "_missing", _believe_the_delivery)),
        "source: applies what comes": _replaced((SourcePartition, "apply", _apply_what_comes)),
        "source: dead letters after the journal": _replaced(
            (SourcePartition, "_settle", _dead_letters_later)
        ),
        "outbox: not in snapshots": _replaced((journal, "chunks_of", _without_the_outbox)),
        "outbox: the mark goes past a doubt": _replaced((Outbox, "publish", _past_a_doubt)),
        "snapshot: truncates before it stands": _replaced((Journal, "snapshot", _truncate_at_once)),
        "snapshot: equal ones replace": _replaced((Reading, "_snapshot", _equal_replaces)),
        "snapshot: others' are ignored": _replaced((Journal, "_pass", _pass_nothing)),
        "snapshot: one that was given up is none": _replaced((Journal, "_stands", _forget_own_chunks)),
        "snapshot: half a one is forgotten": _replaced((Journal, "_start_over", _start_over_with_nothing)),
        "snapshot: only the first counts": _replaced((Reading, "_snapshot", _only_the_first)),
        "ids: only the newest segment is kept": _replaced((journal, "needed", _only_the_newest)),
        "ids: housekeeping decides what is known": _replaced(
            (outcomes, "_one_version_each", _known_while_indexed)
        ),
        "ids: live as long as their last record": _replaced((outcomes, "_one_version_each", _last_seen)),
        "roll: takes any number": _replaced((Rollup, "fold", _any_number)),
        "roll: takes any higher number": _replaced((Rollup, "fold", _any_higher_number)),
        "roll: believes the delivery": _replaced((DeltasPartition, "_read", _deliveries_only)),
        "cells: sent is published, whatever changed meanwhile": _replaced(
            (Rollup, "published", _published_is_published)
        ),
        "cells: versions that are not offsets": _replaced((CellTable, "add", _version_is_a_count)),
        "cells: closed by a clock": _replaced((Hours, "enter", _by_the_clock)),
        "cells: no parts": _replaced((CellTable, "_open", _one_part)),
        "cells: closed ones are not published": _replaced((Rollup, "_open_or_dirty", _open_ones)),
        "roll: deltas are cut before the snapshot stands": _replaced(
            (DeltasPartition, "snapshot", _cut_at_once)
        ),
        "roll: the last snapshot counts": _replaced((RollSnapshots, "best", _last_complete)),
        "roll: the lowest snapshot counts": _replaced((RollSnapshots, "best", _lowest)),
        "roll: others' snapshots are ignored": _replaced((DeltasPartition, "_load", _ignore_others)),
        "roll: jumps over what was cut": _replaced((DeltasPartition, "_load_what_was_cut", _jump)),
        "roll: a snapshot says that all is published": _replaced((Rollup, "held", _all_published)),
        "windows: kept by the clock": _replaced(
            (Scoreboard, "settle", _nothing), (Scoreboard, "advance", _settle_by_the_clock)
        ),
        **{rule: _replaced(place) for rule, place in CASE_CONTROLS.items()},
    }
)
