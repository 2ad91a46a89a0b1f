"""Window sums equal a recount of the cells, whatever came when and wherever the clock went."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.measures.cells import Series, marginals
from pipeline.measures.rolling import Rolling
from pipeline.measures.sums import LEAF, LEVELS, OVERALL, TOUCHPOINT
from pipeline.measures.windows import Window

HOUR = 60
BASE = 29_000_000 // HOUR * HOUR + 17  # a minute somewhere in an hour

LEAVES = [
    Series("csat", "csat_1_5", touchpoint, channel, segment)
    for touchpoint in ("checkout", "support")
    for channel in ("web", "app")
    for segment in ("none", "gold")
]


@dataclass
class Recount:
    """The definition of DESIGN A5, the slow way."""

    cells: list[tuple[Series, int, int, int, int]] = field(default_factory=list)
    now: int | None = None

    def advance(self, minute):
        self.now = minute if self.now is None else max(self.now, minute)

    def sums(self, seconds):
        if self.now is None:
            return {}
        first = self.now - seconds // 60
        if seconds > 86_400:
            first -= first % HOUR
        found = {}
        for leaf, minute, k, n, total in self.cells:
            if first <= minute <= self.now:
                for series in marginals(leaf):
                    counts, totals = found.setdefault(series, ({}, [0]))
                    counts[k] = counts.get(k, 0) + n
                    totals[0] += total
        nonzero = {
            series: ({k: n for k, n in counts.items() if n}, totals[0])
            for series, (counts, totals) in found.items()
        }
        return {series: held for series, held in nonzero.items() if held != ({}, 0)}


def standing(rolling, window):
    rows = np.arange(len(rolling.series))
    got = rolling.sums(window, rows)
    assert (np.diff(got.bins) > 0).all()
    held = {
        series: ({int(k): int(n) for k, n in zip(got.bins, counts, strict=True) if n}, int(total))
        for series, counts, total in zip(got.series, got.counts, got.totals, strict=True)
    }
    return {series: one for series, one in held.items() if one != ({}, 0)}


def columns(cells):
    leaves, *numbers = zip(*cells, strict=True)
    minute, k, n, total = (np.array(x, np.int64) for x in numbers)
    return leaves, minute.astype(np.int32), k.astype(np.int32), n, total


WINDOWS = (
    Window("5m", 300),
    Window("2h", 7200),
    Window("24h", 86_400),
    Window("26h", 93_600),
    Window("3d", 259_200),
)
cell = st.tuples(
    st.sampled_from(LEAVES),
    st.integers(-5000, 100).map(lambda m: BASE + m),
    st.sampled_from([-1000, -79, 0, 1, 2, 5, 240]),
    st.integers(-2, 3),
    st.integers(-5000, 5000),
)
step = st.one_of(
    st.lists(cell, min_size=1, max_size=12),
    st.integers(-50, 200),
    st.integers(-50, 6000),
    st.just(1),
    st.tuples(st.just("log time"), st.integers(-10, 60)),
    st.tuples(st.just("snapshot"), st.just(0)),
    st.tuples(st.just("let go"), st.integers(0, 255)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(step, st.booleans()), max_size=14), st.permutations(WINDOWS), st.integers(1, 5))
def test_any_course_equals_a_recount_whenever_somebody_looks(steps, windows, count):
    rolling, recount, clock = Rolling("csat", "csat_1_5", windows[:count]), Recount(), BASE
    hour = None
    for one, looks in [*steps, (1, True)]:
        if isinstance(one, list):
            add(rolling, one)
            recount.cells += one
        elif isinstance(one, int):
            clock += one
            rolling.advance(clock * 60_000 + 59_999)
            recount.advance(clock if hour is None else max(clock, (hour - 2) * HOUR))
        elif one[0] == "log time":
            hour = max(hour or 0, BASE // HOUR + one[1])
            rolling.settle(hour)
            if recount.now is not None:
                recount.advance((hour - 2) * HOUR)
        elif one[0] == "let go":
            let_go(rolling, one[1])
        else:
            rolling = restored(rolling, hour, recount.now)  # as a worker does that loads a snapshot
        for w, window in enumerate(rolling.windows if looks else ()):
            assert standing(rolling, w) == recount.sums(window.seconds), window.name


def add(rolling, cells):
    leaves, *numbers = columns(cells)
    rolling.add(rolling.number(leaves), *numbers)


def let_go(rolling, wanted):
    """Whoever holds something, or is wanted (every bit of `wanted` is a row), keeps its place."""
    before, cells, asked = list(rolling.series), kept(rolling), set()

    def is_wanted(rows):
        asked.update(row for row in rows.reshape(-1).tolist() if wanted >> row % 8 & 1)
        return np.isin(rows, list(asked))

    gone = set(rolling.let_go(is_wanted, 1 + wanted % 9).tolist())
    assert not gone & asked
    assert list(rolling.series) == before
    for w in range(len(rolling.windows)):
        assert not gone & {*rolling.live(w, LEVELS).tolist(), *rolling.changed(w, LEVELS).tolist()}
    assert not gone & {
        row for touchpoint in ("", "checkout", "support") for row in rolling.rows_of(touchpoint)
    }
    assert kept(rolling) == cells


def restored(rolling, hour, now):
    held, new = rolling.held(), Rolling("csat", "csat_1_5", rolling.windows)
    if hour is not None:
        new.settle(hour)
    leaf = new.number(held.series)[held.at] if len(held.at) else held.minute
    new.add(leaf, held.minute, held.bin, held.n, held.total)
    assert kept(new) == kept(rolling)
    if now is not None:
        new.advance(now * 60_000)
    return new


def kept(rolling):
    held, found = rolling.held(), {}
    columns = (held.at, held.minute, held.bin, held.n, held.total)
    for at, minute, k, n, total in zip(*(c.tolist() for c in columns), strict=True):
        n0, total0 = found.get((held.series[at], minute, k), (0, 0))
        found[held.series[at], minute, k] = n0 + n, total0 + total
    return {key: one for key, one in found.items() if one != (0, 0)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(cell, max_size=4), max_size=8), st.lists(st.integers(0, 90), max_size=8), st.data())
def test_what_is_kept_follows_log_time_and_not_the_clock(batches, hours, data):
    """Two workers whose clocks differ, one of which begins with a snapshot of the other."""
    one, two = (Rolling("csat", "csat_1_5", WINDOWS) for _ in range(2))
    hour = BASE // HOUR
    for k, batch in enumerate(batches):
        for rolling in (one, two):
            if data.draw(st.booleans()):
                rolling.advance((BASE + data.draw(st.integers(-100, 9000))) * 60_000)
            if batch:
                add(rolling, batch)
        if k < len(hours):
            hour = max(hour, BASE // HOUR + hours[k])
            for rolling in (one, two):
                rolling.settle(hour)
            if data.draw(st.booleans()):
                two = restored(one, hour, None)
        assert kept(one) == kept(two)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.lists(cell, min_size=1, max_size=5), st.integers(0, 200)), max_size=10))
def test_what_changed_is_told_until_it_is_marked(steps):
    rolling = Rolling("csat", "csat_1_5", WINDOWS)
    rolling.advance(BASE * 60_000)
    clock, before = BASE, [{} for _ in WINDOWS]
    for one in steps:
        if isinstance(one, list):
            leaves, *numbers = columns(one)
            rolling.add(rolling.number(leaves), *numbers)
        else:
            clock += one
            rolling.advance(clock * 60_000)
        for w in range(len(WINDOWS)):
            told = {rolling.series[row] for row in rolling.changed(w, range(8)).tolist()}
            now = standing(rolling, w)
            differing = {s for s in now.keys() | before[w].keys() if now.get(s) != before[w].get(s)}
            assert differing <= told
            before[w] = now
            rolling.mark(w, rolling.changed(w, range(8)), changed=False)
            assert not len(rolling.changed(w, range(8)))


def test_levels_and_the_running_minute():
    rolling = Rolling("csat", "csat_1_5", [Window("1h", 3600)])
    rolling.advance(BASE * 60_000 + 30_000)
    (leaf,) = rolling.number(LEAVES[:1])
    for minute in (BASE - 61, BASE - 60, BASE, BASE + 1):
        rolling.add(*columns([(leaf, minute, 5, 1, 5000)]))
    assert [rolling.series[row] for row in rolling.live(0, [LEAF])] == [LEAVES[0]]
    assert [rolling.series[row].touchpoint for row in rolling.live(0, [OVERALL, TOUCHPOINT])] == [
        "checkout",
        "",
    ]
    assert rolling.sums(0, rolling.live(0, [OVERALL])).counts.tolist() == [[2]]
    rolling.advance((BASE + 1) * 60_000)
    assert rolling.sums(0, rolling.live(0, [OVERALL])).totals.tolist() == [10_000]
    rolling.advance((BASE + 62) * 60_000)
    assert not len(rolling.live(0, range(8)))


def test_old_cells_are_forgotten_and_minutes_become_hours():
    rolling = Rolling("csat", "csat_1_5", [Window("1h", 3600), Window("7d", 7 * 86_400)])
    rolling.advance(BASE * 60_000)
    (leaf,) = rolling.number(LEAVES[:1])
    rolling.add(*columns([(leaf, BASE - m, 5, 1, 0) for m in range(20_000)]))
    rolling.settle(BASE // HOUR)
    before = kept(rolling)
    while rolling.sum_up():
        pass
    assert kept(rolling) == before
    assert len(rolling._kept.minutes) <= 27 * HOUR
    assert len(rolling._kept.hours) == 7 * 24 - 24
    rolling.settle(BASE // HOUR + 8 * 24)
    assert not len(rolling._kept.minutes)
    assert not len(rolling._kept.hours)
    assert not len(rolling.held().at)


def test_many_small_changes_of_one_minute_add_up():
    rolling = Rolling("csat", "csat_1_5", [Window("5m", 300), Window("30d", 30 * 86_400)])
    rolling.advance(BASE * 60_000)
    (leaf,) = rolling.number(LEAVES[:1])
    for k in range(200):
        rolling.add(*columns([(leaf, BASE - k % 2, k % 5 + 1, 1, 1)]))
    for minutes, left in ((0, [40] * 5), (4, [40] * 5), (5, [20] * 5), (6, [0] * 5)):
        rolling.advance((BASE + minutes) * 60_000)
        assert rolling.sums(0, np.array([0])).counts.tolist() == [left]
        assert rolling.sums(1, np.array([0])).counts.tolist() == [[40] * 5]


def test_a_batch_may_be_applied_in_pieces(monkeypatch):
    monkeypatch.setattr("pipeline.measures.rolling._AT_ONCE", 2)
    rolling = Rolling("csat", "csat_1_5", [Window("5m", 300)])
    rolling.advance(BASE * 60_000)
    rolling.add(*columns([(rolling.number([leaf])[0], BASE, 5, 1, 5000) for leaf in LEAVES[:5]]))
    assert rolling.sums(0, rolling.live(0, [OVERALL])).counts.tolist() == [[5]]


def test_leaves_that_hold_nothing_leave_the_memory():
    rolling = Rolling("csat", "csat_1_5", [Window("5m", 300)])
    now = BASE // HOUR * HOUR
    for hour in range(200):
        rolling.settle(now // HOUR + hour)
        leaves = [Series("csat", "csat_1_5", f"{hour}-{k}", "web", "none") for k in range(10)]
        add(rolling, [(leaf, now + hour * HOUR, 5, 1, 5000) for leaf in leaves])
        rolling.let_go(unwanted, 1 << 30)
        assert len(rolling.series) < 4 * 10 * 2 * 30, (
            "each leaf has four rows of its own and is held for 27 hours"
        )


def test_to_let_go_of_many_leaves_holds_nobody_up():
    rolling, now = Rolling("csat", "csat_1_5", [Window("5m", 300)]), BASE // HOUR * HOUR
    some, others = (
        [Series("csat", "csat_1_5", f"{name}{k}", "web", "none") for k in range(100)] for name in "ab"
    )
    add(rolling, [(leaf, now, 5, 1, 5000) for leaf in some])
    rows = len(rolling.series)
    rolling.settle(now // HOUR + 30)
    gone = [len(rolling.let_go(unwanted, 10)) for _ in range(11)]
    assert gone == [*[40] * 9, rows - 9 * 40, 0], "four rows each, and with the last what all of them shared"
    add(rolling, [(leaf, now + 30 * HOUR, 5, 1, 5000) for leaf in others])
    assert len(rolling.series) == rows
    assert set(rolling.series) >= set(others)


def unwanted(rows):
    return np.zeros(rows.shape, np.bool_)
