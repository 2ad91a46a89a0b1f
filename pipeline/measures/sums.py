"""`WindowSums`: what stands in one window of some series of one (metric, instrument)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.measures.cells import Series

OVERALL, TOUCHPOINT, LEAF = 0, 1, 7  # which dimensions a series names: 1 touchpoint + 2 channel + 4 segment


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
