"""The fold of the deltas: the same absolute cells whatever is sent twice, late or by a zombie."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.journal.celltable import CellTable
from pipeline.journal.deltas import CellChanges, Delta, pack_delta, unpack_delta
from pipeline.journal.rollup import Folded, Rollup
from pipeline.measures.cells import Series

LEAVES = [Series("nps", "nps_0_10", t, "web", s) for t in ("checkout", "support") for s in ("none", "gold")]
SOURCES = [("responses", 0), ("responses", 1), ("touchpoints", 0)]

cell = st.tuples(
    st.sampled_from(LEAVES),
    st.sampled_from([-7, 0, 29_000_000, 2**31 - 1]),
    st.sampled_from([-1000, 0, 9, 10]),
)
change = st.dictionaries(cell, st.tuples(st.integers(-3, 3), st.integers(-9000, 9000)), max_size=8)
# What each source sends, in order.
sent = st.tuples(*(st.lists(change, max_size=5) for _ in SOURCES))


def delta(source, number, changes):
    leaves = tuple(dict.fromkeys(leaf for leaf, _, _ in changes))
    return Delta(
        *source,
        number,
        watermark=0,
        cells=CellChanges(
            leaves,
            np.array([leaves.index(leaf) for leaf, _, _ in changes], np.uint32),
            np.array([minute for _, minute, _ in changes], np.int32),
            np.array([k for _, _, k in changes], np.int32),
            np.array([n for n, _ in changes.values()], np.int64),
            np.array([total for _, total in changes.values()], np.int64),
        ),
    )


def by_cell(rollup, cells):
    keys = zip(cells.leaf.tolist(), cells.minute.tolist(), cells.bin.tolist(), strict=True)
    return {
        (rollup.leaves[leaf], minute, k): (part, version, n, total)
        for (leaf, minute, k), part, version, n, total in zip(
            keys,
            cells.part.tolist(),
            cells.version.tolist(),
            cells.n.tolist(),
            cells.total.tolist(),
            strict=True,
        )
    }


@st.composite
def logs(draw):
    """A deltas partition: every source in order, interleaved, with any earlier delta again anywhere."""
    streams = draw(sent)
    log, at = [], [0] * len(streams)
    for _ in range(draw(st.integers(0, 30))):
        s = draw(st.integers(0, len(streams) - 1))
        again = draw(st.integers(0, at[s]))
        if again == 0 and at[s] < len(streams[s]):
            at[s] += 1
            again = at[s]
        if again:
            log.append(delta(SOURCES[s], again, streams[s][again - 1]))
    for s, stream in enumerate(streams):
        log += [delta(SOURCES[s], i + 1, stream[i]) for i in range(at[s], len(stream))]
    return streams, log


@settings(max_examples=100, deadline=None)
@given(logs())
def test_any_interleaving_and_redelivery_gives_the_same_cells(case):
    streams, log = case
    rollup, seen = Rollup(), set()
    for offset, one in enumerate(log):
        name = (one.source, one.partition, one.number)
        assert rollup.fold(offset * 3, unpack_delta(pack_delta(one))) is (
            Folded.SEEN if name in seen else Folded.TAKEN
        )
        seen.add(name)
    opened = {}
    for offset, one in enumerate(log):
        for at, minute, k in zip(one.cells.at, one.cells.minute, one.cells.bin, strict=True):
            opened.setdefault((one.cells.series[at], minute, k), offset * 3)
    assert {key: part for key, (part, *_) in by_cell(rollup, rollup.cells()).items()} == opened
    expected = {}
    for stream in streams:
        for changes in stream:
            for key, (n, total) in changes.items():
                old = expected.get(key, (0, 0))
                expected[key] = (old[0] + n, old[1] + total)
    assert {k: (n, total) for k, (_, _, n, total) in by_cell(rollup, rollup.cells()).items()} == expected


@settings(max_examples=100, deadline=None)
@given(logs(), st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.booleans()), max_size=30))
def test_a_version_never_has_two_values_and_the_last_word_is_right(case, publishing):
    """Two owners fold the same log and publish when they like, one of them twice, some of it in vain."""
    log = case[1]
    published = {}
    for owner in range(2):
        rollup = Rollup()
        for offset, one in enumerate(log):
            rollup.fold(offset, one)
            for when, limit, arrives in publishing:
                if (offset + owner) % 5 == when:
                    publish(rollup, limit, arrives, published)
        while rollup.waiting:
            publish(rollup, 3, True, published)
        newest = {}
        for (key, part, version), value in published.items():
            assert part <= version
            newest[key] = max(newest.get(key, (-1,)), (version, part, *value))
        final = {
            key: (v, part, n, total) for key, (part, v, n, total) in by_cell(rollup, rollup.cells()).items()
        }
        assert newest == final


def publish(rollup, limit, arrives, published):
    batch = rollup.changed(limit)
    assert len(batch) <= limit
    for key, (part, version, *value) in by_cell(rollup, batch.cells).items():
        assert published.setdefault((key, part, version), value) == value
    if arrives:
        rollup.published(batch)


def test_what_changes_while_it_is_sent_is_sent_again():
    rollup, key = Rollup(), (LEAVES[0], 5, 9)
    rollup.fold(0, delta(SOURCES[0], 1, {key: (1, 9000)}))
    batch = rollup.changed(10)
    rollup.fold(1, delta(SOURCES[0], 2, {key: (1, 9000)}))
    rollup.published(batch)
    assert rollup.waiting == 1
    batch = rollup.changed(10)
    assert by_cell(rollup, batch.cells) == {key: (0, 1, 2, 18_000)}
    rollup.published(batch)
    assert rollup.waiting == 0


def test_a_gap_is_told_and_changes_nothing():
    rollup, key = Rollup(), (LEAVES[0], 5, 9)
    assert rollup.fold(0, delta(SOURCES[0], 2, {key: (1, 9000)})) is Folded.GAP
    assert len(rollup) == 0
    assert rollup.fold(1, delta(SOURCES[0], 1, {key: (1, 9000)})) is Folded.TAKEN
    assert rollup.fold(2, delta(SOURCES[0], 2, {key: (1, 9000)})) is Folded.TAKEN
    assert rollup.cells().n.tolist() == [2]


def test_leaves_of_closed_cells_leave_the_memory():
    rollup = Rollup()
    for hour in range(300):
        key = (Series("nps", "nps_0_10", f"{hour}", "web", "none"), hour * 60, 9)
        one = replace(delta(SOURCES[0], hour + 1, {key: (1, 9000)}), watermark=hour * 3_600_000)
        rollup.fold(hour, one)
        rollup.published(rollup.changed(10))
        assert len(rollup.leaves) < 60, "a cell stays open for 26 hours"
    assert set(by_cell(rollup, rollup.cells())) == {
        (Series("nps", "nps_0_10", f"{hour}", "web", "none"), hour * 60, 9) for hour in range(273, 300)
    }


@pytest.mark.parametrize(
    ("batch", "count", "slots"), [(1, 2000, 0), (700, 20_000, 0), (5000, 20_000, 0), (9, 500, 3)]
)
def test_a_large_table_finds_every_cell_again(monkeypatch, batch, count, slots):
    if slots:
        monkeypatch.setattr(
            "pipeline.journal.celltable._hash", lambda leaf, *_: leaf.astype(np.int64) % slots
        )
    rng, table, truth = np.random.default_rng(3), CellTable(), {}
    for offset in range(0, count, batch):
        keys = {tuple(k) for k in rng.integers([0, -50, -3], [90, 50, 3], (batch, 3)).tolist()}
        leaf, minute, k = (np.array(x, np.int32) for x in zip(*keys, strict=True))
        table.add(offset, 0, leaf, minute, k, np.ones(len(keys), np.int64), leaf.astype(np.int64))
        for key in keys:
            truth[key] = truth.get(key, 0) + 1
    cells = table.cells.take(np.arange(len(table)))
    found = zip(cells.leaf.tolist(), cells.minute.tolist(), cells.bin.tolist(), strict=True)
    assert dict(zip(found, cells.n.tolist(), strict=True)) == truth
    assert cells.total.tolist() == [
        leaf * n for leaf, n in zip(cells.leaf.tolist(), cells.n.tolist(), strict=True)
    ]
