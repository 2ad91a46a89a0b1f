"""Rows of a batch to numbers of leaves: strings are looked at once a distinct leaf, not once a record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from pipeline.journal.index import Int32s
from pipeline.journal.state import State
from pipeline.measures.cells import NO_SEGMENT, Series

NameLeaf = Callable[[dict[str, str | None]], Series]


class Leaves:
    """Numbers of leaves as of a state, and those that a batch adds to them. The state is not changed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._numbers: dict[Series, int] = {}
        self._new: list[Series] = []

    @property
    def new(self) -> tuple[Series, ...]:
        """Leaves that the state does not know yet, in the order of their numbers."""
        return tuple(self._new)

    def number(self, leaf: Series) -> int:
        """The number of one leaf."""
        number = self._state.number(leaf)
        if number is None:
            following = len(self._state.leaves) + len(self._new)
            number = self._numbers.setdefault(leaf, following)
            if number == following:
                self._new.append(leaf)
        return number

    def leaf(self, number: int) -> Series:
        """The leaf of a number."""
        known = self._state.leaves
        return known[number] if number < len(known) else self._new[number - len(known)]

    def number_rows(self, frame: pl.DataFrame, name: NameLeaf) -> Int32s:
        """The number of each row's leaf.

        Args:
            frame: the columns that tell leaves apart.
            name: the leaf of a row, given as a dict of these columns.
        """
        if not frame.height:
            return np.zeros(0, np.int32)
        _, inverse = np.unique(frame.hash_rows(seed=0).to_numpy(), return_inverse=True)
        first = np.empty(int(inverse.max()) + 1, np.int64)
        first[inverse[::-1]] = np.arange(frame.height)[::-1]  # of several rows the first is written last
        # in the order of appearance, so that the same records always give the same numbers
        numbers = np.empty(len(first), np.int32)
        order = np.argsort(first)
        for k, row in zip(order.tolist(), frame[first[order]].iter_rows(named=True), strict=True):
            numbers[k] = self.number(name(row))
        return np.asarray(numbers[inverse])


def segment_of(row: dict[str, str | None]) -> str:
    """A leaf whose segment is null is called "none"."""
    return row["segment"] or NO_SEGMENT
