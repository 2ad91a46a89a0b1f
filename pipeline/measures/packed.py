"""`Packed`: cells in as few bytes as their values need, mostly 4 or 5 instead of 24.

A worker keeps the cells of a day by the minute and of a month by the hour; they are looked at when they leave a window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# leaf: number of the leaf; column: of the bin; n: count; total: thousandths
CELL = np.dtype([("leaf", np.int32), ("column", np.int32), ("n", np.int64), ("total", np.int64)])
CellRows = npt.NDArray[np.void]


class Packed:
    """Cells of a bucket that is hardly ever changed any more, each column in the narrowest type that holds it."""

    __slots__ = ("_column", "_each", "_leaf", "_n", "_total")

    def __init__(self, cells: CellRows) -> None:
        """`cells` themselves are not kept."""
        self._leaf, self._column, self._n = (narrow(cells[name]) for name in ("leaf", "column", "n"))
        # of a survey the sum follows from the count: each answer of a column adds the same
        self._each = np.zeros(int(cells["column"].max(initial=-1)) + 1, np.int64)
        counted = cells[cells["n"] != 0]
        self._each[counted["column"]] = counted["total"] // counted["n"]
        follows = np.array_equal(cells["n"] * self._each[cells["column"]], cells["total"])
        self._total = None if follows else narrow(cells["total"])

    def __len__(self) -> int:
        return len(self._leaf)

    @property
    def nbytes(self) -> int:
        """What they take."""
        total = 0 if self._total is None else self._total.nbytes
        return int(self._leaf.nbytes + self._column.nbytes + self._n.nbytes + self._each.nbytes + total)

    def rows(self) -> CellRows:
        """A copy of the cells."""
        cells = np.empty(len(self._leaf), CELL)
        cells["leaf"], cells["column"], cells["n"] = self._leaf, self._column, self._n
        follows = self._total is None
        cells["total"] = cells["n"] * self._each[self._column] if follows else self._total
        return cells


def narrow(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same integers in the narrowest type."""
    if not len(values):
        return values.astype(np.uint8)
    kind = np.result_type(np.min_scalar_type(values.min()), np.min_scalar_type(values.max()))
    return values.astype(kind)
