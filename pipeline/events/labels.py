"""The distinct combinations of texts in a batch: there are hundreds of them in tens of thousands of records.

Python looks at each combination once and not at each record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat

import numpy as np
import numpy.typing as npt

from pipeline.events.alike import FACTOR, first_alike
from pipeline.events.found import Int64s, Mask, Texts
from pipeline.events.words import LONG, Uint64s, words_of

Label = tuple[str | None, ...]

_U = np.uint64
_BITS = 14


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
    """The combinations of these columns (four at most), numbered in the order in which they occur first."""
    if any((texts.size > LONG).any() for texts in columns):
        return _one_by_one(buffer, columns)
    of_column = [words_of(buffer, texts.start, texts.size) for texts in columns]
    words = [_sizes(columns), *(word for some in of_column for word in some)]
    first = first_alike(_mixed(words), _BITS)
    if not all((word[first] == word).all() for word in words):
        return _one_by_one(buffer, columns)  # two combinations share their 64 bits
    occurs = np.zeros(len(first), bool)
    occurs[first] = True
    rows = np.flatnonzero(occurs)
    raw = np.stack([word[rows] for word in words], axis=1).tobytes()
    each, label = 8 * len(words), _reader(tuple(map(len, of_column)))
    texts = tuple(map(label, (raw[k : k + each] for k in range(0, len(raw), each))))
    return Labels(texts, (np.cumsum(occurs) - 1)[first])


@lru_cache(maxsize=256)
def _reader(spans: tuple[int, ...]) -> Callable[[bytes], Label]:
    """A label from its sizes and words, of which each text has so many."""
    # nearly every combination was in the batch before, too
    return lru_cache(maxsize=1 << 14)(partial(_label, spans))


def _label(spans: tuple[int, ...], raw: bytes) -> Label:
    label: list[str | None] = []
    at = 8
    for k, span in enumerate(spans):
        size = int.from_bytes(raw[2 * k : 2 * k + 2], "little") - 1
        label.append(None if size < 0 else raw[at : at + size].decode())
        at += 8 * span
    return tuple(label)


def _sizes(columns: Sequence[Texts]) -> Uint64s:
    """All sizes of a record in one word, a null as 0 and others by 1 too large."""
    packed = np.zeros(len(columns[0].size), np.int64)
    for k, texts in enumerate(columns):
        size = texts.size + 1
        if texts.present is not None:
            size *= texts.present
        packed |= size << 16 * k
    return packed.view(_U)


def _mixed(words: Sequence[Uint64s]) -> Uint64s:
    key = np.zeros(len(words[0]), _U)
    for word in words:
        key ^= word
        key *= FACTOR
        key ^= key >> _U(29)
    return key * FACTOR


def _one_by_one(buffer: npt.NDArray[np.uint8], columns: Sequence[Texts]) -> Labels:
    place: dict[Label, int] = {}
    labels = zip(*(strings(buffer.data, texts) for texts in columns), strict=True)
    code = [place.setdefault(label, len(place)) for label in labels]
    return Labels(tuple(place), np.array(code, np.int64))


def strings(raw: memoryview, texts: Texts) -> Iterator[str | None]:
    """The texts themselves; None for null."""
    there = repeat(True) if texts.present is None else texts.present.tolist()
    places = zip(texts.start.tolist(), (texts.start + texts.size).tolist(), there, strict=False)
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
