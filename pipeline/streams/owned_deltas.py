"""`Owned`: one deltas partition that this worker owns, and what was told about it so far."""

from __future__ import annotations

import asyncio
import math
import time

from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.rollup import Source
from pipeline.measures.scoreboard import Scoreboard
from pipeline.streams.ownership import Kept

_SCORES_EVERY = 0.25  # seconds


class Owned(Kept):
    """One deltas partition of ours."""

    def __init__(self, number: int, partition: DeltasPartition[Scoreboard]) -> None:
        super().__init__()
        self.number = number
        self.partition = partition
        self.sending = asyncio.Lock()  # who publishes
        self.more = False  # scores wait for the next tick
        self.behind = False  # and windows or cells: it should come soon
        self._room = 0  # cells
        self.told: dict[Source, int] = {}  # the deltas whose cells were said to be published
        self._scored = -math.inf
        self._board: Scoreboard | None = None
        self._missing: dict[Source, tuple[int, float]] = {}  # number -> when it was missed first

    @property
    def reached(self) -> int:
        """The offset to read next."""
        return self.partition.position

    @property
    def done(self) -> int:
        """The cells of the deltas before this offset are published."""
        return self.partition.done

    def board(self, now_ms: int, most: int) -> Scoreboard:
        """The windows, brought to `now_ms`, as far as that takes no more than `most` cells.

        Those of a snapshot do not know what was published.
        """
        board = self.partition.board
        self._room = board.move(now_ms, most)
        self.behind = self._room <= 0
        if board is not self._board:
            board.forget_what_was_published()
            self._board = board
        return board

    def scores_due(self, *, hurry: bool) -> bool:
        """Whether it is time to look for news; in a hurry, when tick follows tick for the cells, not at each of them.

        To look costs as much as a thousand cells, and what is told at most once a minute is hardly ever news.
        """
        now = time.monotonic()
        if hurry and now - self._scored < _SCORES_EVERY:
            return False
        self._scored = now
        return True

    def let_go(self) -> None:
        """Give memory back, if no thread may be looking at it. No news are on their way.

        For as many cells as `board` had left: to move windows and to sum up in one tick would hold the loop for long.
        """
        if not self.lock.locked():
            self.partition.board.sum_up(self._room)
            self.partition.board.let_go()

    @property
    def lacking(self) -> int:
        """How many sources `gaps` has told of whose next delta is missing still."""
        return sum(since == math.inf for _, since in self._missing.values())

    def gaps(self, patience: float) -> list[tuple[Source, int]]:
        """Sources whose next delta has been missing for so many seconds, each number once."""
        now, missing = time.monotonic(), self.partition.rollup.missing
        before = self._missing
        self._missing = {
            s: before[s] if s in before and before[s][0] == n else (n, now) for s, n in missing.items()
        }
        found = [(s, n) for s, (n, since) in self._missing.items() if now - since >= patience]
        self._missing |= {s: (n, math.inf) for s, n in found}  # told
        return found
