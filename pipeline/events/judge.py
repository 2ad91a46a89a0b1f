"""The one judge of a record: what `Walk` finds wrong with its bytes, then its texts, then its times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.events.block import Block
from pipeline.events.faults import Fault
from pipeline.events.found import Found, Numbers
from pipeline.events.layout import Field, Layout
from pipeline.events.walk import Walk
from pipeline.events.wire import FIRST_MS, LAST_MS


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of records of one writer schema.

    Attributes:
        block: the records.
        found: what stands in each field; means nothing where there is a fault.
        fault: int8 of `Fault`, one a record.
        field: int16, the number of the field that it is in.
    """

    block: Block
    found: dict[str, Found]
    fault: npt.NDArray[np.int8]
    field: npt.NDArray[np.int16]


def judge(block: Block, layout: Layout) -> Judged:
    """Judge each record by its own bytes alone."""
    walk = Walk(block.buffer, block.start, block.end)
    found = walk.run(layout.written)
    _refuse_texts(walk, block)
    _refuse_times(walk, layout.written, found)
    return Judged(block, found, walk.fault, walk.field)


def _refuse_texts(walk: Walk, block: Block) -> None:
    wrong = np.zeros(len(block), bool)
    wrong[block.not_utf8(walk.opaque, walk.fault != Fault.NONE)] = True
    walk.refuse(slice(None), wrong, Fault.TEXT)


def _refuse_times(walk: Walk, written: Sequence[Field], found: Mapping[str, Found]) -> None:
    for number, field in enumerate(written):
        numbers = found[field.name]
        if field.time and isinstance(numbers, Numbers):
            wrong = (numbers.value < FIRST_MS) | (numbers.value > LAST_MS)
            walk.refuse(slice(None), wrong, Fault.TIME, number)
