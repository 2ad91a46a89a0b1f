"""`Tables`: what was fetched from the public topics, as rows by table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import polars as pl
from aiokafka import TopicPartition

from pipeline.events.checked import Checked
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
            parts.append(Rows(PROGRESS, progress_of(tp.topic, tp.partition, fetched[tp][-1]), 0))
            pieces = by_source.setdefault(self._sources[tp.topic], [])
            pieces += [(tp.partition, piece) for piece in _pieces(fetched[tp])]
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


def _pieces(parts: Sequence[Records]) -> Iterator[Records]:
    """Of one partition: what is checked already as it is, what stands between in one piece."""
    for checked, some in groupby(parts, _is_checked):
        if checked:
            yield from some
        else:
            yield Records.concat(list(some))


def _is_checked(records: Records) -> bool:
    return isinstance(records, Checked)


def _joined(several: Sequence[tuple[int, Records]]) -> Iterator[tuple[Int32s, Records]]:
    """The records of several partitions in one piece, with the partition of each: a piece has a price of its own.

    What is checked already stays as it is.
    """
    plain = [one for one in several if not _is_checked(one[1])]
    if sum(len(records) for _, records in plain) > _AT_ONCE:
        pieces = [[one] for one in several]
    else:
        pieces = [*([one] for one in several if _is_checked(one[1])), plain]
    for piece in filter(None, pieces):
        size = [len(records) for _, records in piece]
        yield (
            np.repeat(np.array([p for p, _ in piece], np.int32), size),
            Records.concat([r for _, r in piece]),
        )
