"""Rows that change cells, grouped into `CellChanges`: each cell once, sums of what happened to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.journal.deltas import CellChanges, deltas_partition
from pipeline.journal.index import Int32s, Int64s
from pipeline.measures.cells import Series

_DENSE = 8  # a table of all possible cells is cheaper than sorting, up to so many a row


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
    """One row a cell, sorted; rows that come to nothing are dropped."""
    span, width = (int(column.max() - column.min()) + 1 for column in (minute, bins))
    possible = (int(series.max()) + 1) * span * width
    if possible > _DENSE * len(series):
        return _summed_by_sorting(series, minute, bins, n, total)
    first_minute, first_bin = minute.min(), bins.min()
    key = (series * span + (minute - first_minute)) * width + (bins - first_bin)
    count, amount = np.zeros(possible, np.int64), np.zeros(possible, np.int64)
    np.add.at(count, key, n)
    np.add.at(amount, key, total)
    key = np.flatnonzero((count != 0) | (amount != 0))
    rest, place = np.divmod(key, width)
    number, time = np.divmod(rest, span)
    return number, time + first_minute, place + first_bin, count[key], amount[key]


def _summed_by_sorting(
    series: Int64s, minute: Int64s, bins: Int64s, n: Int64s, total: Int64s
) -> tuple[Int64s, Int64s, Int64s, Int64s, Int64s]:
    """The same where the possible cells are too many for a table of them all."""
    order = np.lexsort((bins, minute, series))
    series, minute, bins = series[order], minute[order], bins[order]
    new = (np.diff(series) != 0) | (np.diff(minute) != 0) | (np.diff(bins) != 0)
    starts = np.flatnonzero(np.concatenate(([True], new)))
    count, amount = np.add.reduceat(n[order], starts), np.add.reduceat(total[order], starts)
    keep = (count != 0) | (amount != 0)
    first = starts[keep]
    return series[first], minute[first], bins[first], count[keep], amount[keep]


def _part(
    names: list[Series], at: Int64s, minute: Int64s, bins: Int64s, n: Int64s, total: Int64s
) -> CellChanges:
    used, place = np.unique(at, return_inverse=True)
    series = tuple(names[k] for k in used.tolist())
    return CellChanges(
        series, place.astype(np.uint32), minute.astype(np.int32), bins.astype(np.int32), n, total
    )
