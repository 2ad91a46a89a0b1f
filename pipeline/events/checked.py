"""`Checked`: records that somebody has decoded and checked already."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.events.batch import Batch
from pipeline.events.labels import Labels
from pipeline.events.records import Records


@dataclass(frozen=True, slots=True)
class Checked(Records):
    """Records, and what `events.check` says of all of them. A part of them, or several joined, are plain `Records`.

    Attributes:
        batch: those that count, with every column, and the rejected ones.
        labels: of those that count.
    """

    batch: Batch
    labels: Labels

    @property
    def nbytes(self) -> int:
        """About the size of all values, without a look at each."""
        joined = {id(part.block.raw): len(part.block.raw) for part in self.batch.parts}
        return sum(joined.values()) + sum(len(one.raw) for one in self.batch.rejected)

    @staticmethod
    def by(records: Records, batch: Batch, labels: Labels) -> Checked:
        """`records`, of which `batch` was decoded."""
        return Checked(records.values, records.offsets, records.times, batch, labels, since=records.since)
