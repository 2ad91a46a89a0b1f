"""Rows that change cells, grouped into `CellChanges`: each cell once, sums of what happened to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.journal.deltas import CellChanges, deltas_partition
from pipeline.journal.index import Int32s, Int64s
from pipeline.measures.cells import Series


class Changes:
    """Collects changes of cells by (number of the leaf, minute, bin), then groups them."""

    def __init__(self) -> None:
        self._parts: list[tuple[Int64s, Int64s, Int64s, Int64s, Int64s]] = []

    def add(
        self,
        series: Int32s | Int64s,
        minute: Int32s | Int64s,
        bins: Int32s | Int64s,
        n: int | Int64s,
        total: Int64s,
    ) -> None:
        """Columns of one length; `total` in thousandths, `n` one number for all or a column."""
        if len(series):
            count = np.full(len(series), n, np.int64) if isinstance(n, int) else n
            wide = (series.astype(np.int64), minute.astype(np.int64), bins.astype(np.int64))
            self._parts.append((*wide, count, total.astype(np.int64)))

    def by_partition(self, leaf: Callable[[int], Series], partitions: int) -> dict[int, CellChanges]:
        """Deltas partition -> the cells of it that changed. Cells whose changes cancel are left out.

        Args:
            leaf: the leaf of a number.
            partitions: how many deltas partitions there are.
        """
        if not self._parts:
            return {}
        series, minute, bins, n, total = (np.concatenate(x) for x in zip(*self._parts, strict=True))
        series, minute, bins, n, total = _summed(series, minute, bins, n, total)
        used, at = np.unique(series, return_inverse=True)
        names = [leaf(k) for k in used.tolist()]
        owner = np.array([deltas_partition(s.metric, s.instrument, partitions) for s in names], np.int64)[at]
        return {
            int(q): _part(names, at[rows], minute[rows], bins[rows], n[rows], total[rows])
            for q in np.unique(owner)
            if len(rows := np.flatnonzero(owner == q))
        }


def _summed(
    series: Int64s, minute: Int64s, bins: Int64s, n: Int64s, total: Int64s
) -> tuple[Int64s, Int64s, Int64s, Int64s, Int64s]:
    """One row a cell, in no particular order; rows that come to nothing are dropped."""
    key = _key(series, minute, bins)
    order = np.argsort(key)
    ordered = key[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    count = np.add.reduceat(n[order], starts)
    amount = np.add.reduceat(total[order], starts)
    keep = (count != 0) | (amount != 0)
    first = order[starts]
    first = first[keep]
    return series[first], minute[first], bins[first], count[keep], amount[keep]


def _key(series: Int64s, minute: Int64s, bins: Int64s) -> npt.NDArray[np.int64]:
    """A number that is the same for the same cell and for no other one of these."""
    width = int(bins.max() - bins.min()) + 1
    span = int(minute.max() - minute.min()) + 1
    if (int(series.max()) + 1) * span * width < 1 << 62:
        return np.asarray((series * span + (minute - minute.min())) * width + (bins - bins.min()))
    rows = np.stack((series, minute, bins))  # minutes from the year 1 to the year 9999 in one batch
    return np.unique(rows, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _part(
    names: list[Series], at: Int64s, minute: Int64s, bins: Int64s, n: Int64s, total: Int64s
) -> CellChanges:
    used, place = np.unique(at, return_inverse=True)
    series = tuple(names[k] for k in used.tolist())
    return CellChanges(
        series, place.astype(np.uint32), minute.astype(np.int32), bins.astype(np.int32), n, total
    )
