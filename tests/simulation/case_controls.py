"""Naive rules of cases and timers, for `controls`: (where, name, the naive one)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from pipeline.journal import casework
from pipeline.journal import effect as effects
from pipeline.journal.callbacks import FOLLOW_UPS, Callbacks
from pipeline.journal.casework import Casework
from pipeline.journal.effect import Effect
from pipeline.journal.index import NEVER
from pipeline.journal.messages import Messages
from pipeline.journal.state import State
from pipeline.journal.timers import Timers

_timers, _fold = Timers.__call__, State.fold
_finish, _count = Casework.finish, Casework._count
_columns, _follow_ups = effects.columns_of_messages, casework.follow_ups


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


def _unwritten(messages: Messages, prefix: str = "") -> Any:
    """Whoever decides sends them: nobody else will."""
    return _columns(Messages.of(one for one in messages if one.topic != FOLLOW_UPS), prefix)


def _once_told(*_: Any) -> Any:
    """An answer that was bad has called for somebody, whatever comes of it."""
    return np.zeros(len(_[1]), bool)


def _told_only(*changed: Any) -> Any:
    return [one for one in _follow_ups(*changed) if not one["retracted"]]


CASE_CONTROLS = {
    "timers: settle the next record": (Timers, "__call__", _settles_the_next_record),
    "timers: what they count stays": (Casework, "_count", _stays),
    "cases: forgotten by any clock": (Timers, "__call__", _by_any_clock),
    "cases: forgotten as they are": (Casework, "finish", _as_they_are),
    "cases: never leave": (State, "fold", _forget_nothing),
    "follow-ups: sent by whoever decides": (effects, "columns_of_messages", _unwritten),
    "follow-ups: of answers are never taken back": (Callbacks, "_was_called_for", _once_told),
    "follow-ups: of cases are never taken back": (casework, "follow_ups", _told_only),
}
