"""`WindowSums`: what stands in one window of some series of one (metric, instrument)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from pipeline.measures.cells import Series

OVERALL, TOUCHPOINT, LEAF = 0, 1, 7  # which dimensions a series names: 1 touchpoint + 2 channel + 4 segment
LEVELS = tuple(range(8))  # leaves and every marginal of them


@dataclass(frozen=True, slots=True)
class WindowSums:
    """A copy of what stands in one window of some series.

    Attributes:
        metric: of every series.
        instrument: of every series.
        window: its name.
        series: one a row.
        level: int8, which dimensions each series names (OVERALL, TOUCHPOINT, LEAF or between).
        bins: int32[width], ascending.
        counts: int64[rows, width].
        totals: int64[rows], sums in thousandths.
    """

    metric: str
    instrument: str
    window: str
    series: tuple[Series, ...]
    level: npt.NDArray[np.int8]
    bins: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    totals: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stack:
    """Several windows of one (metric, instrument), one below the other: scored at once, they cost little more than one.

    Attributes:
        sums: the rows of all of them; its window is "".
        windows: their names.
        window: int64[rows], the place of each row's window in `windows`.
    """

    sums: WindowSums
    windows: tuple[str, ...]
    window: npt.NDArray[np.int64]


def stacks(windows: Iterable[WindowSums]) -> Iterator[Stack]:
    """Those of one (metric, instrument) with the same bins together."""
    alike: dict[tuple[str, str, bytes], list[WindowSums]] = {}
    for sums in windows:
        alike.setdefault((sums.metric, sums.instrument, sums.bins.tobytes()), []).append(sums)
    for many in alike.values():
        whole = replace(
            many[0],
            window="",
            series=tuple(chain.from_iterable(sums.series for sums in many)),
            level=np.concatenate([sums.level for sums in many]),
            counts=np.concatenate([sums.counts for sums in many]),
            totals=np.concatenate([sums.totals for sums in many]),
        )
        rows = [len(sums.series) for sums in many]
        yield Stack(whole, tuple(sums.window for sums in many), np.repeat(np.arange(len(many)), rows))
