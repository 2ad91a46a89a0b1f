"""`News`: scores that differ from what was published, and `Told`, what was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.measures.buckets import room
from pipeline.measures.cells import Series
from pipeline.measures.rolling import Int32s, Int64s, Rolling
from pipeline.measures.scores import Score

_NEVER = -(1 << 62)
Place = tuple[Rolling, int, int]  # a row of a window
Scores = Mapping[str, Score]


class Standing(NamedTuple):
    """The scores of one series in one window, by name (CES has three)."""

    series: Series
    window: str
    scores: Scores

    def rows(self) -> list[dict[str, Any]]:
        """One a score, as people read them: series, window, value, lower, upper, n; nothing where nobody answered."""
        at = {**self.series._asdict(), "window": self.window}
        return [{**at, "metric": name, **one._asdict()} for name, one in self.scores.items() if one.n]


@dataclass(frozen=True, slots=True)
class News:
    """Scores to publish, and what must be remembered once they are.

    Attributes:
        at: their time in milliseconds.
        standings: the scores.
        places: where each stands.
        more: others were left for the next news.
    """

    at: int
    standings: tuple[Standing, ...]
    places: tuple[Place, ...]
    more: bool

    def __len__(self) -> int:
        return len(self.standings)


LATER = News(0, (), (), more=True)  # of somebody who did not look


class Told:
    """What was published last of the series of one book, by window and row, and in which minute."""

    def __init__(self, windows: int) -> None:
        self._minute = np.zeros((windows, 0), np.int64)
        self._scores: dict[tuple[int, int], Scores] = {}

    def not_in(self, window: int, rows: Int64s, minute: int) -> Int64s:
        """Those of `rows` of which nothing was told in this minute, those first that were not told for longest."""
        self._grow(rows)
        mine: Int64s = rows[self._minute[window, rows] < minute]
        return mine[np.argsort(self._minute[window, mine], kind="stable")]

    def is_news(self, window: int, row: int, scores: Scores) -> bool:
        """Whether they differ from what was published, or from nothing if nothing was."""
        if (window, row) in self._scores:
            return scores != self._scores[window, row]
        return any(score.n for score in scores.values())

    def tell(self, window: int, row: int, minute: int, scores: Scores) -> None:
        """They were published."""
        self._minute[window, row] = minute
        self._scores[window, row] = scores

    def doubt(self, window: int, rows: Int64s) -> None:
        """Nobody knows what was published of these, if anything: whatever they are now is news."""
        self._grow(rows)
        self._minute[window, rows] = _NEVER
        self._scores |= {(window, row): {} for row in rows.tolist()}

    def owed(self, rows: Int32s) -> npt.NDArray[np.bool_]:
        """Of which of these rows a score was published, or perhaps: their end must be told, too."""
        owed = [row for row in set(rows.reshape(-1).tolist()) if self._is_owed(row)]
        return np.isin(rows, owed)

    def forget(self, rows: Int64s) -> None:
        """These rows are nobody's now."""
        self._minute[:, rows[rows < self._minute.shape[1]]] = _NEVER
        for window in range(len(self._minute)):
            for row in rows.tolist():
                self._scores.pop((window, row), None)

    def _is_owed(self, row: int) -> bool:
        of_row = ((w, self._scores[w, row]) for w in range(len(self._minute)) if (w, row) in self._scores)
        return any(
            self._minute[w, row] == _NEVER or any(one.n for one in scores.values()) for w, scores in of_row
        )

    def _grow(self, rows: Int64s) -> None:
        """Room for these rows, ascending, by doubling."""
        known = self._minute.shape[1]
        if len(rows) and rows[-1] >= known:
            self._minute = room(self._minute, max(16, 2 * int(rows[-1]) + 2), axis=1)
            self._minute[:, known:] = _NEVER
