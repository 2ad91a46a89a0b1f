"""Texts of a batch as columns of eight-byte words, which numpy takes in its stride."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.events.found import Int64s

Uint64s = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

LONG = 256  # bytes of the longest text that is taken apart: each word costs a step for the whole batch

_WORD = 8
_WIDTHS = (8, 16, 32)  # bytes that are fetched of each text at once: 32 cost as much as 8


def words_of(buffer: Bytes, start: Int64s, size: Int64s) -> list[Uint64s]:
    """The first, second, ... eight bytes of each text `buffer[start : start + size]`, and 0 behind its end.

    No text may be longer than LONG.
    """
    most = int(size.max(initial=0))
    if not most:
        return []
    width = next((width for width in _WIDTHS if most <= width), _WIDTHS[-1])
    needed = int(start.max()) + -(-most // width) * width
    if needed > len(buffer):
        buffer = np.concatenate((buffer, np.zeros(needed - len(buffer), np.uint8)))
    words = [word for at in range(0, most, width) for word in _columns(buffer, start + at, width)]
    words = words[: -(-most // _WORD)]
    for k in range(int(size.min()) // _WORD, len(words)):
        words[k] &= _USED[k][size]
    return words


def _columns(buffer: Bytes, start: Int64s, width: int) -> list[Uint64s]:
    """The next `width` bytes of each text. Words that are not aligned would be fetched one by one, and slowly."""
    window = np.ndarray((len(buffer) - width + 1,), f"V{width}", buffer, strides=(1,))
    words: Uint64s = window[start].view(np.uint64)
    return list(np.ascontiguousarray(words.reshape(-1, width // _WORD).T))


def _used(k: int) -> Uint64s:
    """The bits of word k that belong to a text, for each size."""
    sizes = range(LONG + 1)
    return np.array([(1 << 8 * min(max(size - _WORD * k, 0), _WORD)) - 1 for size in sizes], np.uint64)


_USED = [_used(k) for k in range(LONG // _WORD)]
