"""`Delta`: what one journal record changed in the cells of one deltas partition.

Deltas of one source partition are numbered without gaps for each deltas partition; the contents of a number never
differ, so sending one again does no harm, and the roll takes each number once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from pipeline.events.partition import partition_of
from pipeline.journal.pack import pack, unpack
from pipeline.measures.cells import Series

SPAN = 2
"""Hours that a cell stays open without being touched. Nearly all changes of a minute come with it; one that comes later
opens a new part: one more row, and nothing else. Each hour more is an hour's cells more in memory and in snapshots."""
DEFAULT_SPAN = 26
"""The same where a delta does not say it: it was written when this was usual."""


@dataclass(frozen=True, slots=True)
class CellChanges:
    """Changes of cells as columns, each cell at most once.

    Attributes:
        series: the distinct leaves that occur.
        at: uint32, index into `series`.
        minute: int32, the bucket in minutes since 1970.
        bin: int32.
        n: int64, change of the count; may be negative.
        total: int64, change of the sum in thousandths (of a score point, of a second), so that it is exact.
    """

    series: tuple[Series, ...]
    at: npt.NDArray[np.uint32]
    minute: npt.NDArray[np.int32]
    bin: npt.NDArray[np.int32]
    n: npt.NDArray[np.int64]
    total: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True)
class Delta:
    """One numbered change.

    Attributes:
        source: name of the source, "responses" or "touchpoints".
        partition: source partition.
        number: 1, 2, 3, ... for each (source, partition, deltas partition).
        watermark: highest `occurred_at` of the source partition so far, milliseconds since 1970.
        cells: what changed.
        span: hours that a cell stays open in the roll without being touched. In the log, since the settings of two
            workers may differ; of a number that was sent twice the first in the log counts.
    """

    source: str
    partition: int
    number: int
    watermark: int
    cells: CellChanges
    span: int = DEFAULT_SPAN


@cache  # asked for every leaf of every batch; there are few instruments and actions
def deltas_partition(metric: str, instrument: str, partitions: int) -> int:
    """The one deltas partition that owns all cells of a (metric, instrument)."""
    return partition_of(f"{metric}/{instrument}".encode(), partitions)


def pack_delta(delta: Delta) -> bytes:
    """The value of a record in the topic `deltas`."""
    head = {
        "kind": "delta",
        "source": delta.source,
        "partition": delta.partition,
        "number": delta.number,
        "watermark": delta.watermark,
        "span": delta.span,
        "series": [list(s) for s in delta.cells.series],
    }
    cells = delta.cells
    return pack(
        head, {"at": cells.at, "minute": cells.minute, "bin": cells.bin, "n": cells.n, "total": cells.total}
    )


def unpack_delta(value: bytes) -> Delta:
    """The inverse of `pack_delta`; raises what `unpack` raises."""
    head, columns = unpack(value)
    cells = CellChanges(tuple(Series(*s) for s in head["series"]), **columns)
    span = head.get("span", DEFAULT_SPAN)
    return Delta(head["source"], head["partition"], head["number"], head["watermark"], cells, span)
