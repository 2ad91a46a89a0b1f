"""Decisions that are remembered: thousands of seeds cut the same few histories into the same few batches.

A decision is a pure function of the state and the records, so a seed may use what another one found. What of the state
it depends on is the key; three counters only pass through it, so they are put in anew. That this is so is checked again
and again: every so often a remembered decision is made anew, and must be the same to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipeline.events.batch import Batch, decode
from pipeline.events.records import Records
from pipeline.events.schemas import RecordSchema
from pipeline.journal.effect import Effect, pack_effect
from pipeline.journal.index import Ids
from pipeline.journal.partition import Decider, Decision
from pipeline.journal.state import State

AGAIN = 50  # of so many remembered decisions one is made anew


class HiddenInput(AssertionError):
    """A decision depends on something that is not in its key."""


@dataclass(frozen=True)
class Known:
    """A decision, and the numbers of deltas as they were before it."""

    decision: Decision
    numbers: dict[int, int]


class Remembered:
    """See `journal.partition.Decider`."""

    def __init__(self, decider: Decider, schema: RecordSchema) -> None:
        self.max_records = decider.max_records
        self.horizon = decider.horizon
        self._decide = decider
        self._schema = schema
        self._ids: dict[Any, Batch] = {}
        self._known: dict[Any, Known] = {}
        self._used = 0

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """`records` begin behind `state.applied`; nothing is changed."""
        key = partition, *self._seen(state, records)
        known = self._known.get(key)
        if known is None:
            decision = self._decide(state, partition, records)
            self._known[key] = Known(decision, dict(state.numbers))
            return decision
        decision = replace(known.decision, effect=_renumbered(known, state))
        self._used += 1
        if self._used % AGAIN == 0 and not _same(decision, self._decide(state, partition, records)):
            msg = "a decision depends on something that its key in tests/simulation/remembered.py leaves out"
            raise HiddenInput(msg)
        return decision

    def _seen(self, state: State, records: Records) -> tuple[Any, ...]:
        """All that a decision may depend on: the records, what is known under their ids, leaves, cases."""
        content = tuple(records.values), records.offsets.tobytes(), records.times.tobytes()
        batch = self._ids.get(content)
        if batch is None:
            batch = self._ids[content] = decode(records, self._schema, ("occurred_at",))
        ids = state.index.get(*batch.hashes())
        known = tuple([getattr(ids, name).tobytes() for name in Ids.__slots__])
        return content, known, state.watermark, tuple(state.leaves), tuple(sorted(state.cases.rows().items()))


def _renumbered(known: Known, state: State) -> Effect:
    effect = known.decision.effect
    return replace(
        effect,
        sequence=state.sequence + 1,
        published=state.published,
        deltas={
            q: (number - known.numbers.get(q, 0) + state.numbers[q], cells)
            for q, (number, cells) in effect.deltas.items()
        },
    )


def _same(left: Decision, right: Decision) -> bool:
    return pack_effect(left.effect) == pack_effect(right.effect) and (
        left.misplaced,
        left.rejected,
        left.dead_letters,
    ) == (right.misplaced, right.rejected, right.dead_letters)
