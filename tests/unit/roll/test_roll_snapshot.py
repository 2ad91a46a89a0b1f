"""Snapshots of the roll: any of them and the deltas behind it come to what all deltas come to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.journal.celltable import CellTable
from pipeline.journal.deltas import CellChanges, Delta, pack_delta
from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.hours import HOUR_MS, Hours
from pipeline.journal.journal import JournalBroken
from pipeline.journal.log import Unknown
from pipeline.journal.roll_snapshot import RollSnapshots, dump, restore
from pipeline.journal.rollup import Folded, Rollup
from pipeline.measures.cells import Series
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.sums import OVERALL
from pipeline.measures.windows import Window
from tests.support.memory_log import MemoryLog

LEAVES = [Series("csat", "csat_1_5", t, "web", s) for t in ("checkout", "support") for s in ("none", "gold")]
WINDOWS = (Window("1h", 3600), Window("24h", 86_400), Window("3d", 259_200))
BASE = 480_000  # an hour
change = st.tuples(
    st.sampled_from(LEAVES), st.integers(-5000, 60), st.integers(1, 5), st.integers(-2, 3)
)  # leaf, minutes after the hour of the delta, bin, n
step = st.tuples(st.integers(0, 30), st.lists(change, max_size=5), st.sampled_from([0, 1, 26]), st.booleans())


def delta(number, hour, changes, span=26, source=("responses", 0)):
    cells = {(leaf, hour * 60 + minute, k): n for leaf, minute, k, n in changes}
    leaves = tuple(dict.fromkeys(leaf for leaf, _, _ in cells))
    at, minute, bins = ([leaves.index(c[0]) for c in cells], [c[1] for c in cells], [c[2] for c in cells])
    n, k = np.array(list(cells.values()), np.int64), np.array(bins, np.int32)
    columns = CellChanges(leaves, np.array(at, np.uint32), np.array(minute, np.int32), k, n, n * k * 1000)
    return Delta(*source, number, hour * HOUR_MS, columns, span)


def fold(rollup, board, offset, one):
    assert rollup.fold(offset, one) is Folded.TAKEN
    c = one.cells
    board.add(c.series, c.at, c.minute, c.bin, c.n, c.total)
    board.settle(rollup.hours.now)


def shown(rollup, cells):
    names = [rollup.leaves[k] for k in cells.leaf.tolist()]
    columns = (cells.minute, cells.bin, cells.part, cells.version, cells.n, cells.total)
    return set(zip(names, *(column.tolist() for column in columns), strict=True))


def kept(board):
    held, found = board.held(), {}
    for at, minute, k, n in zip(*(c.tolist() for c in (held.at, held.minute, held.bin, held.n)), strict=True):
        key = held.series[at], minute, k
        found[key] = found.get(key, 0) + n
    return {key: n for key, n in found.items() if n}


@settings(max_examples=150, deadline=None)
@given(st.lists(step, max_size=20), st.integers(0, 3))
def test_any_snapshot_and_its_tail_come_to_the_whole(steps, often):
    """Also what readers add up: the newest version of each part; and nothing waits that somebody was told."""
    whole, board = Rollup(), Scoreboard(WINDOWS, SHIPPED)
    other, other_board = Rollup(), Scoreboard(WINDOWS, SHIPPED)
    other_board.advance((BASE + 40) * HOUR_MS)  # a clock of its own
    hour, truth, read = BASE, {}, {}
    for number, (later, changes, span, publish) in enumerate(steps, start=1):
        hour += later
        one = delta(number, hour, changes, span)
        fold(whole, board, number * 2, one)
        fold(other, other_board, number * 2, one)
        for leaf, minute, k, n in {c[:3]: c for c in changes}.values():
            key = leaf, hour * 60 + minute, k
            truth[key] = truth.get(key, 0) + n
        if publish:
            publish_some(other, read)
        if often and number % often == 0:
            blob, other_board = dump(other, other_board), Scoreboard(WINDOWS, SHIPPED)
            other = restore(blob, other_board)
        assert shown(other, other.cells()) == shown(whole, whole.cells())
        assert (other.numbers, other.hours.marks) == (whole.numbers, whole.hours.marks)
        assert kept(other_board) == kept(board)
    while other.waiting:
        publish_some(other, read)
    sums = {}
    for (key, _), (_, n) in read.items():
        sums[key] = sums.get(key, 0) + n
    assert sums == truth


@pytest.mark.parametrize("away", ["the window", "the instrument"])
def test_a_window_beyond_what_was_kept_is_not_shown_until_it_is_filled(away):
    """An answer an hour, a snapshot a day; for the second and third day the 3 d window, or the instrument, is away."""
    without = {
        "the window": (WINDOWS[:2], SHIPPED),
        "the instrument": (WINDOWS, {k: one for k, one in SHIPPED.items() if k != "csat_1_5"}),
    }
    rollup, board, shown_at = Rollup(), Scoreboard(WINDOWS, SHIPPED), []
    for k in range(200):
        hour = BASE + k
        if k % 24 == 0:
            configured = without[away] if k in (24, 48) else (WINDOWS, SHIPPED)
            blob, board = dump(rollup, board), Scoreboard(*configured)
            rollup = restore(blob, board)
        fold(rollup, board, k, delta(k + 1, hour, [(LEAVES[0], 0, 5, 1)]))
        board.advance(hour * HOUR_MS)
        for sums in board.sums([OVERALL]):
            hours = next(w.seconds for w in WINDOWS if w.name == sums.window) // 3600
            assert sums.counts.sum() == min(k + 1, hours + 1), (k, sums.window)
            shown_at += [k] * (sums.window == "3d")
        told = {one.window for one in board.news().standings}
        assert ("3d" in told) == (k in shown_at)
    last = max(set(range(200)) - set(shown_at))
    assert min(set(range(200)) - set(shown_at)) == 24
    assert 96 <= last <= 150
    assert shown_at[-1] == 199


def publish_some(rollup, read):
    batch = rollup.changed(7)
    for leaf, minute, k, part, version, n, _ in shown(rollup, batch.cells):
        key = (leaf, minute, k), part
        assert read.get(key, (-1, 0))[0] < version, "told already"
        read[key] = version, n
    rollup.published(batch)


def test_hours_close_what_was_not_touched_for_the_span():
    hours = Hours()
    assert hours.cut == 0
    for offset, hour in ((5, 10), (6, 10), (7, 11), (9, 12), (11, 13)):
        hours.enter(offset, hour * HOUR_MS + 1, 2)
    assert hours.marks == [(11, 7), (12, 9), (13, 11)]
    assert hours.cut == 7
    assert not hours.enter(12, 3 * HOUR_MS, 0)  # a source that lags does not turn the time back
    assert hours.cut == 7
    assert hours.enter(20, 99 * HOUR_MS, 2)
    assert hours.cut == 20


def test_a_cell_that_is_touched_again_opens_a_new_part():
    rollup, board = Rollup(), Scoreboard(WINDOWS, SHIPPED)
    for number, hour in enumerate((BASE, BASE + 1, BASE + 30), start=1):
        minute = (BASE - hour) * 60
        fold(rollup, board, number, delta(number, hour, [(LEAVES[0], minute, 5, number)]))
    assert {(part, n) for *_, part, _, n, _ in shown(rollup, rollup.changed(9).cells)} == {(1, 3), (3, 3)}
    assert {(part, n) for *_, part, _, n, _ in shown(rollup, rollup.cells())} == {(3, 3)}


def test_closed_cells_give_their_memory_back_once_they_are_published():
    rollup, board = Rollup(), Scoreboard(WINDOWS, SHIPPED)
    for number in range(1, 41):
        many = [(leaf, minute, k, 1) for leaf in LEAVES for minute in range(60) for k in range(1, 6)]
        fold(rollup, board, number, delta(number, BASE + number, many, span=1))
    assert rollup.waiting == 40 * 1200  # nobody was told
    while rollup.waiting:
        rollup.published(rollup.changed(10_000))
    fold(rollup, board, 41, delta(41, BASE + 41, [], span=1))
    assert len(rollup) <= 2 * 1200
    assert len(rollup._table.cells) <= 4096
    assert len(rollup._table._slots) <= 4 * 4096


def test_a_table_keeps_what_it_is_told_to():
    table = CellTable()
    leaf = np.arange(3000, dtype=np.int32)
    one = np.ones(3000, np.int64)
    table.add(1, 0, leaf, leaf, leaf, one, one)
    table.load(table.cells.take(np.arange(0, 3000, 30)))
    rows = table.add(2, 0, leaf, leaf, leaf, one, one)
    assert len(table) == 3000
    assert table.cells.n[rows].tolist() == [2 if k % 30 == 0 else 1 for k in range(3000)]


def partition(deltas, snapshots, name="one"):
    async def send(leaves, cells):
        """Everything arrives."""

    def stranger(offset, error):
        raise AssertionError(offset) from error

    return DeltasPartition(
        "deltas/0",
        deltas=deltas,
        snapshots=RollSnapshots(snapshots, name),
        new_board=lambda: Scoreboard(WINDOWS, SHIPPED),
        send=send,
        stranger=stranger,
    )


async def filled(deltas, count, owner):
    first = len(deltas.values)
    for k in range(count):
        deltas.put(pack_delta(delta(first + k + 1, BASE + k, [(LEAVES[0], 0, 5, 1)])))
    await owner.recover()


async def test_a_snapshot_cuts_deltas_and_older_snapshots_and_a_recovery_publishes_nothing_again():
    deltas, snapshots = MemoryLog(), MemoryLog()
    one = partition(deltas, snapshots)
    await filled(deltas, 5, one)
    assert await one.publish() == 5
    for _ in range(2):
        assert await one.snapshot()
    assert (deltas.start, snapshots.start, len(snapshots.values)) == (5, 1, 2)
    await filled(deltas, 2, one)
    two = partition(deltas, snapshots, "two")
    await two.recover()
    assert (two.position, two.rollup.waiting) == (7, 2)
    assert shown(two.rollup, two.rollup.cells()) == shown(one.rollup, one.rollup.cells())


async def test_who_stands_before_the_cut_goes_on_from_the_snapshot_of_another():
    deltas, snapshots = MemoryLog(), MemoryLog()
    one, two = partition(deltas, snapshots), partition(deltas, snapshots, "two")
    await filled(deltas, 2, two)
    await filled(deltas, 3, one)
    assert await one.snapshot()
    await two.recover()
    assert two.position == 5
    assert two.rollup.numbers == one.rollup.numbers


async def test_of_two_who_write_at_once_one_stands():
    deltas, snapshots = MemoryLog(), MemoryLog()
    one, two = partition(deltas, snapshots), partition(deltas, snapshots, "two")
    await filled(deltas, 2, two)
    await filled(deltas, 3, one)
    assert await one.snapshot()
    assert not await two.snapshot()  # its place was taken
    assert (deltas.start, two.position) == (5, 2)
    assert not await two.snapshot()  # now it reads what the other wrote
    assert two.position == 5


async def test_a_snapshot_in_doubt_cuts_nothing(monkeypatch):
    deltas, snapshots = MemoryLog(), MemoryLog()
    one = partition(deltas, snapshots)
    await filled(deltas, 3, one)

    async def lost(value):
        snapshots.put(value)
        raise Unknown("no acknowledgement")

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "append", lost)
        assert not await one.snapshot()
    assert deltas.start == 0
    assert not one._snapshots.known
    assert await one.snapshot()
    assert (deltas.start, snapshots.start) == (3, 1)


async def test_deltas_that_no_snapshot_holds_are_missed_with_a_sentence():
    deltas, snapshots = MemoryLog(), MemoryLog()
    one = partition(deltas, snapshots)
    await filled(deltas, 5, one)
    assert await one.snapshot()
    deltas.start = 6
    deltas.put(b"")
    with pytest.raises(JournalBroken, match="feedback reset"):
        await partition(deltas, snapshots, "two").recover()
    with pytest.raises(JournalBroken, match="feedback reset"):
        await partition(MemoryLog(), snapshots, "three").recover()
