"""`Scoreboard`: the rolling windows of everything one deltas partition counts, and which scores are news."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.measures.buckets import HOUR, HeldCells
from pipeline.measures.cells import MINUTE_MS, Series
from pipeline.measures.drilldown import Selection
from pipeline.measures.instruments import Instrument
from pipeline.measures.news import News, Place, Standing, Told
from pipeline.measures.rolling import Int64s, Rolling, floor_of
from pipeline.measures.scores import RESOLUTION, SHARES, ScoreColumns, score_matrix
from pipeline.measures.sums import LEVELS, OVERALL, TOUCHPOINT, WindowSums
from pipeline.measures.windows import Window

FOR_PEOPLE = (OVERALL, TOUCHPOINT)
_LONG_AGO = -(1 << 62)
_LOOKED_AT = 200  # leaves of a book in a tick; to let go of one costs some 5 us
_UNSCORED = "touchpoints"  # plain counts of them


class Scoreboard:
    """Windows of every (metric, instrument) that has a score; plain touchpoint counts have none.

    Args:
        windows: all of them, at least one.
        instruments: the ones in use, by name. Series of others are not scored: their scale is not known.
        keep: hours of which cells are kept; by default what the longest window needs.
    """

    def __init__(
        self, windows: Sequence[Window], instruments: Mapping[str, Instrument], keep: int | None = None
    ) -> None:
        self._windows = tuple(windows)
        self._keep = keep
        self._hour: int | None = None
        self._instruments = instruments
        self._books: dict[tuple[str, str], Rolling | None] = {}
        self._missing: dict[
            tuple[str, str], int
        ] = {}  # of no book: minute before which its cells were let go
        self._told: dict[Rolling, Told] = {}  # what was published of each book
        self._turn = 0  # which window of which book comes first in the next news
        self._now: int | None = None

    def add(
        self,
        leaves: Sequence[Series],
        at: npt.NDArray[np.uint32],
        minute: npt.NDArray[np.int32],
        bins: npt.NDArray[np.int32],
        n: Int64s,
        total: Int64s,
    ) -> None:
        """Add changes of cells, columns as in `CellChanges`."""
        of_book: dict[tuple[str, str], list[int]] = {}
        for k, leaf in enumerate(leaves):
            of_book.setdefault((leaf.metric, leaf.instrument), []).append(k)
        for key, members in of_book.items():
            book = self._book(key)
            if book is not None:
                number = np.full(len(leaves), -1, np.int32)
                number[members] = book.number([leaves[k] for k in members])
                rows = np.flatnonzero(number[at] >= 0)
                book.add(number[at[rows]], minute[rows], bins[rows], n[rows], total[rows])
            elif key[0] != _UNSCORED:
                let_go = minute[np.isin(at, members)].tolist()
                self.miss({key: max(let_go, default=_LONG_AGO) + HOUR})  # one may be the sum of an hour

    def settle(self, hour: int) -> None:
        """Log time has come to this hour since 1970; see `Rolling.settle`."""
        self._hour = hour
        if self._now is not None:
            self._now = self._come_to(self._now)
        for book in self._open():
            book.settle(hour)

    def held(self) -> HeldCells:
        """All cells that are kept: added to a new board that has settled at the same hour, they give the same."""
        books = [book.held() for book in self._open()]
        series = tuple(leaf for cells in books for leaf in cells.series)
        firsts = np.cumsum([0, *(len(cells.series) for cells in books)])
        at = [cells.at + np.uint32(first) for cells, first in zip(books, firsts.tolist(), strict=False)]
        columns = (
            np.concatenate([np.zeros(0, kind), *(getattr(cells, name) for cells in books)])
            for name, kind in (("minute", np.int32), ("bin", np.int32), ("n", np.int64), ("total", np.int64))
        )
        return HeldCells(series, np.concatenate([np.zeros(0, np.uint32), *at]), *columns)

    def missing(self) -> dict[tuple[str, str], int]:
        """(metric, instrument) -> the minute before which some of its cells were let go."""
        books = {(book.metric, book.instrument): book.missing for book in self._open()}
        return {key: minute for key, minute in (self._missing | books).items() if minute > _LONG_AGO}

    def miss(self, before: Mapping[tuple[str, str], int]) -> None:
        """Cells were let go by a board before this one; see `missing`."""
        for key, minute in before.items():
            self._missing[key] = max(minute, self._missing.get(key, _LONG_AGO))

    def advance(self, now_ms: int) -> None:
        """Let every window end with the minute of `now_ms`; the clock running backwards changes nothing."""
        self._now = self._come_to(now_ms)
        for book in self._open():
            book.advance(self._now)

    def move(self, now_ms: int, cells: int) -> int:
        """`advance`, but only until so many cells were moved.

        At the end of an hour a million cells leave the windows. A window that is left is true for the minute before.

        Returns:
            How many more it could have been; with 0 or less some windows may be left behind.
        """
        self._now = self._come_to(now_ms)
        for book in self._open():
            while cells > 0 and (moved := book.move(self._now)):
                cells -= moved
        return cells

    def sum_up(self, cells: int) -> None:
        """Give back memory of old minutes, until so many cells were summed; not while a thread looks at this."""
        for book in self._open():
            while cells > 0 and (summed := book.sum_up()):
                cells -= summed

    def _come_to(self, now_ms: int) -> int:
        """The time that it is then: never back, never too far behind log time."""
        floor = now_ms if self._hour is None else floor_of(self._hour) * MINUTE_MS
        return max(now_ms, floor, now_ms if self._now is None else self._now)

    def sums(self, levels: Sequence[int] = LEVELS) -> Iterator[WindowSums]:
        """What stands in every window for series of these levels that have answers there.

        A window that reaches further back than what was kept would show less than there was: it is left out until it
        is filled.
        """
        for book in self._open():
            for w in filter(book.filled, range(len(self._windows))):
                rows = book.live(w, levels)
                if len(rows):
                    yield book.sums(w, rows)

    def standings(self) -> Iterator[Standing]:
        """The scores of touchpoints and overall in every window; nothing where nobody answered."""
        for sums in self.sums(FOR_PEOPLE):
            yield from self.standings_of(sums)

    def around(self, chosen: Selection) -> Iterator[WindowSums]:
        """What stands around a selection in its window, and at the selection itself in the others.

        Only the series of its touchpoint are looked at.
        """
        for book in self._open():
            rows = [row for row in book.rows_of(chosen.touchpoint) if chosen.is_around(book.series[row])]
            own = [row for row in rows if chosen.is_itself(book.series[row])]
            for w, window in enumerate(self._windows):
                yield book.sums(w, rows if window.name == chosen.window else own)

    def news(self, limit: int = 1 << 30) -> News:
        """Scores of touchpoints and overall that differ from what was published, each at most once a minute.

        A score that has become empty is news once: value None and n 0. Otherwise its last value would stand
        in the history of scores for ever.

        Args:
            limit: how many scores are looked at; the others' turn comes with the next news. With each minute all of
                them may be told again at once, and whoever asks has other things to do as well.
        """
        if self._now is None:
            return News(0, (), (), more=False)
        now, windows = self._now, range(len(self._windows))
        places = [(b, w) for b in self._open() for w in windows if b.filled(w) and b.is_at(w, now)]
        found: list[tuple[Standing, Place]] = []
        for k in range(len(places)):
            book, window = places[(self._turn + k) % len(places)]
            rows = self._tellable(book, window)
            found += self._news_of(book, window, rows[:limit])
            if len(rows) > limit:
                self._turn = (self._turn + k + bool(limit)) % len(places)
                return News(self._now, *_columns(found), more=True)
            limit -= len(rows)
        return News(self._now, *_columns(found), more=False)

    def published(self, news: News) -> None:
        """The news have arrived."""
        for (book, window, row), standing in zip(news.places, news.standings, strict=True):
            self._told_of(book).tell(window, row, news.at // MINUTE_MS, standing.scores)

    def not_published(self, news: News) -> None:
        """The news may not have arrived: they are news again."""
        for book, window, row in news.places:
            book.mark(window, [row], changed=True)

    def let_go(self) -> None:
        """Give back the rows of series that hold nothing any more, bit by bit: tens of thousands may end at once.

        Not while news are on their way: they tell of rows.
        """
        for book in self._open():
            told = self._told_of(book)
            told.forget(book.let_go(told.owed, _LOOKED_AT))

    def forget_what_was_published(self) -> None:
        """Nobody knows what was published before a recovery: everything is news, empty windows included."""
        for book in self._open():
            book.mark_all()
            for window in range(len(self._windows)):
                self._told_of(book).doubt(window, book.changed(window, FOR_PEOPLE))

    def _tellable(self, book: Rolling, window: int) -> Int64s:
        """Rows that changed and were not told in this minute, those first that were not told for longest."""
        changed = book.changed(window, FOR_PEOPLE)
        return self._told_of(book).not_in(window, changed, (self._now or 0) // MINUTE_MS)

    def _news_of(self, book: Rolling, window: int, rows: Int64s) -> Iterator[tuple[Standing, Place]]:
        told = self._told_of(book)
        book.mark(window, rows, changed=False)
        for row, standing in zip(rows.tolist(), self.standings_of(book.sums(window, rows)), strict=True):
            if told.is_news(window, row, standing.scores):
                yield standing, (book, window, row)

    def _told_of(self, book: Rolling) -> Told:
        if book not in self._told:
            self._told[book] = Told(len(self._windows))
        return self._told[book]

    def standings_of(self, sums: WindowSums) -> Iterator[Standing]:
        """The scores of each series of these sums, empty ones included."""
        columns = score_columns(sums, self._instruments)
        for k, series in enumerate(sums.series):
            scores = {name: column.row(k) for name, column in columns.items()}
            yield Standing(series, sums.window, scores)

    def _open(self) -> Iterator[Rolling]:
        return (book for book in self._books.values() if book is not None)

    def _book(self, key: tuple[str, str]) -> Rolling | None:
        if key not in self._books:
            self._books[key] = self._opened(*key) if self._scored(*key) else None
        return self._books[key]

    def _opened(self, metric: str, instrument: str) -> Rolling:
        book = Rolling(metric, instrument, self._windows, self._keep)
        book.miss(self._missing.get((metric, instrument), _LONG_AGO))
        if self._hour is not None:
            book.settle(self._hour)
        if self._now is not None:
            book.advance(self._now)
        return book

    def _scored(self, metric: str, instrument: str) -> bool:
        asked = self._instruments.get(instrument)
        return asked.metric == metric if asked else metric == RESOLUTION or metric in SHARES


def _columns(found: Sequence[tuple[Standing, Place]]) -> tuple[tuple[Standing, ...], tuple[Place, ...]]:
    return tuple(standing for standing, _ in found), tuple(place for _, place in found)


def score_columns(sums: WindowSums, instruments: Mapping[str, Instrument]) -> dict[str, ScoreColumns]:
    """The scores of sums by name; none where answers lie outside the scale that the instrument has now."""
    asked = instruments.get(sums.instrument)
    if asked is not None and len(sums.bins) and (sums.bins[0] < asked.low or sums.bins[-1] > asked.high):
        return {}
    return score_matrix(sums.metric, asked, sums.counts, sums.bins)
