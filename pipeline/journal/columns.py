"""`Column`: integers in the smallest type that holds them all, so that ten million of them fit into memory."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

_LADDER = [(np.dtype(kind), np.iinfo(kind).min, np.iinfo(kind).max) for kind in (np.int8, np.int16, np.int32)]
_WIDEST = np.dtype(np.int64)
_LONG = 1 << 15  # rows from which it pays to look at the values
_OWN_MAP = 1 << 20  # bytes from which an array gets a mapping of its own
_PRIVATE = (
    mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
)  # the kernel cannot grow shared ones: access beyond the old end kills
Rows = npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice


def narrow(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same integers in the smallest type that holds them all; what is not signed stays as it is."""
    if values.dtype.kind != "i":
        return values
    return values.astype(_kind_for(values), copy=False)


def _kind_for(values: npt.NDArray[Any]) -> np.dtype[Any]:
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    for kind, least, most in _LADDER:
        if least <= low and high <= most:
            return kind
    return _WIDEST


def zeros(n: int, kind: npt.DTypeLike) -> npt.NDArray[Any]:
    """Like numpy's. A big one is the kernel's: not there until it is touched, and given back when it is dropped."""
    size = n * np.dtype(kind).itemsize
    return np.zeros(n, kind) if size < _OWN_MAP else np.frombuffer(mmap.mmap(-1, size, flags=_PRIVATE), kind)


class Column:
    """A growing column. Once it is long it becomes as narrow as its values, and widens where one does not fit.

    A big one lies in a mapping of its own, which the kernel enlarges without copying. From malloc, each size that it
    grew through would stay behind as a hole.

    Args:
        kind: of the values.
    """

    def __init__(self, kind: npt.DTypeLike) -> None:
        self._values: npt.NDArray[Any] = np.empty(0, kind)
        self._map: mmap.mmap | None = None

    @property
    def itemsize(self) -> int:
        """Bytes of a row."""
        return self._values.itemsize

    def __getitem__(self, rows: Rows) -> npt.NDArray[Any]:
        return self._values[rows]

    def write(self, rows: Rows, values: npt.NDArray[Any]) -> None:
        """Set these rows, of which there is at least one."""
        itemsize = self._values.itemsize
        if values.itemsize > itemsize and (wider := _kind_for(values)).itemsize > itemsize:
            self._renew(self._values, len(self._values), wider)
        self._values[rows] = values

    def resize(self, rows: int, room: int) -> None:
        """Keep the first `rows` and make room for more. Room takes no memory until something is written into it."""
        kind = self._values.dtype
        if self._map is not None:
            self._values = np.empty(0, kind)  # a mapping that somebody looks at cannot be enlarged
            self._map.resize(room * kind.itemsize)
            self._values = np.frombuffer(self._map, kind)
        else:
            values = narrow(self._values[:rows]) if room >= _LONG else self._values[:rows]
            self._renew(values, room, values.dtype)

    def keep(self, rows: npt.NDArray[np.intp]) -> None:
        """Forget all others."""
        kept = narrow(self._values[rows])
        self._renew(kept, len(kept), kept.dtype)

    def _renew(self, values: npt.NDArray[Any], room: int, kind: np.dtype[Any]) -> None:
        size = room * kind.itemsize
        self._map = mmap.mmap(-1, size, flags=_PRIVATE) if size >= _OWN_MAP else None
        self._values = np.empty(room, kind) if self._map is None else np.frombuffer(self._map, kind)
        self._values[: len(values)] = values
