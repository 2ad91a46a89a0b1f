"""Where Kafka's Java producer puts records: murmur2 of whole batches of keys."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.events.found import Int64s
from pipeline.events.partition import partition_of

Uint32s = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]

# Keys of more bytes are hashed one by one: each word of four bytes costs a step for the whole batch.
LONG = 256

_U = np.uint32
_M = _U(0x5BD1E995)
_SEED = _U(0x9747B28C)


def partitions_of(buffer: Bytes, start: Int64s, size: Int64s, partitions: int) -> npt.NDArray[np.int32]:
    """The partition of each key `buffer[start : start + size]`, as Java's default partitioner chooses it."""
    short = size <= LONG
    placed = (_murmur2(buffer, start, np.where(short, size, 0)) & _U(0x7FFFFFFF)) % _U(partitions)
    for row in np.flatnonzero(~short).tolist():
        key = buffer[start[row] : start[row] + size[row]].tobytes()
        placed[row] = partition_of(key, partitions)
    return placed.astype(np.int32)


def _murmur2(buffer: Bytes, start: Int64s, size: Int64s) -> Uint32s:
    padded = np.concatenate([buffer, np.zeros(4, np.uint8)])
    words: Uint32s = np.ndarray((len(buffer) + 1,), "<u4", padded, strides=(1,))
    h = _SEED ^ size.astype(_U)
    shortest = int(size.min(initial=LONG))
    for place in range(0, int(size.max(initial=0)) - 3, 4):
        rows = slice(None) if place + 4 <= shortest else np.flatnonzero(size >= place + 4)
        h[rows] = h[rows] * _M ^ _mixed(words[start[rows] + place])
    rest = size % 4
    rows = np.flatnonzero(rest)
    tail = words[(start + size - rest)[rows]] & ((_U(1) << (_U(8) * rest[rows].astype(_U))) - _U(1))
    h[rows] = (h[rows] ^ tail) * _M
    h = (h ^ h >> _U(13)) * _M
    return h ^ h >> _U(15)


def _mixed(word: Uint32s) -> Uint32s:
    word = word * _M
    return (word ^ word >> _U(24)) * _M
