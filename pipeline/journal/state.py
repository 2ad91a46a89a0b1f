"""`State`: everything known about one source partition. It is the fold of its journal partition, and nothing else.

Fold rule: an effect counts only if its sequence number is the next one at its place in the log; every reader ignores
the others. The order of the log is the only arbiter, so it does not matter who writes, how often, or how late: zombies,
retries and lost acknowledgements need no fencing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pipeline.journal.casetable import CaseTable
from pipeline.journal.deltas import CellChanges
from pipeline.journal.effect import Effect
from pipeline.journal.index import NEVER, Ids, Index
from pipeline.journal.messages import Messages
from pipeline.journal.outcomes import Outcome
from pipeline.measures.cells import Series

if TYPE_CHECKING:
    from pipeline.journal.segments import Segment


class Outgoing:
    """What one effect still has to send downstream: numbered deltas and derived records."""

    __slots__ = ("deltas", "messages", "watermark")

    def __init__(
        self, watermark: int, deltas: Mapping[int, tuple[int, CellChanges]], messages: Messages
    ) -> None:
        self.watermark = watermark
        self.deltas = deltas
        self.messages = messages


class State:
    """Only `fold` and `mark_published` change it.

    Attributes:
        sequence: number of the last effect that counted.
        applied: highest source offset whose effect is in here; -1 before the first.
        applied_time: `kafka_time` of that record, milliseconds since 1970.
        topic_id: of the source topic; empty as long as nobody knew it.
        watermark: highest `occurred_at` of the records so far.
        index: what is known under each id.
        leaves: every leaf that ever occurred; its place is its number in `index`.
        leaf_numbers: the same the other way round.
        outcomes: (day, outcome) -> records.
        cases: every case that is not forgotten.
        numbers: deltas partition -> last number used.
        outbox: sequence -> what that effect still has to send.
        published: everything up to this sequence is acknowledged downstream.
        segments: where ids are sealed, oldest first.
        snapshot_sequence: `sequence` as of that snapshot.
    """

    def __init__(self, *, indexing: bool = True) -> None:
        self.sequence = 0
        self.applied = -1
        self.applied_time = 0
        self.topic_id = ""
        self.watermark = NEVER
        self.index = Index()
        self.leaves: list[Series] = []
        self.outcomes: Counter[tuple[int, Outcome]] = Counter()
        self.cases = CaseTable()
        self.numbers: Counter[int] = Counter()
        self.outbox: dict[int, Outgoing] = {}
        self.published = 0
        self.segments: tuple[Segment, ...] = ()
        self.snapshot_sequence = 0
        self._indexing = indexing
        self._unindexed: list[Ids] = []  # of effects since the last snapshot, oldest first
        self.leaf_numbers: dict[Series, int] = {}

    def fold(self, effect: Effect) -> bool:
        """Take the effect in, if it is the next one; otherwise leave everything as it is."""
        if effect.sequence != self.sequence + 1:
            return False
        self.sequence = effect.sequence
        self.applied, self.applied_time = effect.last, effect.time
        self.topic_id = effect.topic_id or self.topic_id
        self.watermark = effect.watermark
        self.name_leaves(effect.leaves)
        if len(effect.ids):
            if self._indexing:
                self.index.put(effect.ids, places=effect.places)
            else:
                self._unindexed.append(effect.ids)
        self.cases.update(effect.cases, self.number)
        self.outcomes.update(effect.outcomes)
        self.numbers.update({q: number - self.numbers[q] for q, (number, _) in effect.deltas.items()})
        if effect.deltas or effect.messages:
            self.outbox[effect.sequence] = Outgoing(effect.watermark, effect.deltas, effect.messages)
        self.mark_published(effect.published)
        return True

    def changed_ids(self) -> Ids:
        """What is known now under the ids that changed since the last snapshot, each once."""
        return self.index.changed()

    def sealed(self, segments: tuple[Segment, ...]) -> None:
        """A snapshot of this state with these segments is the first of its number in the journal."""
        self.segments = segments
        self.snapshot_sequence = self.sequence
        self._unindexed = []
        self.index.sealed()

    def load_sealed(self, ids: Ids) -> None:
        """Some of the sealed ids, oldest first, of a state that was folded without an index."""
        self.index.reserve(sum(segment.ids for segment in self.segments))
        self.index.put(ids, sealed=True)

    def load_index(self) -> None:
        """The ids since then. From now on the index is part of the fold."""
        for ids in self._unindexed:
            self.index.put(ids)
        self._unindexed = []
        self._indexing = True

    def name_leaves(self, leaves: Iterable[Series]) -> None:
        """Give new leaves the next numbers."""
        for leaf in leaves:
            self.leaf_numbers[leaf] = len(self.leaves)
            self.leaves.append(leaf)

    def mark_published(self, sequence: int) -> None:
        """Everything up to `sequence` is acknowledged downstream: it need not be sent again."""
        if sequence > self.published:
            self.published = sequence
            for done in [s for s in list(self.outbox) if s <= sequence]:  # a copy: a fold may run in a thread
                del self.outbox[done]

    @property
    def useful(self) -> int:
        """The number from which on a snapshot can still count: not behind, and the first of its number."""
        return max(self.sequence, self.snapshot_sequence + 1)

    def number(self, leaf: Series) -> int | None:
        """The number of a leaf; None for one that never occurred."""
        return self.leaf_numbers.get(leaf)
