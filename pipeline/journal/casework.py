"""Cases inside a batch: each case event takes the old observations of its case out of their cells and puts the new in.

It happens in the journal record of the batch, so cells and cases can never disagree; `resolutions` tells others.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.cases.lifecycle import (
    RESOLUTION,
    UNHEARD,
    Case,
    CaseEvent,
    Rules,
    from_row,
    observations,
    resolution,
    step,
    to_row,
)
from pipeline.events import wire
from pipeline.events.schemas import schema
from pipeline.journal.effect import Message
from pipeline.journal.grouping import Changes
from pipeline.journal.leaves import Leaves
from pipeline.measures.bins import bin_of
from pipeline.measures.cells import MINUTE_MS, NO_SEGMENT, Series

RESOLUTIONS = "resolutions"
_RULES = Rules()
_COUNTED = ("first_reply", "first_resolution", "full_resolution")


class Casework:
    """The cases that one batch touches.

    Attributes:
        messages: Resolution records of this batch, at most one a case.
    """

    def __init__(self, known: Mapping[str, Any], leaves: Leaves, changes: Changes) -> None:
        self.messages: list[Message] = []
        self._known = known
        self._leaves = leaves
        self._changes = changes
        self._before: dict[str, Case] = {}
        self._now: dict[str, Case] = {}

    @property
    def rows(self) -> dict[str, Any]:
        """Rows of the cases that changed."""
        return {
            case_id: b64encode(to_row(case)).decode()
            for case_id, case in self._now.items()
            if case is not self._before[case_id]
        }

    def take(self, case_id: str, event: CaseEvent) -> None:
        """One event, in offset order."""
        if case_id not in self._before:
            row = self._known.get(case_id)
            self._before[case_id] = _case(row)
        self._now[case_id] = step(self._now.get(case_id, self._before[case_id]), event)

    def finish(self) -> None:
        """Old observations out, new ones in, and a Resolution for each case whose record changed."""
        for case_id, case in self._now.items():
            before = self._before[case_id]
            if case is not before:
                self._count(before, -1)
                self._count(case, 1)
                self._tell(case_id, case)

    def _count(self, case: Case, n: int) -> None:
        for seen in observations(case, _RULES):
            if seen.metric != RESOLUTION or seen.instrument not in _COUNTED:
                continue
            opening = seen.opening
            leaf = Series(
                seen.metric,
                seen.instrument,
                opening.touchpoint,
                opening.channel,
                opening.segment or NO_SEGMENT,
            )
            self._changes.add(
                np.array([self._leaves.number(leaf)]),
                np.array([seen.at_ms // MINUTE_MS]),
                np.array([bin_of(seen.value)]),
                n,
                np.array([n * seen.value]),
            )

    def _tell(self, case_id: str, case: Case) -> None:
        record = resolution(case_id, case, _RULES)
        if record is not None:
            self.messages.append(
                Message(RESOLUTIONS, case_id.encode(), wire.encode(schema("Resolution"), record))
            )


def _case(row: Any) -> Case:
    """The case of a row in a journal; a list is one of version 1."""
    if row is None:
        return UNHEARD
    return from_row(row if isinstance(row, list) else b64decode(row))
