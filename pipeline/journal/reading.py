"""`Reading`: how a journal is read from its first record that is left, by way of the snapshots among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.journal.effect import Effect, effect_of
from pipeline.journal.log import Entry
from pipeline.journal.pack import unpack
from pipeline.journal.snapshot import Chunk, Gathering, chunk_of, load_state
from pipeline.journal.state import State


@dataclass
class Tail:
    """Records of a journal behind its last snapshot, which a recovery folds; their size in bytes."""

    records: int = 0
    size: int = 0

    def add(self, value: bytes | None) -> None:
        """One more."""
        self.records += 1
        self.size += len(value or b"")


class Reading:
    """A journal read from its first record that is left.

    The log need not begin at the snapshot that was truncated to: a killed broker forgets recent truncations, and old
    records come back. So the base is the first complete snapshot, replaced by every later one that is not behind.

    Attributes:
        state: the fold so far, without an index.
        searching: no base yet.
        ahead: an effect was numbered beyond the next one: the base is a zombie's, a later snapshot must replace it.
        tail: effects since the base.
        base: bytes of the base.
        base_time: when the base was written, milliseconds since 1970; 0 without one.
        ignored: effects that were not the next one.
    """

    def __init__(self, *, searching: bool) -> None:
        self.state = State(indexing=False)
        self.searching = searching
        self.ahead = False
        self.tail = Tail()
        self.base = 0
        self.base_time = 0
        self.ignored = 0
        self.gathering = Gathering({})

    def take(self, entries: Iterable[Entry]) -> None:
        """More records, in the order of the log."""
        for entry in entries:
            head, columns = unpack(entry.value or b"")
            if head["kind"] == "snapshot":
                self._snapshot(chunk_of(head, columns), entry.time)
            elif not self.searching:
                self.tail.add(entry.value)
                self._effect(effect_of(head, columns))

    def _snapshot(self, chunk: Chunk, time: int) -> None:
        blob, useful = self.gathering.take(chunk.sequence, chunk), self.state.useful
        if blob is not None and (self.searching or chunk.sequence >= useful):
            self.state = load_state(blob, chunk.segments)
            self.searching, self.ahead, self.tail = False, False, Tail()
            self.base, self.base_time = len(blob), time
        if not self.searching:
            self.gathering.forget(self.state.useful)

    def _effect(self, effect: Effect) -> None:
        if not self.state.fold(effect):
            self.ahead |= effect.sequence > self.state.sequence + 1
            self.ignored += 1
