"""`HeldCase`: what the state of a source partition holds of one case, and its bytes.

A case holds what it counted, so that taking that out again is exact also when the rules have changed since: a
configuration takes effect where a case is touched, and never makes a count wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from pipeline.cases.case import CLOSED, CONTACTED, NEVER, REOPENED, REPLIED, RESOLVED, mark_of
from pipeline.cases.lifecycle import Case, Opening
from pipeline.journal.dues import NEVER_DUE
from pipeline.measures.cells import MINUTE_MS, NO_SEGMENT, Series

_HEAD = struct.Struct("<qqqi")  # read for each case at a recovery, without unpacking the rest
NOT_OPEN = -1
Number = Callable[[Series], int | None]
_V1 = (REPLIED, CONTACTED, RESOLVED, REOPENED, CLOSED)  # whose times version 1 kept, in this order
_encode = msgspec.msgpack.Encoder().encode


# Where a case counts, three numbers an observation: number of the leaf in the state, minute since 1970, and what was
# observed: milliseconds, or 1 and 0. Flat, because there are as many of these as there are cases.
Places = list[int]
PLACE = 3


class CaseHead(NamedTuple):
    """The part of a row that is needed of every case.

    Attributes:
        due: when time alone changes something, milliseconds since 1970; `NEVER_DUE` if it does not.
        forget: when it may be forgotten, by the watermark.
        opened: when it was opened, if it is open.
        home: number of the leaf in which its opening counts, if it is open; else `NOT_OPEN`.
    """

    due: int = NEVER_DUE
    forget: int = NEVER_DUE
    opened: int = 0
    home: int = NOT_OPEN


Head = tuple[int, int, int, int]
HEAD: Callable[[bytes], Head] = _HEAD.unpack_from  # the same as a plain tuple, at a third of the cost
NO_HEAD: Head = CaseHead()


class HeldCase(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One case, without the head of its row.

    Attributes:
        told: a digest of the Resolution that was told last; empty before the first.
        called: whether a FollowUp was told of it.
        counted: where it counts now.
        case: what was heard.
    """

    told: bytes
    called: bool
    counted: Places
    case: Case


_decode = msgspec.msgpack.Decoder(HeldCase).decode


def pack_case(head: CaseHead, held: HeldCase) -> bytes:
    """Its row: a head of fixed size, and the rest as MessagePack."""
    return _HEAD.pack(*head) + _encode(held)


def unpack_case(row: bytes) -> HeldCase:
    """What `pack_case` put behind the head."""
    return _decode(memoryview(row)[_HEAD.size :])


def head_of(row: bytes) -> CaseHead:
    """Only the head."""
    return CaseHead._make(_HEAD.unpack_from(row))


def renewed(row: list[Any], number: Number) -> bytes:
    """The row of a case as version 1 of the journal has it. It is due at once: then all that is new is counted.

    Args:
        row: revision, opening, and the times of replies, contacts, resolves, reopenings and closings.
        number: the number of a leaf.
    """
    _, opening, replied, _, resolved, *_ = row
    if opening is None:
        return pack_case(CaseHead(due=0), HeldCase(b"", False, [], case_of(row)))
    opened, touchpoint, channel, segment, _ = opening
    replied, resolved = ([at for at in times if at >= opened] for times in (replied, resolved))
    ends = (
        ("first_reply", replied[:1]),
        ("first_resolution", resolved[:1]),
        ("full_resolution", resolved[-1:]),
    )
    places: Places = []
    for clock, end in ends:
        leaf = number(Series("resolution", clock, touchpoint, channel, segment or NO_SEGMENT))
        if leaf is not None and end:
            places += (leaf, end[0] // MINUTE_MS, end[0] - opened)
    return pack_case(CaseHead(due=0), HeldCase(b"", False, places, case_of(row)))


def case_of(row: list[Any]) -> Case:
    """What was heard, as version 1 of the journal has it."""
    revision, opening, *times = row
    heard = sorted(mark_of(at, action) for action, ats in zip(_V1, times, strict=True) for at in ats)
    return Case((Opening(*opening),) if opening else (), tuple(heard), NEVER, revision)
