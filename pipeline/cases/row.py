"""A case as bytes: what a state holds of a case while nobody speaks of it, and what a journal keeps."""

from __future__ import annotations

from array import array
from functools import lru_cache
from struct import Struct
from typing import Any

from pipeline.cases.case import (
    CLOSED,
    CONTACTED,
    NEVER,
    REOPENED,
    REPLIED,
    RESOLVED,
    Case,
    Opening,
    mark_of,
)

_HEAD = Struct("<qiHH")  # clock, revision, marks, openings
_OPENING = Struct("<qi")  # when, bytes of its texts
_SIZE = Struct("<i")  # -1 for None
_V1 = (REPLIED, CONTACTED, RESOLVED, REOPENED, CLOSED)


def to_row(case: Case) -> bytes:
    """Eight bytes an event, and the texts of the opening; `from_row` is the inverse."""
    parts = [_HEAD.pack(case.clock_ms, case.revision, len(case.heard), len(case.openings))]
    parts.append(array("q", case.heard).tobytes())
    for opening in case.openings:
        texts = _packed(opening[1:])
        parts += (_OPENING.pack(opening.at_ms, len(texts)), texts)
    return b"".join(parts)


def from_row(row: bytes | list[Any]) -> Case:
    """The case of a row; also of a list, as version 1 of the journal has it."""
    if isinstance(row, list):
        return _from_v1(row)
    clock, revision, marks, count = _HEAD.unpack_from(row)
    at = _HEAD.size + 8 * marks
    heard = array("q", row[_HEAD.size : at])
    openings = []
    for _ in range(count):
        when, size = _OPENING.unpack_from(row, at)
        at += _OPENING.size
        openings.append(Opening(when, *_unpacked(row[at : at + size])))
        at += size
    return Case(tuple(openings), tuple(heard), clock, revision)


def _packed(texts: tuple[str | None, ...]) -> bytes:
    parts: list[bytes] = []
    for text in texts:
        encoded = b"" if text is None else text.encode()
        parts += (_SIZE.pack(-1 if text is None else len(encoded)), encoded)
    return b"".join(parts)


@lru_cache(maxsize=1 << 12)
def _unpacked(packed: bytes) -> tuple[Any, ...]:
    texts: list[str | None] = []
    at = 0
    while at < len(packed):
        (size,) = _SIZE.unpack_from(packed, at)
        at += _SIZE.size
        texts.append(None if size < 0 else packed[at : at + size].decode())
        at += max(size, 0)
    return tuple(texts)


def _from_v1(row: list[Any]) -> Case:
    revision, opening, *times = row
    heard = sorted(mark_of(at, action) for action, ats in zip(_V1, times, strict=True) for at in ats)
    return Case((Opening(*opening),) if opening else (), tuple(heard), NEVER, revision)
