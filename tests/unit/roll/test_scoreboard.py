"""Scores of windows, and what of them is news: the published history always ends with what holds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.measures.cells import Series, marginals
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.scores import Score, score
from pipeline.measures.sums import LEAF
from pipeline.measures.windows import Window

BASE = 29_000_000
WINDOWS = (Window("3m", 180), Window("1h", 3600), Window("2d", 172_800))
EMPTY = Score(None, None, None, 0)
LEAVES = [
    Series(metric, instrument, touchpoint, channel, "none")
    for metric, instrument in (
        ("nps", "nps_0_10"),
        ("csat", "csat_1_5"),
        ("ces", "ces_1_7_hard"),
        ("resolution", "first_resolution"),
        ("touchpoints", "order_paid"),
    )
    for touchpoint in ("checkout", "support")
    for channel in ("web", "app")
]
BINS = {
    "nps": st.integers(0, 10),
    "csat": st.integers(1, 5),
    "ces": st.integers(1, 7),
    "resolution": st.integers(-79, 240) | st.just(-1000),
    "touchpoints": st.just(0),
}


@st.composite
def cells(draw):
    leaf = draw(st.sampled_from(LEAVES))
    return leaf, BASE - draw(st.integers(-5, 90)), draw(BINS[leaf.metric]), draw(st.integers(1, 3))


def add(board, rows):
    leaves = list(dict.fromkeys(leaf for leaf, *_ in rows))
    at = np.array([leaves.index(leaf) for leaf, *_ in rows], np.uint32)
    minute, k, n = (np.array(x, np.int64) for x in zip(*(rest for _, *rest in rows), strict=True))
    board.add(leaves, at, minute.astype(np.int32), k.astype(np.int32), n, k * n * 1000)


def recount(rows, now):
    """(series, window, name) -> score, of touchpoints and overall, the slow way."""
    found = {}
    for window in WINDOWS:
        first = now - window.seconds // 60
        first -= first % 60 if window.seconds > 86_400 else 0
        histograms = {}
        for leaf, minute, k, n in rows:
            if first <= minute <= now and leaf.metric != "touchpoints":
                for series in marginals(leaf):
                    if not series.channel and not series.segment:
                        histogram = histograms.setdefault(series, {})
                        histogram[k] = histogram.get(k, 0) + n
        for series, histogram in histograms.items():
            for name, one in score(series.metric, SHIPPED.get(series.instrument), histogram).items():
                found[series, window.name, name] = one
    return found


def named(standings):
    return {(s.series, s.window, name): one for s in standings for name, one in s.scores.items()}


step = st.one_of(
    st.tuples(st.just("add"), st.lists(cells(), min_size=1, max_size=6)),
    st.tuples(st.just("wait"), st.integers(0, 200)),
    st.tuples(st.just("news"), st.tuples(st.booleans(), st.sampled_from([1, 3, 1000]))),
    st.tuples(st.just("recover"), st.none()),
    st.tuples(st.just("hours"), st.integers(1, 60)),
    st.tuples(st.just("let go"), st.none()),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(step, max_size=25))
def test_scores_and_their_history(steps):
    board, rows, now = Scoreboard(WINDOWS, SHIPPED), [], BASE * 60_000
    board.advance(now)
    history, told_at = {}, {}
    for what, value in steps:
        if what == "add":
            add(board, value)
            rows += value
        elif what == "wait":
            now += value * 1000
            board.advance(now)
        elif what == "news":
            take_news(board, history, told_at, *value)
        elif what == "hours":
            now += value * 3_600_000
            board.settle(now // 3_600_000)
            board.advance(now)
        elif what == "let go":
            board.let_go()
        else:
            board, told_at = recovered(rows, now), {}
        assert named(board.standings()) == recount(rows, now // 60_000)
    board.advance(now + 60_000)
    while take_news(board, history, told_at, arrives=True, limit=7):
        pass
    held = {key: one for key, one in history.items() if one.n}
    assert held == recount(rows, now // 60_000 + 1)
    assert all(one == EMPTY for key, one in history.items() if key not in held)
    assert not len(board.news())
    board.settle(now // 3_600_000 + 60)
    while take_news(board, history, told_at, arrives=True, limit=7):
        pass
    board.settle(now // 3_600_000 + 120)
    board.let_go()
    assert not any(len(book.rows_of("")) for book in board._open())


def take_news(board, history, told_at, arrives, limit):
    news = board.news(limit)
    assert len(news) <= limit
    for key, one in named(news.standings).items():
        assert not key[0].channel
        assert one != history.get(key) or key not in told_at  # after a recovery it may be told again
        if arrives:
            assert told_at.get(key, 0) < news.at // 60_000, "twice in a minute"
            history[key], told_at[key] = one, news.at // 60_000
    (board.published if arrives else board.not_published)(news)
    return news.more


def recovered(rows, now):
    board = Scoreboard(WINDOWS, SHIPPED)
    board.advance(now)
    if rows:
        add(board, rows)
    board.forget_what_was_published()
    return board


def test_windows_may_move_one_by_one_and_each_is_true_for_its_minute():
    """Nothing is told of one that is behind."""
    board, rows = Scoreboard(WINDOWS, SHIPPED), []
    for now in range(BASE, BASE + 130, 13):
        came = [(leaf, now - k, 5, 1) for leaf in LEAVES[4:6] for k in (0, 10, 70)]
        rows += came
        board.move(now * 60_000, 1)
        add(board, came)
        behind, ends = True, set()
        while behind:
            behind = board.move(now * 60_000, 1) <= 0
            (book,) = board._open()
            told = {one.window for one in board.news().standings}
            for w, window in enumerate(WINDOWS):
                end = book._end[w] - 1
                ends.add(end)
                assert end == now or window.name not in told
                (overall,) = [k for k, one in enumerate(book.series) if not any(one[2:])]
                first = window.span_now(end * 60)[0]
                assert book.sums(w, [overall]).counts.sum() == sum(
                    first <= minute <= end for _, minute, _, _ in rows
                )
        assert ends == {now, now - 13} if now > BASE else {now}


def test_an_empty_window_is_news_once_and_never_a_number():
    board = Scoreboard([Window("3m", 180)], SHIPPED)
    board.advance(BASE * 60_000)
    add(board, [(LEAVES[0], BASE, 9, 1)])
    board.published(board.news())
    board.advance((BASE + 4) * 60_000)
    news = board.news()
    assert set(named(news.standings).values()) == {EMPTY}
    assert len(news) == 2  # the touchpoint and overall
    board.published(news)
    board.advance((BASE + 9) * 60_000)
    assert not len(board.news())
    assert not list(board.standings())


def test_news_of_a_series_wait_for_the_next_minute():
    board = Scoreboard([Window("1h", 3600)], SHIPPED)
    board.advance(BASE * 60_000)
    add(board, [(LEAVES[0], BASE, 9, 1)])
    board.published(board.news())
    add(board, [(LEAVES[0], BASE, 9, 1)])
    board.advance(BASE * 60_000 + 59_999)
    assert not len(board.news())
    board.advance((BASE + 1) * 60_000)
    assert [score.n for score in named(board.news().standings).values()] == [2, 2]


def test_a_change_that_comes_to_nothing_is_no_news():
    board = Scoreboard([Window("1h", 3600)], SHIPPED)
    board.advance(BASE * 60_000)
    add(board, [(LEAVES[0], BASE, 9, 1)])
    board.published(board.news())
    add(board, [(LEAVES[0], BASE, 9, 1)])
    add(board, [(LEAVES[0], BASE, 9, -1)])
    board.advance((BASE + 1) * 60_000)
    assert not len(board.news())


def test_what_has_no_score_and_unknown_instruments_have_no_window():
    board = Scoreboard(WINDOWS, SHIPPED)
    board.advance(BASE * 60_000)
    add(
        board, [(LEAVES[-1], BASE, 0, 5), (Series("csat", "gone_1_5", "checkout", "web", "none"), BASE, 5, 1)]
    )
    assert not list(board.sums())


def test_an_answer_off_the_scale_as_it_is_now_silences_the_score_only():
    board = Scoreboard(WINDOWS, SHIPPED)
    board.advance(BASE * 60_000)
    add(board, [(Series("csat", "csat_1_3", "checkout", "web", "none"), BASE, 5, 1)])
    assert [s.scores for s in board.standings()] == [{}] * 6
    assert not len(board.news())
    assert len(list(board.sums([LEAF]))) == len(WINDOWS)


def test_news_that_are_left_for_the_next_time_take_turns():
    """However many change with every minute, all are told in the end."""
    board = Scoreboard([Window("3m", 180), Window("1h", 3600)], SHIPPED)
    told = set()
    for minute in range(BASE, BASE + 20):
        board.advance(minute * 60_000)
        add(board, [(leaf, minute, 1, 1) for leaf in LEAVES])
        news = board.news(2)
        board.published(news)
        assert news.more
        told |= named(news.standings).keys()
    everything = named(board.standings()).keys()
    assert told == everything
