"""`SeriesRows`: the series of one (metric, instrument), leaves and their marginals, each with a row."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, islice, product

import numpy as np
import numpy.typing as npt

from pipeline.measures.buckets import Int32s, Int64s, room
from pipeline.measures.cells import ANY, Series

MARGINALS = 8  # of a leaf, itself included
NOBODY = 8  # the level of a row that was given back: none of those that name dimensions
_Key = tuple[str, ...]  # touchpoint, channel, segment


class SeriesRows:
    """Rows and leaves have numbers; those that are given back are the next ones to be given.

    Args:
        metric: of every series.
        instrument: of every series.

    Attributes:
        series: one a row; of a row that is nobody's, whose it was.
        leaves: by number, in the same way.
    """

    def __init__(self, metric: str, instrument: str) -> None:
        self.series: list[Series] = []
        self.leaves: list[Series] = []
        self._name = metric, instrument
        self._numbers, self._places = Numbers(), Numbers()  # of leaves, of rows
        self._leaf: dict[Series, int] = {}
        self._row: defaultdict[_Key, int] = defaultdict(self._places)  # a new key gets the next row
        self._of_touchpoint: defaultdict[str, array[int]] = defaultdict(
            _ints
        )  # four bytes a row, there are many
        self._marginals = np.zeros((0, MARGINALS), np.int32)  # leaf -> its rows
        self._held_by = np.zeros(0, np.int32)  # row -> how many leaves are in it
        self._level = np.zeros(0, np.int8)

    def __len__(self) -> int:
        return len(self.series)

    @property
    def level(self) -> npt.NDArray[np.int8]:
        """Which dimensions each row names: OVERALL, TOUCHPOINT, LEAF or between; NOBODY if it is nobody's."""
        return self._level[: len(self.series)]

    def number(self, leaves: Sequence[Series]) -> Int32s:
        """The number of each of these leaves, which must name every dimension."""
        numbers = np.fromiter((self._leaf.get(leaf, -1) for leaf in leaves), np.int32, len(leaves))
        new = np.flatnonzero(numbers < 0).tolist()
        if new:
            self._add(list(dict.fromkeys(leaves[k] for k in new)))
            numbers[new] = [self._leaf[leaves[k]] for k in new]
        return numbers

    def marginals(self, leaf: Int32s) -> Int32s:
        """int32[k, 8], the rows of each leaf and of its marginals."""
        rows: Int32s = self._marginals[leaf]
        return rows

    def of_touchpoint(self, touchpoint: str) -> Sequence[int]:
        """The rows of one touchpoint (of all together where it is empty)."""
        return self._of_touchpoint.get(touchpoint, ())

    def among(self, first: int, end: int) -> Int32s:
        """Which numbers in [first, end) are those of leaves."""
        numbers = range(first, min(end, len(self.leaves)))
        return np.array([k for k in numbers if self._leaf.get(self.leaves[k]) == k], np.int32)

    def give_back(self, leaves: Int32s) -> Int64s:
        """Take these leaves away, and the rows that no other leaf is in: which rows."""
        for number in leaves.tolist():
            del self._leaf[self.leaves[number]]
        self._numbers.give_back(leaves.tolist())
        rows = self._marginals[leaves].reshape(-1)
        np.subtract.at(self._held_by, rows, 1)
        gone: Int64s = np.unique(rows[self._held_by[rows] == 0]).astype(np.int64)
        for row in gone.tolist():
            del self._row[self.series[row][2:]]
        self._places.give_back(gone.tolist())
        self._level[gone] = NOBODY
        for touchpoint in {self.series[row].touchpoint for row in gone.tolist()}:
            self._leave(touchpoint)
        return gone

    def _leave(self, touchpoint: str) -> None:
        left = [row for row in self._of_touchpoint.pop(touchpoint) if self._level[row] != NOBODY]
        if left:
            self._of_touchpoint[touchpoint] = array("i", left)

    def _add(self, leaves: Sequence[Series]) -> None:
        """A whole batch: after a start there are tens of thousands."""
        row, known = self._row, len(self._row)
        numbers = [self._numbers() for _ in leaves]
        rows = [row[key] for leaf in leaves for key in _kept_or_summed(leaf)]
        self._leaf.update(zip(leaves, numbers, strict=True))
        self._name_rows(list(islice(reversed(row), len(row) - known))[::-1])
        self.leaves += [*leaves[: self._numbers.end - len(self.leaves)]]
        for number, leaf in zip(numbers, leaves, strict=True):
            self.leaves[number] = leaf
        if len(self.leaves) > len(self._marginals):
            self._marginals = room(self._marginals, 2 * len(self.leaves))
        self._marginals[numbers] = np.reshape(rows, (-1, MARGINALS))
        np.add.at(self._held_by, rows, 1)

    def _name_rows(self, keys: Sequence[_Key]) -> None:
        names = [Series(*self._name, *key) for key in keys]
        rows = [self._row[key] for key in keys]
        self.series += names[: self._places.end - len(self.series)]
        for row, name in zip(rows, names, strict=True):
            self.series[row] = name
            self._of_touchpoint[name.touchpoint].append(row)
        if len(self.series) > len(self._level):
            self._level = room(self._level, 2 * len(self.series))
            self._held_by = room(self._held_by, 2 * len(self.series))
        named = np.fromiter(map(bool, chain.from_iterable(keys)), np.int8, 3 * len(keys))
        self._level[rows] = named.reshape(-1, 3) @ np.array([1, 2, 4], np.int8)


class Numbers:
    """0, 1, 2, ...; what was given back comes first.

    Attributes:
        end: no number was given yet that is not below.
    """

    def __init__(self) -> None:
        self.end = 0
        self._free: list[int] = []

    def __call__(self) -> int:
        """The next one."""
        if self._free:
            return self._free.pop()
        self.end += 1
        return self.end - 1

    def give_back(self, numbers: Sequence[int]) -> None:
        """Nobody has these any more."""
        self._free += numbers


def _kept_or_summed(leaf: Series) -> Iterator[_Key]:
    _, _, touchpoint, channel, segment = leaf
    return product((touchpoint, ANY), (channel, ANY), (segment, ANY))


def _ints() -> array[int]:
    return array("i")
