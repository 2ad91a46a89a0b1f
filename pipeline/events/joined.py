"""`Joined`: many values behind each other in one piece of memory.

Whoever reads a batch joins it anyway. Joined by the one who fetches, while they are in its cache, the values take less
time and half of the memory: nobody keeps an object for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

import numpy as np

from pipeline.events.found import Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Joined(Sequence[bytes]):
    """Values; one that is asked for is a copy.

    Attributes:
        raw: their bytes, perhaps between others.
        edges: int64, where in `raw` each value begins, and where the last one ends: one more than values.
    """

    raw: bytes
    edges: Int64s

    @staticmethod
    def of(values: Sequence[bytes]) -> Joined:
        """Join values; TypeError if there is a None among them."""
        edges = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=edges[1:])
        return Joined(b"".join(values), edges)

    @staticmethod
    def concat(parts: Sequence[Joined]) -> Joined:
        """One after the other; at least one."""
        before = np.cumsum([0, *(part.nbytes for part in parts)])
        edges = [part.edges[:-1] + (at - part.edges[0]) for part, at in zip(parts, before, strict=False)]
        return Joined(b"".join(part.bytes for part in parts), np.concatenate((*edges, before[-1:])))

    def __len__(self) -> int:
        return len(self.edges) - 1

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Joined: ...
    def __getitem__(self, at: int | slice) -> bytes | Joined:
        if isinstance(at, slice):
            first, end, _ = at.indices(len(self))
            return Joined(self.raw, self.edges[first : max(first, end) + 1])
        row = range(len(self))[at]
        return self.raw[self.edges[row] : self.edges[row + 1]]

    def __iter__(self) -> Iterator[bytes]:
        raw = self.raw
        return (raw[a:b] for a, b in pairwise(self.edges.tolist()))

    @property
    def nbytes(self) -> int:
        """Size of all values."""
        return int(self.edges[-1] - self.edges[0])

    @property
    def bytes(self) -> memoryview:
        """All values behind each other."""
        return memoryview(self.raw)[self.edges[0] : self.edges[-1]]
