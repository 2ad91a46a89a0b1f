"""Numbers of leaves: a state knows some, a batch adds others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.events.labels import Label, Labels
from pipeline.journal.index import Int32s
from pipeline.journal.state import State
from pipeline.measures.cells import NO_SEGMENT, Series

NameLeaf = Callable[[Label], Series]


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

    def numbers(self, labels: Labels, name: NameLeaf) -> Int32s:
        """The number of each record's leaf; new ones in the order in which they occur, so that it is always the same.

        Args:
            labels: the texts that tell leaves apart.
            name: the leaf of such texts.
        """
        leaves = list(map(name, labels.texts))
        numbers = list(map(self._state.leaf_numbers.get, leaves))
        if None in numbers:
            numbers = list(map(self.number, leaves))
        return np.array(numbers, np.int32)[labels.code]


def segment_of(text: str | None) -> str:
    """A leaf whose segment is null or empty is called "none"."""
    return text or NO_SEGMENT
