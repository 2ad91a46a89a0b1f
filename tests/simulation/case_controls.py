"""Naive rules of cases and timers, for `controls`: (where, name, the naive one)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from pipeline.journal.casework import Casework
from pipeline.journal.effect import Effect
from pipeline.journal.index import NEVER
from pipeline.journal.state import State
from pipeline.journal.timers import Timers

_timers, _fold = Timers.__call__, State.fold
_finish, _count = Casework.finish, Casework._count


def _settles_the_next_record(self: Any, state: Any, *more: Any) -> Effect | None:
    effect = _timers(self, state, *more)
    return None if effect is None else replace(effect, last=effect.last + 1)


def _stays(self: Any, places: Any, n: int) -> None:
    if n > 0:
        _count(self, places, n)


def _by_any_clock(self: Any, state: Any, clock: int, *more: Any) -> Effect | None:
    """Forgotten by the timer's clock, which may be ahead of all that is still to come."""
    with patch.object(state, "watermark", max(clock, state.watermark)):
        effect = _timers(self, state, clock, *more)
    return None if effect is None else replace(effect, watermark=state.watermark)


def _as_they_are(self: Any, watermark: int = NEVER) -> None:
    """What was still to be counted is forgotten with the case."""
    gone = [case_id for case_id in self._now if self._is_over(case_id, watermark)]
    for case_id in gone:
        del self._now[case_id]
    _finish(self, watermark)
    self.rows.update(dict.fromkeys(gone))


def _forget_nothing(self: Any, effect: Any) -> bool:
    rows = {case_id: row for case_id, row in effect.cases.items() if row is not None}
    return _fold(self, replace(effect, cases=rows))


CASE_CONTROLS = {
    "timers: settle the next record": (Timers, "__call__", _settles_the_next_record),
    "timers: what they count stays": (Casework, "_count", _stays),
    "cases: forgotten by any clock": (Timers, "__call__", _by_any_clock),
    "cases: forgotten as they are": (Casework, "finish", _as_they_are),
    "cases: never leave": (State, "fold", _forget_nothing),
}
