"""A 128-bit hash of ids, for whole batches. It is stored, so it may never change; polars' own hash does."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from pipeline.events.found import Int64s
from pipeline.events.words import LONG, Uint64s, words_of

_U = np.uint64


def id128(buffer: npt.NDArray[np.uint8], start: Int64s, size: Int64s) -> tuple[Uint64s, Uint64s]:
    """Two 64-bit halves for each of the texts `buffer[start : start + size]`; the first is never 0.

    A hash depends on the text alone, not on longer ones beside it.
    """
    short = size <= LONG
    if short.all():
        return _mixed(buffer, start, size)
    a, b = _mixed(buffer, start, np.where(short, size, 0))
    for row in np.flatnonzero(~short).tolist():
        a[row], b[row] = _one_long(buffer[start[row] : start[row] + size[row]].tobytes())
    return a, b


def _mixed(buffer: npt.NDArray[np.uint8], start: Int64s, size: Int64s) -> tuple[Uint64s, Uint64s]:
    a = size.astype(_U) + _U(0x9E3779B97F4A7C15)
    b = a ^ _U(0xD6E8FEB86659FD93)
    least = int(size.min(initial=LONG))
    for place, word in enumerate(words_of(buffer, start, size)):
        if least > 8 * place:
            _mix(a, b, word)
        else:
            _mix_some(a, b, word, np.flatnonzero(size > 8 * place))
    return _finished(a, b)


def _mix_some(a: Uint64s, b: Uint64s, word: Uint64s, rows: Int64s) -> None:
    """Mix it into the hashes of texts that reach into it."""
    some_a, some_b = a[rows], b[rows]
    _mix(some_a, some_b, word[rows])
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
