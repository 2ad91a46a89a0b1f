"""One of what the product only takes in columns or in parts: how stories are told."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.cases.case import CODES, OPENING, UNHEARD, Case, Opening, hear, mark_of, opened
from pipeline.journal.effect import Effect, effect_of
from pipeline.journal.pack import unpack
from pipeline.measures.bins import bins_of


class CaseEvent(NamedTuple):
    """A touchpoint event of a case; `at_ms` is its `occurred_at` in milliseconds since 1970."""

    action: str
    at_ms: int
    touchpoint: str
    channel: str
    segment: str | None = None
    priority: str | None = None
    customer_id: str | None = None


def step(case: Case | None, event: CaseEvent) -> Case:
    """The case after one more event; None is a case never heard of."""
    before = UNHEARD if case is None else case
    action = CODES.get(event.action)
    if action is None:
        return before
    if action == OPENING:
        return opened(before, Opening(*event[1:]))
    return hear(before, mark_of(event.at_ms, action))


def bin_of(milliseconds: int) -> int:
    """The bin of a duration."""
    return int(bins_of(np.array([milliseconds], np.int64))[0])


def unpack_effect(value: bytes) -> Effect:
    """The inverse of `pack_effect`."""
    return effect_of(*unpack(value))
