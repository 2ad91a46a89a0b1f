"""Cases inside an effect: each change of a case takes its old observations out of their cells and puts the new ones in.

It happens in the journal record of the batch, so cells and cases can never disagree; `resolutions` tells others.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from pipeline.cases.lifecycle import (
    RESOLUTION,
    UNHEARD,
    Case,
    CaseEvent,
    Observation,
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
from pipeline.journal.caserow import CaseHead, HeldCase, Place, pack_case, unpack_case
from pipeline.journal.casetable import CaseTable
from pipeline.journal.dues import NEVER_DUE
from pipeline.journal.effect import Message
from pipeline.journal.grouping import Changes
from pipeline.journal.index import NEVER
from pipeline.journal.leaves import Leaves, segment_of
from pipeline.measures.bins import bin_of
from pipeline.measures.cells import MINUTE_MS, Series

RESOLUTIONS = "resolutions"
FOLLOW_UPS = "follow-ups"
_NOTHING = HeldCase(CaseHead(), b"", (), UNHEARD)


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
        self._out: list[Place] = []
        self._in: list[Place] = []

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
        told = self._tell(case_id, before, case)
        if forget <= watermark:
            self.rows[case_id] = None
        else:
            self.rows[case_id] = pack_case(HeldCase(self._head(case, forget), told, counted, case))

    def _places(self, case: Case) -> tuple[Place, ...]:
        """Where a case counts by the rules of now."""
        return tuple(map(self._place, observations(case, self._rules)))

    def _place(self, seen: Observation) -> Place:
        _, touchpoint, channel, segment, *_ = seen.opening
        leaf = self._leaves.number(
            Series(seen.metric, seen.instrument, touchpoint, channel, segment_of(segment))
        )
        if seen.metric == RESOLUTION:
            return Place(leaf, seen.at_ms // MINUTE_MS, bin_of(seen.value), seen.value)
        return Place(leaf, seen.at_ms // MINUTE_MS, seen.value, 0)

    def _head(self, case: Case, forget: int) -> CaseHead:
        due = next_due(case, self._rules)
        opening = open_since(case, self._rules)
        due = NEVER_DUE if due is None else due
        if opening is None:
            return CaseHead(due, forget)
        _, touchpoint, channel, segment, *_ = opening
        home = self._leaves.number(
            Series("touchpoints", "case_opened", touchpoint, channel, segment_of(segment))
        )
        return CaseHead(due, forget, opening.at_ms, home)

    def _tell(self, case_id: str, before: HeldCase, case: Case) -> bytes:
        """Records of what changed; the digest of the newest Resolution."""
        for called in follow_ups(case_id, before.case, case, self._rules):
            key = called["customer_id"] or case_id
            value = wire.encode(schema("FollowUp"), called)
            self.messages.append(Message(FOLLOW_UPS, key.encode(), value))
        record = resolution(case_id, case, self._rules)
        told = b"" if record is None else _digest({**record, "revision": 0})
        if record is not None and told != before.told:
            value = wire.encode(schema("Resolution"), record)
            self.messages.append(Message(RESOLUTIONS, case_id.encode(), value))
        return told

    def _count(self, places: list[Place], n: int) -> None:
        if places:
            leaf, minute, bin_, total = np.array(places, np.int64).T
            self._changes.add(leaf, minute, bin_, n, n * total)


def _digest(record: Mapping[str, Any]) -> bytes:
    return blake2b(repr(tuple(record.values())).encode(), digest_size=8).digest()
