"""`Records`: what one fetch brought from one topic partition, as columns. Undecoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import cast

import numpy as np
import numpy.typing as npt

from pipeline.events.joined import Joined

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one partition in offset order.

    Attributes:
        values: the raw values, `Joined` or one by one; None where Kafka has a null.
        offsets: int64, strictly ascending; gaps are normal (transaction markers, compaction).
        times: int64 milliseconds since 1970, the time the broker gave each record (`kafka_time`).
        since: offset from which on no record is left out, as whoever read them knows; None for that of the first.
    """

    values: Sequence[bytes | None]
    offsets: Int64s
    times: Int64s
    since: int | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def first(self) -> int:
        """Offset of the first record; there must be one."""
        return int(self.offsets[0])

    @property
    def last(self) -> int:
        """Offset of the last record; there must be one."""
        return int(self.offsets[-1])

    @property
    def start(self) -> int:
        """Offset from which on none is left out; up to the first one there is nothing but transaction markers."""
        return self.first if self.since is None else self.since

    def goes_on(self, end: int) -> bool:
        """Whether nothing is missing between what ended before the offset `end` and these."""
        return self.start <= end <= self.first

    @property
    def nbytes(self) -> int:
        """Size of all values."""
        if isinstance(self.values, Joined):
            return self.values.nbytes
        try:
            return sum(map(len, cast(Sequence[bytes], self.values)))
        except TypeError:  # a null among them; to look for it each time would cost more
            return sum(map(len, filter(None, self.values)))

    def split(self, count: int) -> tuple[Records, Records]:
        """The first `count` records, and the others."""
        if count >= len(self):
            return self, Records([], self.offsets[:0], self.times[:0])  # a copy would touch every value
        head = Records(self.values[:count], self.offsets[:count], self.times[:count], since=self.since)
        return head, self._from(count, head.last + 1 if count else self.since)

    def after(self, offset: int) -> Records:
        """The records beyond `offset`."""
        if not len(self) or offset < self.first:
            return self
        rest = int(np.searchsorted(self.offsets, offset, side="right"))
        return self._from(rest, offset + 1)

    def _from(self, row: int, since: int | None) -> Records:
        return Records(self.values[row:], self.offsets[row:], self.times[row:], since=since)

    @staticmethod
    def of(values: Sequence[bytes | None], offsets: Sequence[int], times: Sequence[int]) -> Records:
        """From plain sequences of one length."""
        return Records(values, np.asarray(offsets, np.int64), np.asarray(times, np.int64))

    @staticmethod
    def concat(parts: Sequence[Records]) -> Records:
        """One after the other; `parts` are in offset order, but where nobody minds of several partitions."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Records.of([], [], [])
        values = _concat([part.values for part in parts])
        offsets, times = (np.concatenate(x) for x in zip(*((p.offsets, p.times) for p in parts), strict=True))
        return Records(values, offsets, times, since=parts[0].since)


def _concat(parts: Sequence[Sequence[bytes | None]]) -> Sequence[bytes | None]:
    joined = [part for part in parts if isinstance(part, Joined)]
    return Joined.concat(joined) if len(joined) == len(parts) else list(chain.from_iterable(parts))
