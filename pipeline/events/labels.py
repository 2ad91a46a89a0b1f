"""The distinct combinations of texts in a batch: there are hundreds of them in tens of thousands of records.

Python looks at each combination once and not at each record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from pipeline.events.found import Int64s, Mask, Texts
from pipeline.events.ids import LONG, Uint64s

Label = tuple[str | None, ...]

_U = np.uint64
_SLOTS_BITS = 14
_FACTOR = _U(0x9FB21C651E98DF25)
_USED = np.array([(1 << 8 * k) - 1 for k in range(9)], _U)  # the bits of a word's first k bytes


@dataclass(frozen=True, slots=True)
class Labels:
    """Combinations of texts.

    Attributes:
        texts: the distinct ones.
        code: int64, one a record: its place in `texts`.
    """

    texts: tuple[Label, ...]
    code: Int64s

    def take(self, mask: Mask) -> Labels:
        """Only the records of the mask; combinations that no record has any more go, too."""
        return _renumbered(self.texts, self.code[mask])

    @staticmethod
    def concat(parts: Sequence[Labels], order: Int64s) -> Labels:
        """Several parts as one, their records put into this order."""
        place: dict[Label, int] = {}
        codes = [
            np.array([place.setdefault(text, len(place)) for text in part.texts], np.int64)[part.code]
            for part in parts
        ]
        return _renumbered(tuple(place), np.concatenate([np.zeros(0, np.int64), *codes])[order])


def labels_of(buffer: npt.NDArray[np.uint8], columns: Sequence[Texts]) -> Labels:
    """The combinations of these columns, numbered in the order in which they occur first."""
    if any((texts.size > LONG).any() for texts in columns):
        return _one_by_one(buffer, columns)
    words = [word for texts in columns for word in _words(buffer, texts)]
    first = first_alike(_mixed(words))
    if not all((word[first] == word).all() for word in words):
        return _one_by_one(buffer, columns)  # two combinations share their 64 bits
    occurs = np.zeros(len(first), bool)
    occurs[first] = True
    return Labels(tuple(_labels(buffer, columns, np.flatnonzero(occurs))), (np.cumsum(occurs) - 1)[first])


def first_alike(key: Uint64s) -> Int64s:
    """For each row the first one with the same key.

    A row that finds another key in its slot tries another slot: there are far more slots than different keys.
    """
    first = np.empty(len(key), np.int64)
    scratch = np.empty(1 << _SLOTS_BITS, np.int64)
    rows, mixed = np.arange(len(key)), key
    while len(rows):
        slot = (mixed >> _U(64 - _SLOTS_BITS)).view(np.int64)
        scratch[slot[::-1]] = rows[::-1]  # of several rows the first is written last
        winner = scratch[slot]
        same = key[winner] == key[rows]
        if same.all():
            first[rows] = winner
            return first
        first[rows[same]] = winner[same]
        rows, mixed = rows[~same], (mixed[~same] + _U(1)) * _FACTOR
    return first


def _words(buffer: npt.NDArray[np.uint8], texts: Texts) -> list[Uint64s]:
    """The texts as words of eight bytes, and their sizes: equal words are equal texts."""
    size = texts.size if texts.present is None else np.where(texts.present, texts.size, -1)
    view: Uint64s = np.ndarray((len(buffer) - 7,), "<u8", buffer, strides=(1,))
    words = [size.view(_U)]
    for place in range(0, int(size.max(initial=0)), 8):
        words.append(view[texts.start + place] & _USED[np.clip(size - place, 0, 8)])
    return words


def _mixed(words: Sequence[Uint64s]) -> Uint64s:
    key = np.zeros(len(words[0]), _U)
    for word in words:
        key ^= word
        key *= _FACTOR
        key ^= key >> _U(29)
    return key * _FACTOR


def _one_by_one(buffer: npt.NDArray[np.uint8], columns: Sequence[Texts]) -> Labels:
    place: dict[Label, int] = {}
    rows = np.arange(len(columns[0].start))
    code = [place.setdefault(label, len(place)) for label in _labels(buffer, columns, rows)]
    return Labels(tuple(place), np.array(code, np.int64))


def _labels(buffer: npt.NDArray[np.uint8], columns: Sequence[Texts], rows: Int64s) -> Iterator[Label]:
    return zip(*(_strings(buffer.data, texts, rows) for texts in columns), strict=True)


def _strings(raw: memoryview, texts: Texts, rows: Int64s) -> Iterator[str | None]:
    start, end = texts.start[rows], (texts.start + texts.size)[rows]
    there = repeat(True) if texts.present is None else texts.present[rows].tolist()
    places = zip(start.tolist(), end.tolist(), there, strict=False)
    return (str(raw[a:b], "utf-8") if known else None for a, b, known in places)


def _renumbered(texts: Sequence[Label], code: Int64s) -> Labels:
    """Numbered again in the order in which they occur first."""
    first = np.full(len(texts), len(code), np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]
    order = np.argsort(first, kind="stable")
    order = order[first[order] < len(code)]
    number = np.empty(len(texts), np.int64)
    number[order] = np.arange(len(order))
    return Labels(tuple(texts[k] for k in order.tolist()), number[code])
