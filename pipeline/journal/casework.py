"""Cases inside an effect: each change of a case takes its old observations out of their cells and puts the new ones in.

It happens in the journal record of the batch, so cells and cases can never disagree; `resolutions` tells others.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from pipeline.cases.case import OPENED
from pipeline.cases.lifecycle import (
    RESOLUTION,
    UNHEARD,
    Case,
    CaseEvent,
    Opening,
    Rules,
    follow_ups,
    forget_at,
    next_due,
    observations,
    passed,
    resolution,
    step,
)
from pipeline.cases.standing import open_since
from pipeline.events import wire
from pipeline.events.schemas import schema
from pipeline.journal.callbacks import FOLLOW_UPS
from pipeline.journal.caserow import PLACE, CaseHead, HeldCase, Places, pack_case, unpack_case
from pipeline.journal.casetable import CaseTable
from pipeline.journal.dues import NEVER_DUE
from pipeline.journal.grouping import Changes
from pipeline.journal.index import NEVER
from pipeline.journal.leaves import Leaves, segment_of
from pipeline.journal.messages import Message
from pipeline.measures.bins import bin_of
from pipeline.measures.cells import MINUTE_MS, Series

RESOLUTIONS = "resolutions"
_NOTHING = HeldCase(CaseHead(), b"", False, [], UNHEARD)


class Casework:
    """The cases that one effect touches.

    Args:
        known: the cases as they are.
        rules: what is promised about cases.
        leaves: numbers of leaves.
        changes: where changes of cells go.

    Attributes:
        rows: of the cases that changed; None for one that is forgotten. Complete after `finish`.
        messages: records for others, complete after `finish`.
    """

    def __init__(self, known: CaseTable, rules: Rules, leaves: Leaves, changes: Changes) -> None:
        self.rows: dict[str, bytes | None] = {}
        self.messages: list[Message] = []
        self._known = known
        self._rules = rules
        self._leaves = leaves
        self._changes = changes
        self._before: dict[str, HeldCase] = {}
        self._now: dict[str, Case] = {}
        self._out: Places = []
        self._in: Places = []
        self._numbers: dict[tuple[str, str, tuple[Any, ...]], int] = {}

    def take(self, case_id: str, event: CaseEvent) -> None:
        """One event, in offset order."""
        self._now[case_id] = step(self._case(case_id), event)

    def pass_time(self, case_id: str, at_ms: int) -> None:
        """Time has come to `at_ms`."""
        self._now[case_id] = passed(self._case(case_id), at_ms)

    def finish(self, watermark: int = NEVER) -> None:
        """Old observations out, new ones in, and records for those who follow the cases.

        Args:
            watermark: cases are forgotten that have been silent for long enough by then, once they are settled.
        """
        for case_id, case in self._now.items():
            before = self._before[case_id]
            if case is not before.case or before.head.forget <= watermark:
                self._finish(case_id, before, case, watermark)
        self._count(self._out, -1)
        self._count(self._in, 1)

    def _case(self, case_id: str) -> Case:
        now = self._now.get(case_id)
        if now is None:
            row = self._known.get(case_id)
            before = self._before[case_id] = _NOTHING if row is None else unpack_case(row)
            now = before.case
        return now

    def _finish(self, case_id: str, before: HeldCase, case: Case, watermark: int) -> None:
        forget = forget_at(case, self._rules) + 1
        if forget <= watermark:
            case = passed(case, forget)
        counted = self._places(case)
        if counted != before.counted:
            self._out += before.counted
            self._in += counted
        called = self._call(case_id, before, case)
        told = self._tell(case_id, before, case)
        if forget <= watermark:
            self.rows[case_id] = None
        else:
            held = HeldCase(self._head(case, forget), told, called, counted, case)
            self.rows[case_id] = pack_case(held)

    def _places(self, case: Case) -> Places:
        """Where a case counts by the rules of now."""
        places: Places = []
        for metric, instrument, at, value, opening in observations(case, self._rules):
            leaf = self._leaf(metric, instrument, opening)
            if metric == RESOLUTION:
                places += (leaf, at // MINUTE_MS, bin_of(value), value)
            else:
                places += (leaf, at // MINUTE_MS, value, 0)
        return places

    def _leaf(self, metric: str, instrument: str, opening: Opening) -> int:
        key = metric, instrument, opening[1:4]
        number = self._numbers.get(key)
        if number is None:
            _, touchpoint, channel, segment, *_ = opening
            leaf = Series(metric, instrument, touchpoint, channel, segment_of(segment))
            number = self._numbers[key] = self._leaves.number(leaf)
        return number

    def _head(self, case: Case, forget: int) -> CaseHead:
        due = next_due(case, self._rules)
        opening = open_since(case, self._rules)
        due = NEVER_DUE if due is None else due
        if opening is None:
            return CaseHead(due, forget)
        return CaseHead(due, forget, opening.at_ms, self._leaf("touchpoints", OPENED, opening))

    def _call(self, case_id: str, before: HeldCase, case: Case) -> bool:
        """FollowUps that this change calls for; whether there ever was one of this case."""
        was = before.case if before.called else None
        called = follow_ups(case_id, was, case, self._rules)
        for record in called:
            key = record["customer_id"] or case_id
            value = wire.encode_own(schema("FollowUp"), record)
            self.messages.append(Message(FOLLOW_UPS, key.encode(), value))
        return before.called or bool(called)

    def _tell(self, case_id: str, before: HeldCase, case: Case) -> bytes:
        """The newest Resolution, if it says something else than the one before; its digest."""
        record = resolution(case_id, case, self._rules)
        if record is None:
            return b""
        told = _digest(record)
        if told != before.told:
            value = wire.encode_own(schema("Resolution"), record)
            self.messages.append(Message(RESOLUTIONS, case_id.encode(), value))
        return told

    def _count(self, places: Places, n: int) -> None:
        if places:
            leaf, minute, bin_, total = np.array(places, np.int64).reshape(-1, PLACE).T
            self._changes.add(leaf, minute, bin_, n, n * total)


def _digest(record: Mapping[str, Any]) -> bytes:
    """Of everything but its revision."""
    content = [value for name, value in record.items() if name != "revision"]
    return blake2b(repr(content).encode(), digest_size=8).digest()
