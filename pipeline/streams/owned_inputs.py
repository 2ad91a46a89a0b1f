"""`Owned`: one source partition that this worker owns, and what was told about it so far."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping

from pipeline.journal.partition import SourcePartition
from pipeline.journal.timers import timer_clock
from pipeline.streams.ownership import Kept
from pipeline.streams.tally_metrics import Told
from pipeline.streams.waiting import Waiting

_IDLE = 10.0  # seconds without a record after which only the wall clock tells that time passes


class Owned(Kept):
    """One source partition of ours."""

    def __init__(self, partition: SourcePartition) -> None:
        super().__init__()
        self.partition = partition
        self.telling = asyncio.Lock()  # who sends outcome counts
        self.waiting = Waiting()
        self.untold: set[int] = set()  # days whose outcome counts changed since they were sent
        self.told_sent: Mapping[tuple[str, int], int] = {}  # of what was sent downstream
        self.told = Told()
        self.expired = 0
        self.behind = 0
        self.read_to = 0  # before this offset there is nothing more to read
        self._owing: deque[tuple[int, int]] = deque()
        self._done = 0

    @property
    def reached(self) -> int:
        """The last offset that is settled."""
        return self.partition.state.applied

    @property
    def done(self) -> int:
        """What lies before this offset is settled, told, and sent on."""
        while self._owing and self._owing[0][1] <= self.partition.state.published:
            self._done = self._owing.popleft()[0] + 1
        return self._done

    def told_to(self, applied: int, owed: int) -> None:
        """The outcomes up to an offset were told; the effects up to `owed` may not be sent on yet."""
        self._owing.append((applied, owed))

    @property
    def idle(self) -> bool:
        """Nothing waits, and nothing has come for a while. The last offsets may hold no record."""
        following = self.reached + 1
        return following + self.behind <= max(self.read_to, following) and self.still_for(_IDLE)

    def clock(self) -> int:
        """Up to when time has passed, as far as cases are concerned, milliseconds since 1970."""
        return timer_clock(self.partition.state.watermark, int(time.time() * 1000), idle=self.idle)
