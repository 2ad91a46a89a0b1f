"""Cases inside an effect: each change of a case takes its old observations out of their cells and puts the new ones in.

It happens in the journal record of the batch, so cells and cases can never disagree; `resolutions` tells others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from pipeline.cases.case import OPENED
from pipeline.cases.lifecycle import (
    RESOLUTION,
    UNHEARD,
    Case,
    Measured,
    Opening,
    Rules,
    follow_ups,
    forget_at,
    hear,
    measure,
    next_due,
    observations,
    open_since,
    opened,
    passed,
    resolution,
)
from pipeline.events.encode import encode_records
from pipeline.events.schemas import schema
from pipeline.journal.callbacks import FOLLOW_UPS
from pipeline.journal.caserow import PLACE, CaseHead, HeldCase, Places, head_of, pack_case, unpack_case
from pipeline.journal.casetable import CaseTable
from pipeline.journal.dues import NEVER_DUE
from pipeline.journal.grouping import Changes
from pipeline.journal.index import NEVER
from pipeline.journal.leaves import Leaves, segment_of
from pipeline.journal.messages import Message
from pipeline.measures.bins import bins_of
from pipeline.measures.cells import MINUTE_MS, Series

RESOLUTIONS = "resolutions"
_NOTHING = HeldCase(b"", False, [], UNHEARD)
_HOME = ("touchpoints", OPENED)  # the leaf in which a case counts as open
_encode = msgspec.msgpack.Encoder().encode


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
        self._called: list[dict[str, Any]] = []
        self._told: list[dict[str, Any]] = []
        self._numbers: defaultdict[tuple[str, str, str | None], dict[tuple[str, str], int]] = defaultdict(
            dict
        )

    def take(self, case_id: str, mark: int, opening: Opening | None) -> None:
        """One event, in offset order: an opening, or what a mark says (`cases.case.mark_of`)."""
        case = self._now.get(case_id) or self._recall(case_id)
        self._now[case_id] = hear(case, mark) if opening is None else opened(case, opening)

    def pass_time(self, case_id: str, at_ms: int) -> None:
        """Time has come to `at_ms`."""
        self._now[case_id] = passed(self._now.get(case_id) or self._recall(case_id), at_ms)

    def finish(self, watermark: int = NEVER) -> None:
        """Old observations out, new ones in, and records for those who follow the cases.

        Args:
            watermark: cases are forgotten that have been silent for long enough by then, once they are settled.
        """
        for case_id, case in self._now.items():
            before = self._before[case_id]
            if case is not before.case or self._is_over(case_id, watermark):
                self._finish(case_id, before, case, watermark)
        self._count(self._out, -1)
        self._count(self._in, 1)
        self._say(FOLLOW_UPS, "FollowUp", self._called)
        self._say(RESOLUTIONS, "Resolution", self._told)

    def _recall(self, case_id: str) -> Case:
        row = self._known.get(case_id)
        before = self._before[case_id] = _NOTHING if row is None else unpack_case(row)
        return before.case

    def _is_over(self, case_id: str, watermark: int) -> bool:
        row = None if watermark == NEVER else self._known.get(case_id)
        return row is not None and head_of(row).forget <= watermark

    def _finish(self, case_id: str, before: HeldCase, case: Case, watermark: int) -> None:
        measured = measure(case, self._rules)
        forget = forget_at(measured) + 1
        if forget <= watermark:
            measured = measure(passed(case, forget), self._rules)
        counted = self._places(measured)
        if counted != before.counted:
            self._out += before.counted
            self._in += counted
        called = self._call(case_id, before, measured)
        told = self._tell(case_id, before, measured)
        if forget <= watermark:
            self.rows[case_id] = None
        else:
            held = HeldCase(told, called, counted, case)
            self.rows[case_id] = pack_case(self._head(measured, forget), held)

    def _places(self, measured: Measured) -> Places:
        """Where a case counts by the rules of now."""
        places: Places = []
        opening = None
        for seen in observations(measured):
            if seen.opening is not opening:  # once a life: it is the hash of texts that costs
                opening = seen.opening
                numbers = self._numbers_of(opening)
            name = seen.metric, seen.instrument
            leaf = numbers.get(name)
            if leaf is None:
                leaf = numbers[name] = self._number(name, opening)
            places += (leaf, seen.at_ms // MINUTE_MS, seen.value)
        return places

    def _numbers_of(self, opening: Opening) -> dict[tuple[str, str], int]:
        return self._numbers[opening.touchpoint, opening.channel, opening.segment]

    def _number(self, name: tuple[str, str], opening: Opening) -> int:
        leaf = Series(*name, opening.touchpoint, opening.channel, segment_of(opening.segment))
        return self._leaves.number(leaf)

    def _head(self, measured: Measured, forget: int) -> CaseHead:
        due = next_due(measured)
        due = NEVER_DUE if due is None else due
        opening = open_since(measured)
        if opening is None:
            return CaseHead(due, forget)
        numbers = self._numbers_of(opening)
        home = numbers.get(_HOME)
        if home is None:
            home = numbers[_HOME] = self._number(_HOME, opening)
        return CaseHead(due, forget, opening.at_ms, home)

    def _call(self, case_id: str, before: HeldCase, measured: Measured) -> bool:
        """FollowUps that this change calls for; whether there ever was one of this case."""
        was = measure(before.case, self._rules) if before.called else None
        called = follow_ups(case_id, was, measured)
        self._called += called
        return before.called or bool(called)

    def _tell(self, case_id: str, before: HeldCase, measured: Measured) -> bytes:
        """The newest Resolution, if it says something else than the one before; its digest."""
        record = resolution(case_id, measured)
        if record is None:
            return b""
        told = _digest(record)
        if told != before.told:
            self._told.append(record)
        return told

    def _say(self, topic: str, name: str, records: list[dict[str, Any]]) -> None:
        values = encode_records(schema(name), records)
        for record, value in zip(records, values, strict=True):
            key: str = record.get("customer_id") or record["case_id"]  # a Resolution knows no customer
            self.messages.append(Message(topic, key.encode(), value))

    def _count(self, places: Places, n: int) -> None:
        if places:
            leaf, minute, value = np.array(places, np.int64).reshape(-1, PLACE).T
            numbers, at = np.unique(leaf, return_inverse=True)
            timed = np.array([self._leaves.leaf(k).metric == RESOLUTION for k in numbers.tolist()])[at]
            bins = np.where(timed, bins_of(np.where(timed, value, 0)), value)
            self._changes.add(leaf, minute, bins, n, n * value * timed)


def _digest(record: Mapping[str, Any]) -> bytes:
    """Of everything but its revision."""
    content = [value for name, value in record.items() if name != "revision"]
    return blake2b(_encode(content), digest_size=8).digest()
