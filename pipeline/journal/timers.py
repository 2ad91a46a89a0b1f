"""Timers: what time alone changes about cases, as effects without a source record.

A timer only anticipates. What it counts lies at the instant that was due, and a later event from before that instant
takes it back, so it does not matter when a timer runs, how often, or by whose clock.
"""

from __future__ import annotations

from pipeline.cases.lifecycle import Rules
from pipeline.journal.casework import Casework
from pipeline.journal.effect import Effect
from pipeline.journal.grouping import Changes
from pipeline.journal.index import Ids
from pipeline.journal.leaves import Leaves
from pipeline.journal.messages import Messages
from pipeline.journal.state import State

MOST_AT_ONCE = 2_000  # cases in one effect: a few hundred bytes each


def timer_clock(watermark: int, wall_ms: int, *, idle: bool) -> int:
    """Up to when nothing more is expected to come, milliseconds since 1970.

    While records arrive that is event time, so that a source that is being caught up with does not find every case
    overdue; never ahead of the wall clock, since one app with a wrong clock moves the watermark. Where nothing
    arrives, only the wall clock tells that time passes.
    """
    return wall_ms if idle else min(watermark, wall_ms)


class Timers:
    """Decides what the time until a clock changes. Pure: a function of the state and the clock.

    Args:
        rules: what is promised to customers, and when.
        partitions: of every topic.
    """

    def __init__(self, rules: Rules, partitions: int) -> None:
        self._rules = rules
        self._partitions = partitions

    def __call__(self, state: State, clock: int, most: int = MOST_AT_ONCE) -> Effect | None:
        """What is due by `clock`, of at most so many cases; None for nothing. The state is not changed."""
        due = state.cases.due(clock, state.watermark, most)
        if not due:
            return None
        leaves, changes = Leaves(state), Changes()
        casework = Casework(state.cases, self._rules, leaves, changes)
        for case_id in due:
            casework.pass_time(case_id, clock)
        casework.finish(state.watermark)
        cells = changes.by_partition(leaves.leaf, self._partitions)
        return Effect(
            sequence=state.sequence + 1,
            last=state.applied,
            time=state.applied_time,
            watermark=state.watermark,
            published=state.published,
            outcomes={},
            ids=Ids.none(),
            leaves=leaves.new,
            cases=casework.rows,
            deltas={q: (state.numbers[q] + 1, changed) for q, changed in cells.items()},
            messages=Messages.of(casework.messages),
        )
