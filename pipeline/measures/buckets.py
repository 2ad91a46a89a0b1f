"""`Buckets`: the cells of leaves by time, so that what enters or leaves a window is found at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.measures.cells import Series
from pipeline.measures.packed import CELL, CellRows, Packed

HOUR = 60  # minutes
_ROOMY = 16  # places for a cell in a table of all that there could be: below, the table is faster than a sort
_PARTS = 16  # a bucket holds at most so many parts before they are summed into one
_SMALL = 64  # cells; below, packing them would take more than it gives back
_YOUNG = 2  # the latest buckets change all the time; those before are packed

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
NO_CELLS: CellRows = np.empty(0, CELL)


@dataclass(frozen=True, slots=True)
class HeldCells:
    """Cells of leaves as columns.

    Attributes:
        series: the distinct leaves that occur.
        at: uint32, index into `series`.
        minute: int32, the bucket in minutes since 1970, or the start of the hour that it was summed into.
        bin: int32.
        n: int64.
        total: int64, thousandths.
    """

    series: tuple[Series, ...]
    at: npt.NDArray[np.uint32]
    minute: Int32s
    bin: Int32s
    n: Int64s
    total: Int64s


class Buckets:
    """Start of a bucket -> its cells. `unit` is 1 for minutes and HOUR for hours."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._buckets: dict[int, list[CellRows | Packed]] = {}
        self._young: set[int] = set()  # buckets that were never packed
        self._latest = -(1 << 40)

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, minutes: Int32s, cells: CellRows) -> None:
        """Add cells; `minutes` ascend."""
        if not len(cells):
            return
        starts = minutes // self._unit
        cuts = np.flatnonzero(np.diff(starts)) + 1
        edges = [0, *cuts.tolist(), len(cells)]
        for start, first, last in zip(starts[edges[:-1]].tolist(), edges, edges[1:], strict=False):
            if start not in self._buckets:
                self._buckets[start] = []
                self._young.add(start)
            parts = self._buckets[start]
            # A copy, where the batch spans many buckets: one small bucket would keep the whole batch alive.
            parts.append(cells[first:last].copy() if len(edges) > 2 else cells)
            if len(parts) > _PARTS:
                self._sum(start)
        self._latest = max(self._latest, int(starts[-1]))
        for start in [start for start in self._young if self._is_old(start)]:
            self._sum(start)
            self._young.remove(start)

    def between(self, first: int, end: int) -> list[CellRows]:
        """The cells of the buckets that start in [first, end) minutes, in parts, in no order."""
        return [rows_of(part) for start in self._starts(first, end) for part in self._buckets[start]]

    def first(self) -> int | None:
        """The minute at which the first bucket starts."""
        return min(self._buckets) * self._unit if self._buckets else None

    def take(self, first: int, end: int) -> list[tuple[int, CellRows]]:
        """Remove the buckets that start in [first, end) minutes: (start in minutes, cells), ascending."""
        taken = [(start, self._buckets.pop(start)) for start in sorted(self._starts(first, end))]
        self._young.difference_update(start for start, _ in taken)
        return [(start * self._unit, np.concatenate([*map(rows_of, parts)])) for start, parts in taken]

    def rows(self) -> tuple[Int32s, CellRows]:
        """Everything: the minute at which the bucket of each row starts, and the rows. Changes nothing."""
        held = {start: _one(parts) for start, parts in self._buckets.items()}
        starts = np.fromiter(held, np.int32, len(held)) * self._unit
        minutes = np.repeat(starts, [len(cells) for cells in held.values()])
        return minutes.astype(np.int32), np.concatenate([NO_CELLS, *held.values()])

    @property
    def nbytes(self) -> int:
        """Memory that the cells take."""
        return sum(part.nbytes for part in self._parts())

    def _is_old(self, start: int) -> bool:
        return start <= self._latest - _YOUNG

    def _sum(self, start: int) -> None:
        """One part of many; in few bytes, where hardly anything will come."""
        cells = _one(self._buckets[start])
        pack = self._is_old(start) and len(cells) >= _SMALL
        self._buckets[start] = [Packed(cells) if pack else cells]

    def _parts(self) -> Iterator[CellRows | Packed]:
        return (part for parts in self._buckets.values() for part in parts)

    def _starts(self, first: int, end: int) -> list[int]:
        wanted = range(-(-first // self._unit), -(-end // self._unit))
        return list(_present(wanted, self._buckets))


def _present(wanted: range, buckets: Mapping[int, Any]) -> Iterator[int]:
    """Which of `wanted` there are, in time proportional to the smaller of the two."""
    if len(wanted) < len(buckets):
        return (start for start in wanted if start in buckets)
    return (start for start in buckets if start in wanted)


def rows_of(part: CellRows | Packed) -> CellRows:
    """Its cells."""
    return part.rows() if isinstance(part, Packed) else part


def _one(parts: list[CellRows | Packed]) -> CellRows:
    rows = [*map(rows_of, parts)]
    return rows[0] if len(rows) == 1 else summed(np.concatenate(rows))


def summed(cells: CellRows) -> CellRows:
    """Each (leaf, column) once, ascending; what comes to nothing is left out."""
    if not len(cells):
        return cells
    width = int(cells["column"].max()) + 1
    key, size = (
        cells["leaf"].astype(np.int64) * width + cells["column"],
        (int(cells["leaf"].max()) + 1) * width,
    )
    if size > _ROOMY * len(cells):  # far apart: numbered first, by a sort, which is what costs most
        known, key = np.unique(key, return_inverse=True)
    else:
        known = np.arange(size)
    sums = np.zeros((2, len(known)), np.int64)
    for column, name in zip(sums, ("n", "total"), strict=True):
        np.add.at(column, key, cells[name])
    held = np.flatnonzero(sums.any(axis=0))
    out = np.empty(len(held), CELL)
    out["leaf"], out["column"] = np.divmod(known[held], width)
    out["n"], out["total"] = sums[:, held]
    return out


def room(array: npt.NDArray[Any], size: int, axis: int = 0) -> npt.NDArray[Any]:
    """`array` with zeros behind it, so that it has `size` along `axis`."""
    shape = list(array.shape)
    shape[axis] = size - shape[axis]
    return np.concatenate((array, np.zeros(shape, array.dtype)), axis)
