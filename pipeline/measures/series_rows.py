"""`SeriesRows`: the series of one (metric, instrument), leaves and their marginals, each with a row."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, count, islice, product

import numpy as np
import numpy.typing as npt

from pipeline.measures.buckets import Int32s, Int64s, room
from pipeline.measures.cells import ANY, Series

MARGINALS = 8  # of a leaf, itself included
_Key = tuple[str, ...]  # touchpoint, channel, segment


class SeriesRows:
    """Rows are numbered in order of first sight, and so are leaves.

    Args:
        metric: of every series.
        instrument: of every series.

    Attributes:
        series: one a row.
    """

    def __init__(self, metric: str, instrument: str) -> None:
        self.series: list[Series] = []
        self._name = metric, instrument
        self._leaf: dict[Series, int] = {}
        self._row: defaultdict[_Key, int] = defaultdict(count().__next__)  # a new key gets the next row
        self._of_touchpoint: defaultdict[str, array[int]] = defaultdict(
            _ints
        )  # four bytes a row, there are many
        self._marginals = np.zeros((0, MARGINALS), np.int32)  # leaf -> its rows
        self._level = np.zeros(0, np.int8)

    def __len__(self) -> int:
        return len(self.series)

    @property
    def leaves(self) -> list[Series]:
        """In the order of their numbers."""
        return list(self._leaf)

    @property
    def leaf_count(self) -> int:
        """How many leaves there are."""
        return len(self._leaf)

    @property
    def level(self) -> npt.NDArray[np.int8]:
        """Which dimensions each row names: OVERALL, TOUCHPOINT, LEAF or between."""
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

    def only(self, leaves: Int64s) -> tuple[SeriesRows, Int64s]:
        """Rows for these leaves alone, numbered in this order; and which row of these here each of them is."""
        kept, names = SeriesRows(*self._name), self.leaves
        kept.number([names[leaf] for leaf in leaves.tolist()])
        rows = np.zeros(len(kept), np.int64)
        rows[kept._marginals[: len(leaves)]] = self._marginals[leaves]
        return kept, rows

    def _add(self, leaves: Sequence[Series]) -> None:
        """A whole batch: after a start there are tens of thousands."""
        row, first, known = self._row, len(self._leaf), len(self.series)
        rows = [row[key] for leaf in leaves for key in _kept_or_summed(leaf)]
        self._leaf.update(zip(leaves, range(first, first + len(leaves)), strict=True))
        if len(self._leaf) > len(self._marginals):
            self._marginals = room(self._marginals, 2 * len(self._leaf))
        self._marginals[first : len(self._leaf)] = np.reshape(rows, (-1, MARGINALS))
        new = list(islice(reversed(row), len(row) - known))
        self._name_rows(new[::-1])

    def _name_rows(self, keys: Sequence[_Key]) -> None:
        first = len(self.series)
        self.series += [Series(*self._name, *key) for key in keys]
        for number, (touchpoint, *_) in enumerate(keys, first):
            self._of_touchpoint[touchpoint].append(number)
        if len(self.series) > len(self._level):
            self._level = room(self._level, 2 * len(self.series))
        named = np.fromiter(map(bool, chain.from_iterable(keys)), np.int8, 3 * len(keys))
        self._level[first : len(self.series)] = named.reshape(-1, 3) @ np.array([1, 2, 4], np.int8)


def _kept_or_summed(leaf: Series) -> Iterator[_Key]:
    _, _, touchpoint, channel, segment = leaf
    return product((touchpoint, ANY), (channel, ANY), (segment, ANY))


def _ints() -> array[int]:
    return array("i")
