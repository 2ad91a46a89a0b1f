"""`State`: everything known about one source partition. It is the fold of its journal partition, and nothing else.

Fold rule: an effect counts only if its sequence number is the next one at its place in the log; every reader ignores
the others. The order of the log is the only arbiter, so it does not matter who writes, how often, or how late: zombies,
retries and lost acknowledgements need no fencing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.journal.deltas import CellChanges
from pipeline.journal.effect import Effect, Message
from pipeline.journal.index import NEVER, Index
from pipeline.journal.outcomes import Outcome
from pipeline.measures.cells import Series


class Outgoing:
    """What one effect still has to send downstream: numbered deltas and derived records."""

    __slots__ = ("deltas", "messages", "watermark")

    def __init__(self, effect: Effect) -> None:
        self.watermark = effect.watermark
        self.deltas: dict[int, tuple[int, CellChanges]] = dict(effect.deltas)
        self.messages: tuple[Message, ...] = effect.messages


class State:
    """Only `fold` and `mark_published` change it.

    Attributes:
        sequence: number of the last effect that counted.
        applied: highest source offset whose effect is in here; -1 before the first.
        applied_time: `kafka_time` of that record, milliseconds since 1970.
        watermark: highest `occurred_at` of the records so far.
        index: what is known under each id.
        leaves: every leaf that ever occurred; its place is its number in `index`.
        outcomes: (day, outcome) -> records.
        cases: case id -> row.
        numbers: deltas partition -> last number used.
        outbox: sequence -> what that effect still has to send.
        published: everything up to this sequence is acknowledged downstream.
    """

    def __init__(self) -> None:
        self.sequence = 0
        self.applied = -1
        self.applied_time = 0
        self.watermark = NEVER
        self.index = Index()
        self.leaves: list[Series] = []
        self.outcomes: Counter[tuple[int, Outcome]] = Counter()
        self.cases: dict[str, list[Any]] = {}
        self.numbers: Counter[int] = Counter()
        self.outbox: dict[int, Outgoing] = {}
        self.published = 0
        self._leaf_numbers: dict[Series, int] = {}

    def fold(self, effect: Effect) -> bool:
        """Take the effect in, if it is the next one; otherwise leave everything as it is."""
        if effect.sequence != self.sequence + 1:
            return False
        self.sequence = effect.sequence
        self.applied, self.applied_time = effect.last, effect.time
        self.watermark = effect.watermark
        for leaf in effect.leaves:
            self._leaf_numbers[leaf] = len(self.leaves)
            self.leaves.append(leaf)
        if len(effect.ids):
            self.index.put(effect.ids)
        self.cases.update(effect.cases)
        self.outcomes.update(effect.outcomes)
        self.numbers.update({q: number - self.numbers[q] for q, (number, _) in effect.deltas.items()})
        if effect.deltas or effect.messages:
            self.outbox[effect.sequence] = Outgoing(effect)
        self.mark_published(effect.published)
        return True

    def mark_published(self, sequence: int) -> None:
        """Everything up to `sequence` is acknowledged downstream: it need not be sent again."""
        if sequence > self.published:
            self.published = sequence
            for done in [s for s in list(self.outbox) if s <= sequence]:  # a copy: a fold may run in a thread
                del self.outbox[done]

    def number(self, leaf: Series) -> int | None:
        """The number of a leaf; None for one that never occurred."""
        return self._leaf_numbers.get(leaf)
