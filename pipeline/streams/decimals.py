"""Columns of integers as decimal text, for the keys of many records at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.events.encode import Part, always, cut

_TEN = np.uint64(10)


def joined_decimals(columns: Sequence[npt.NDArray[Any]]) -> list[bytes]:
    """For each row b",1,-2,3]", its integers behind commas and a closing bracket."""
    comma, bracket = (always(sign, len(columns[0])) for sign in (b",", b"]"))
    return cut([part for column in columns for part in (comma, *_decimals(column))] + [bracket])


def _decimals(values: npt.NDArray[Any]) -> list[Part]:
    """A sign where there is one, and the digits without zeros before them."""
    wide = values.astype(np.int64)
    negative = wide < 0
    left = np.where(negative, -wide, wide).view(np.uint64)
    size = len(str(int(left.max(initial=0))))
    cells, used = np.empty((len(wide), size), np.uint8), np.empty((len(wide), size), np.bool_)
    for k in range(size - 1, -1, -1):
        used[:, k] = (left != 0) if k < size - 1 else True
        rest = left // _TEN
        cells[:, k] = (left - rest * _TEN).astype(np.uint8) + ord("0")
        left = rest
    sign, _ = always(b"-", len(wide))
    return [(sign, negative[:, None]), (cells, used)]
