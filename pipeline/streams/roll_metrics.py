"""`RollMetrics`: what the roll tells Prometheus."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class RollMetrics(Protocol):
    """What the roll tells Prometheus."""

    def deltas_missing(self, topic: str, partition: int, sources: int) -> None:
        """So many sources have lacked their next delta for a while."""

    def cells(self, topic: str, partition: int, held: int, waiting: int) -> None:
        """Cells held, and those of them that wait to be published."""

    def journal_tail(self, topic: str, partition: int, records: int, size: int) -> None:
        """Deltas behind the last snapshot."""

    def forget(self, topic: str, partitions: Collection[int]) -> None:
        """These are shown by others now."""

    def recovery(self, topic: str, seconds: float) -> None:
        """A partition was recovered."""
