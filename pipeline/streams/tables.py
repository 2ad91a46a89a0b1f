"""`Tables`: what was fetched from the public topics, as rows by table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from aiokafka import TopicPartition

from pipeline.events.records import Records
from pipeline.events.schemas import Lookup
from pipeline.streams.rows import (
    CELLS,
    OUTCOMES,
    PROGRESS,
    Rows,
    Source,
    joined,
    progress_of,
    rows_of,
    tallied,
    told_progress,
)

log = logging.getLogger(__name__)


class Tables:
    """Makes rows of records.

    Args:
        sources: the topics.
        lookup: the schemas of ids.
    """

    def __init__(self, sources: Iterable[Source], lookup: Lookup) -> None:
        self._sources = {one.topic: one for one in sources}
        self._lookup = lookup

    def of(self, fetched: Mapping[TopicPartition, Sequence[Records]]) -> dict[str, pl.DataFrame]:
        """All rows by table, in the order in which to store them.

        Cells come first, since views and dashboards wait for them; what says how far we have come is last.

        Raises:
            Unseen: `lookup` does not know yet.
        """
        parts: list[Rows] = []
        anywhere: dict[Source, list[Records]] = {}
        for tp, records in fetched.items():
            whole, source = Records.concat(records), self._sources[tp.topic]
            parts.append(Rows(PROGRESS, progress_of(tp.topic, tp.partition, whole), 0))
            if source.by_partition:
                parts += self._rows(source, tp.partition, whole)
            else:
                anywhere.setdefault(source, []).append(whole)
        for source, wholes in anywhere.items():
            parts += self._rows(source, 0, Records.concat(wholes))
        return dict(sorted(joined(parts).items(), key=lambda one: (one[0] == PROGRESS, one[0] != CELLS)))

    def _rows(self, source: Source, partition: int, records: Records) -> list[Rows]:
        """The rows of these records, and what they say about progress."""
        rows = rows_of(source, partition, records, self._lookup)
        if rows.table != OUTCOMES:
            _note_skipped(source, rows.skipped)
            return [rows]
        told, words = told_progress(records, self._lookup)
        _note_skipped(source, rows.skipped - words)
        return [
            rows,
            Rows(PROGRESS, told, 0),
            Rows(PROGRESS, tallied(rows.frame, int(records.times[-1])), 0),
        ]


def _note_skipped(source: Source, skipped: int) -> None:
    if skipped and source.check is None:
        log.error("records of our own topics cannot be read", extra={"topic": source.topic, "n": skipped})
