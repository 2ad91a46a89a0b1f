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
_OPENING = Struct("<qii")  # when, bytes of its dimensions, bytes of its customer
_SIZE = Struct("<i")
_NONE = -1  # in the place of a size
_V1 = (REPLIED, CONTACTED, RESOLVED, REOPENED, CLOSED)


def to_row(case: Case) -> bytes:
    """Eight bytes an event, and the texts of the opening; `from_row` is the inverse."""
    parts = [_HEAD.pack(case.clock_ms, case.revision, len(case.heard), len(case.openings))]
    parts.append(array("q", case.heard).tobytes())
    for opening in case.openings:
        at_ms, *dimensions, customer = opening
        texts = _packed(tuple(dimensions))
        who = b"" if customer is None else customer.encode()
        parts += (_OPENING.pack(at_ms, len(texts), _NONE if customer is None else len(who)), texts, who)
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
        when, texts, who = _OPENING.unpack_from(row, at)
        at += _OPENING.size + texts
        dimensions = _unpacked(row[at - texts : at])
        customer = None if who == _NONE else row[at : at + who].decode()
        openings.append(Opening._make((when, *dimensions, customer)))
        at += max(who, 0)
    return Case._make((tuple(openings), tuple(heard), clock, revision))


@lru_cache(maxsize=1 << 12)
def _packed(texts: tuple[str | None, ...]) -> bytes:
    parts: list[bytes] = []
    for text in texts:
        encoded = b"" if text is None else text.encode()
        parts += (_SIZE.pack(_NONE if text is None else len(encoded)), encoded)
    return b"".join(parts)


@lru_cache(maxsize=1 << 12)  # one text of a touchpoint, not one a case
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
