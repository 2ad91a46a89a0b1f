"""`Tables`: what was fetched from the public topics, as rows by table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
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
    outcomes_of,
    progress_of,
    rows_of,
)

log = logging.getLogger(__name__)
_AT_ONCE = 32_768  # records; larger columns do not fit into the caches
Int32s = npt.NDArray[np.int32]


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
        by_source: dict[Source, list[tuple[int, Records]]] = {}
        for tp in sorted(fetched):  # as the raw tables are ordered: the store need not sort them
            whole = Records.concat(fetched[tp])
            parts.append(Rows(PROGRESS, progress_of(tp.topic, tp.partition, whole), 0))
            by_source.setdefault(self._sources[tp.topic], []).append((tp.partition, whole))
        for source, several in by_source.items():
            for partition, records in _joined(several):
                parts += self._rows(source, partition, records)
        return dict(sorted(joined(parts).items(), key=lambda one: (one[0] == PROGRESS, one[0] != CELLS)))

    def _rows(self, source: Source, partition: Int32s, records: Records) -> list[Rows]:
        """The rows of these records, and what they say about progress."""
        if source.table == OUTCOMES:
            rows, *progress = outcomes_of(source, records, self._lookup)
        else:
            rows, progress = rows_of(source, partition, records, self._lookup), []
        if rows.skipped and source.check is None:
            extra = {"topic": source.topic, "n": rows.skipped}
            log.error("records of our own topics cannot be read", extra=extra)
        return [rows, *progress]


def _joined(several: Sequence[tuple[int, Records]]) -> Iterator[tuple[Int32s, Records]]:
    """The records of several partitions in one piece, with the partition of each: a piece has a price of its own."""
    much = sum(len(records) for _, records in several) > _AT_ONCE
    pieces = [[one] for one in several] if much else [several]
    for piece in pieces:
        size = [len(records) for _, records in piece]
        yield (
            np.repeat(np.array([p for p, _ in piece], np.int32), size),
            Records.concat([r for _, r in piece]),
        )
