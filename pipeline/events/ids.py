"""A 128-bit hash of ids, for whole batches. It is stored, so it may never change; polars' own hash does."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from pipeline.events.found import Int64s

Uint64s = npt.NDArray[np.uint64]

# Ids of more bytes are hashed one by one: each word of eight bytes costs a step for the whole batch.
LONG = 256

_U = np.uint64
_ALL = _U(0xFFFFFFFFFFFFFFFF)


def id128(buffer: npt.NDArray[np.uint8], start: Int64s, size: Int64s) -> tuple[Uint64s, Uint64s]:
    """Two 64-bit halves for each of the texts `buffer[start : start + size]`; the first is never 0.

    A hash depends on the text alone, not on longer ones beside it. Eight bytes must follow the last text.
    """
    short = size <= LONG
    if short.all():
        return _mixed(buffer, start, size)
    a, b = _mixed(buffer, start, np.where(short, size, 0))
    for row in np.flatnonzero(~short).tolist():
        a[row], b[row] = _one_long(buffer[start[row] : start[row] + size[row]].tobytes())
    return a, b


def _mixed(buffer: npt.NDArray[np.uint8], start: Int64s, size: Int64s) -> tuple[Uint64s, Uint64s]:
    words: Uint64s = np.ndarray((len(buffer) - 7,), "<u8", buffer, strides=(1,))
    a = size.astype(_U) + _U(0x9E3779B97F4A7C15)
    b = a ^ _U(0xD6E8FEB86659FD93)
    low, high = (int(size.min()), int(size.max())) if len(size) else (0, 0)
    for place in range(0, high, 8):
        if low >= place + 8:
            _mix(a, b, words[start + place])
        elif low == high:
            _mix(a, b, words[start + place] & _U((1 << 8 * (low - place)) - 1))
        else:
            _mix_some(a, b, words, start, size, place)
    return _finished(a, b)


def _mix_some(a: Uint64s, b: Uint64s, words: Uint64s, start: Int64s, size: Int64s, place: int) -> None:
    """Mix in the word at `place` of the texts that reach into it, and only their part of it."""
    rows = np.flatnonzero(size > place)
    used = np.minimum(size[rows] - place, 8).astype(_U)
    some_a, some_b = a[rows], b[rows]
    _mix(some_a, some_b, words[start[rows] + place] & (_ALL >> (_U(64) - used * _U(8))))
    a[rows], b[rows] = some_a, some_b


def _mix(a: Uint64s, b: Uint64s, word: Uint64s) -> None:
    a ^= word
    a *= _U(0x9FB21C651E98DF25)
    a ^= a >> _U(29)
    b += word
    b *= _U(0xBF58476D1CE4E5B9)
    b ^= b >> _U(32)


def _finished(a: Uint64s, b: Uint64s) -> tuple[Uint64s, Uint64s]:
    for factor in (0x94D049BB133111EB, 0xFF51AFD7ED558CCD):
        a ^= a >> _U(31)
        a *= _U(factor)
        b ^= b >> _U(33)
        b *= _U(factor)
    a[a == 0] = 1  # 0 marks an empty slot of an index
    return a, b


def _one_long(text: bytes) -> tuple[int, int]:
    digest = blake2b(text, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little") or 1, int.from_bytes(digest[8:], "little")


def _of_nothing() -> tuple[np.uint64, np.uint64]:
    none = np.zeros(1, np.int64)
    a, b = _mixed(np.zeros(8, np.uint8), none, none)
    return a[0], b[0]


EMPTY = _of_nothing()  # the hash of an empty id
