"""Which rows of a batch have the same key, without sorting them."""

from __future__ import annotations

import numpy as np

from pipeline.events.found import Int64s
from pipeline.events.words import Uint64s

FACTOR = np.uint64(0x9FB21C651E98DF25)


def first_alike(key: Uint64s, bits: int) -> Int64s:
    """For each row the first one with the same key.

    Each row takes a slot of its key, of several the first one keeps it. A row that finds another key in its slot tries
    another slot. So there should be more slots, 2 ** `bits`, than different keys, and keys should be well mixed.
    """
    first = np.empty(len(key), np.int64)
    scratch = np.empty(1 << bits, np.int32)
    rows, mixed = np.arange(len(key)), key
    while len(rows):
        slot = (mixed >> np.uint64(64 - bits)).view(np.int64)
        scratch[slot[::-1]] = rows[::-1]  # of several rows the first is written last
        winner = scratch[slot]
        same = key[winner] == key[rows]
        found = np.flatnonzero(same)
        first[rows[found]] = winner[found]
        others = np.flatnonzero(~same)
        rows, mixed = rows[others], (mixed[others] + np.uint64(1)) * FACTOR
    return first
