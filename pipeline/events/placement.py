"""Where Kafka's Java producer puts records: murmur2 of whole batches of keys."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.events.found import Int64s
from pipeline.events.partition import partition_of
from pipeline.events.words import LONG, Bytes, Uint64s, words_of

Uint32s = npt.NDArray[np.uint32]


_U = np.uint32
_M = _U(0x5BD1E995)
_SEED = _U(0x9747B28C)


def partitions_of(buffer: Bytes, start: Int64s, size: Int64s, partitions: int) -> npt.NDArray[np.int32]:
    """The partition of each key `buffer[start : start + size]`, as Java's default partitioner chooses it."""
    short = size <= LONG
    placed = (
        _murmur2(buffer, start, size if short.all() else np.where(short, size, 0)) & _U(0x7FFFFFFF)
    ) % _U(partitions)
    for row in np.flatnonzero(~short).tolist():
        key = buffer[start[row] : start[row] + size[row]].tobytes()
        placed[row] = partition_of(key, partitions)
    return placed.astype(np.int32)


def _murmur2(buffer: Bytes, start: Int64s, size: Int64s) -> Uint32s:
    h = _SEED ^ size.astype(_U)
    shortest = int(size.min(initial=LONG))
    halves = (half for word in words_of(buffer, start, size) for half in _halves(word))
    for place, word in zip(range(0, LONG, 4), halves, strict=False):
        if place + 4 <= shortest:
            h *= _M
            h ^= _mixed(word)
        else:
            whole, part = (
                np.flatnonzero(size >= place + 4),
                np.flatnonzero((size > place) & (size < place + 4)),
            )
            h[whole] = h[whole] * _M ^ _mixed(word[whole])
            h[part] = (h[part] ^ word[part]) * _M
    h = (h ^ h >> _U(13)) * _M
    return h ^ h >> _U(15)


def _halves(word: Uint64s) -> tuple[Uint32s, Uint32s]:
    return word.astype(_U), (word >> np.uint64(32)).astype(_U)


def _mixed(word: Uint32s) -> Uint32s:
    word = word * _M
    return (word ^ word >> _U(24)) * _M
