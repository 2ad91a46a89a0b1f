"""What must hold of a world in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from typing import Any

import numpy as np

from pipeline.events import wire
from pipeline.journal.deltas import unpack_delta
from pipeline.journal.effect import effect_of
from pipeline.journal.index import Ids
from pipeline.journal.journal import Journal
from pipeline.journal.pack import unpack
from pipeline.journal.rollup import Folded, Rollup
from pipeline.journal.state import State
from pipeline.measures.buckets import HeldCells
from pipeline.measures.cells import Series
from pipeline.measures.scoreboard import Scoreboard
from tests.simulation.case_oracle import Call, Told
from tests.simulation.disk import MARKER, Connection
from tests.simulation.load import FINAL, HORIZON
from tests.simulation.world import WINDOWS, Broken, Source, Tenure, Worker, World
from tests.support.recount import ms

_TOLD = (
    *("first_resolution_seconds", "full_resolution_seconds", "agent_seconds"),
    *("replies", "contacts", "reopens", "sla_breached", "one_contact"),
)


def differences(world: World) -> list[str]:
    """What is not yet as it must be; in the end nothing."""
    found = [f"{key} has no living owner" for key, tenure in world.owner.items() if not ready(tenure)]
    if found:
        return found
    for key, tenure in world.owner.items():
        if tenure.tally is not None and tenure.tally.state.outbox:
            found.append(f"the outbox of {key} is not empty")
        if tenure.tally is not None and tenure.tally.overdue(FINAL):
            found.append(f"cases of {key} are overdue")
        if tenure.roll is not None and tenure.roll.rollup.waiting:
            found.append(f"cells of {key} wait")
    for source in world.sources:
        rows = source.outcomes.get(source.last, {})
        got = {(day, outcome.label): n for (day, outcome), n in rows.items()}
        if got != source.history.answer.outcomes:
            found.append(
                f"outcomes of {source.name}/{source.partition}: not yet those of offset {source.last}"
            )
    return found or differing_cells(world)


def ready(tenure: Any) -> bool:
    """It has recovered."""
    return not tenure.over and bool(tenure.tally or tenure.roll)


def expected_cells(world: World) -> Counter[Any]:
    """What the recount says."""
    total: Counter[Any] = Counter()
    for source in world.sources:
        total.update(source.history.answer.cells)
    return total


def differing_cells(world: World) -> list[str]:
    """What readers see is not what the recount says."""
    seen: Counter[Any] = Counter()
    for (cell, _), (_, n) in world.cells.items():
        seen[cell] += n
    want = expected_cells(world)
    return [f"{cell}: {seen[cell]}, not {want[cell]}" for cell in {*seen, *want} if seen[cell] != want[cell]][
        :4
    ]


def recount(world: World) -> None:
    """Everything that is left when all is quiet."""
    for k, source in enumerate(world.sources):
        state = whole_journal(world, k, source)
        recovered(world, source, state)
        dead_letters(world, source)
    resolutions(world)
    follow_ups(world)


def rolled(world: World) -> None:
    """What the roll has in the end, by its own rules: a naive rule must be found out by what follows from it."""
    for (kind, q), tenure in world.owner.items():
        if kind == "roll":
            if tenure.roll is not None and isinstance(tenure.roll.board, Scoreboard):
                windows(world, tenure.roll.board, q)
            whole_deltas(world, q)


def whole_journal(world: World, k: int, source: Source) -> State:
    """The journal from its very first record, truncated ones included: each record of the source once, in order."""
    state = State()
    for place, value in enumerate(source.journal.values):
        head, columns = unpack(value)
        if head["kind"] != "effect":
            continue
        effect, before = effect_of(head, columns), state.applied
        if effect.sequence != state.sequence + 1:
            world.counts["effects ignored"] += 1
            continue
        world.taken(k, place, effect)
        state.fold(effect)
        if source.told.get(effect.sequence, told := (effect.last, effect.outcomes)) != told:
            msg = f"the counters took {source.told[effect.sequence]} for effect {effect.sequence}, which is {told}"
            raise Broken(msg)
        values = source.history.values[before + 1 : effect.last + 1]
        records = sum(value is not MARKER for value in values)
        if effect.last <= before and (effect.outcomes or not effect.cases):
            msg = f"effect {effect.sequence} says nothing"
            raise Broken(msg)
        if effect.last < before or sum(effect.outcomes.values()) != records:
            msg = f"effect {effect.sequence} settles {before + 1}..{effect.last} as {effect.outcomes}"
            raise Broken(msg)
    if sum(state.outcomes.values()) != source.history.records:
        msg = f"{state.outcomes} of {source.history.records} records"
        raise Broken(msg)
    return state


def recovered(world: World, source: Source, whole: State) -> None:
    """A worker that starts now knows what the whole journal says: also every id that is still remembered."""
    fresh = Journal(Connection(world, source.journal), Connection(world, source.ids), "journal", "checker")
    at_once(fresh.catch_up())
    state, limit = fresh.state, whole.watermark - HORIZON
    if (state.sequence, state.applied, state.numbers) != (whole.sequence, whole.applied, whole.numbers):
        msg = f"a recovery gives effect {state.sequence}, not {whole.sequence}"
        raise Broken(msg)
    if state.cases != whole.cases or state.leaves != whole.leaves or state.outcomes != whole.outcomes:
        raise Broken("a recovery gives other cases, leaves or outcomes")
    known = whole.index.all()
    alive = known.take(known.until >= limit)
    if not same(alive, state.index.get(alive.a, alive.b)):
        raise Broken("a recovery does not know an id that must be remembered")


def whole_deltas(world: World, q: int) -> None:
    """A roll that starts now has what all deltas from the very first, truncated ones included, come to."""
    whole, board = Rollup(), world.board()
    board.advance(world.clock())
    for offset, value in enumerate(world.disk("deltas", q).values):
        delta = unpack_delta(value)
        if whole.fold(offset, delta) is Folded.TAKEN:
            c = delta.cells
            board.add(c.series, c.at, c.minute, c.bin, c.n, c.total)
            board.settle(whole.hours.now)
        else:
            world.counts["deltas ignored"] += 1
    fresh = world._deltas_partition(Tenure(Worker(), ("roll", q)), Connection(world, world.disk("deltas", q)))
    at_once(fresh.recover())
    if (fresh.rollup.numbers, fresh.rollup.hours.marks) != (whole.numbers, whole.hours.marks):
        msg = f"a recovery of the roll gives {fresh.rollup.numbers}, not {whole.numbers}"
        raise Broken(msg)
    if open_cells(fresh.rollup) != open_cells(whole):
        raise Broken("a recovery of the roll gives other cells")
    if kept(fresh.board.held()) != kept(board.held()):
        raise Broken("a recovery of the roll gives other windows")


def open_cells(rollup: Rollup) -> dict[Any, Any]:
    """Cell -> everything about it."""
    c = rollup.cells()
    leaves = [rollup.leaves[k] for k in c.leaf.tolist()]
    keys = zip(leaves, c.minute.tolist(), c.bin.tolist(), strict=True)
    about = zip(*(column.tolist() for column in (c.part, c.version, c.n, c.total)), strict=True)
    return dict(zip(keys, about, strict=True))


def kept(held: HeldCells) -> Counter[Any]:
    """(leaf, minute, bin) -> count, without what comes to nothing."""
    total: Counter[Any] = Counter()
    columns = (held.at, held.minute, held.bin, held.n)
    for at, minute, bin_, n in zip(*(column.tolist() for column in columns), strict=True):
        total[held.series[at], minute, bin_] += n
    return Counter({key: n for key, n in total.items() if n})


def same(left: Ids, right: Ids) -> bool:
    """Column by column."""
    names = ("until", "version", "series", "minute", "bin")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


def at_once(run: Coroutine[None, None, None]) -> None:
    """Run a coroutine to its end with nobody beside it."""
    try:
        while True:
            run.send(None)
    except StopIteration:
        return


def dead_letters(world: World, source: Source) -> None:
    """Each rejected record is in the topic of dead letters, however often."""
    found = set()
    for (topic, _), disk in world.disks.items():
        for value in set(disk.values) if topic == "dead-letters" else ():
            row = wire.decode(value)[1]
            if (row["topic"], row["partition"]) == (f"feedback.{source.name}", source.partition):
                found.add(row["offset"])
    if found != source.history.answer.dead:
        msg = f"dead letters of {source.name}/{source.partition} at {found}, not {source.history.answer.dead}"
        raise Broken(msg)


def resolutions(world: World) -> None:
    """The highest revision of each case says what the recount says; no revision says two things."""
    best: dict[str, dict[int, Any]] = {}
    for (topic, _), disk in world.disks.items():
        for value in set(disk.values) if topic == "resolutions" else ():
            row = wire.decode(value)[1]
            told = best.setdefault(row["case_id"], {}).setdefault(row["revision"], row)
            if told != row:
                msg = f"two values of {row['case_id']} at revision {row['revision']}"
                raise Broken(msg)
    got = {}
    for case_id, told in best.items():
        last = told[max(told)]
        got[case_id] = Told(*(last[name] for name in _TOLD))
    want = {k: v for source in world.sources for k, v in source.history.answer.resolutions.items()}
    if got != want:
        msg = f"resolutions {got}, not {want}"
        raise Broken(msg)


def follow_ups(world: World) -> None:
    """The highest revision of each follow-up says what the recount says; no revision says two things."""
    told: dict[str, dict[int, Any]] = {}
    for (topic, _), disk in world.disks.items():
        for value in set(disk.values) if topic == "follow-ups" else ():
            row = wire.decode(value)[1]
            if told.setdefault(row["follow_up_id"], {}).setdefault(row["revision"], row) != row:
                msg = f"two values of {row['follow_up_id']} at revision {row['revision']}"
                raise Broken(msg)
    newest = {name: revisions[max(revisions)] for name, revisions in told.items()}
    got = {name: _call(row) for name, row in newest.items() if not row["retracted"]}
    want = {name: call for source in world.sources for name, call in source.history.answer.calls.items()}
    unsure = frozenset[str]().union(*(source.history.answer.unsure for source in world.sources))
    wrong = {name for name in {*got, *want} - unsure if got.get(name) != want.get(name)}
    if wrong:
        said = {name: (got.get(name), want.get(name)) for name in sorted(wrong)}
        msg = f"follow-ups, and what they must be: {said}"
        raise Broken(msg)


def _call(row: dict[str, Any]) -> Call:
    place = row["touchpoint"], row["channel"], row["segment"]
    return Call(row["kind"], ms(row["occurred_at"]), ms(row["due_at"]), *place, row["customer_id"])


def windows(world: World, board: Scoreboard, q: int) -> None:
    """What stands in the windows of leaves is the sum of the cells in them."""
    from pipeline.journal.deltas import deltas_partition

    now = board._now
    assert now is not None
    want: Counter[Any] = Counter()
    for cell, n in expected_cells(world).items():
        *names, minute, bin_ = cell
        leaf = Series(*names)
        if leaf.metric == "touchpoints" or deltas_partition(leaf.metric, leaf.instrument, 2) != q:
            continue
        for window in WINDOWS:
            first, end = window.span_now(now / 1000)
            if first <= minute < end:
                want[leaf, window.name, bin_] += n
    got: Counter[Any] = Counter()
    for sums in board.sums((7,)):
        for row, leaf in enumerate(sums.series):
            for bin_, n in zip(sums.bins.tolist(), sums.counts[row].tolist(), strict=True):
                got[leaf, sums.window, bin_] += n
    if +got != +want:
        msg = f"windows at {now}: {dict(got - want)} too many, {dict(want - got)} too few"
        raise Broken(msg)
