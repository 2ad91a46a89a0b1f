"""What the walk found: for one field of all records of a batch, where its contents stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A field of numbers.

    Attributes:
        value: int64, float64 or bool.
        present: which are not null; None if none can be.
    """

    value: npt.NDArray[Any]
    present: Mask | None


@dataclass(frozen=True, slots=True)
class Texts:
    """A field of texts or bytes.

    Attributes:
        start: where in the buffer each begins.
        size: its bytes.
        present: which are not null; None if none can be.
    """

    start: Int64s
    size: Int64s
    present: Mask | None


@dataclass(frozen=True, slots=True)
class Entries:
    """A field of maps.

    Attributes:
        row: the record of each entry; those of one record are in their order, but not together.
        key: its key.
        value: its value.
    """

    row: Int64s
    key: Texts
    value: Texts

    @staticmethod
    def of(parts: Sequence[tuple[Int64s, ...]]) -> Entries:
        """From (row, start and size of the key, start and size of the value), in the order of the walk."""
        none = np.zeros(0, np.int64)
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] or [none] * 5
        row, key, key_size, value, value_size = columns
        return Entries(row, Texts(key, key_size, None), Texts(value, value_size, None))


Found = Numbers | Texts | Entries
