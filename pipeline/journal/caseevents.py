"""What the events of a batch say about cases, out of columns: a case, and what happened when, as one number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.cases.case import ACTION_BITS, CODES, OPENING
from pipeline.cases.lifecycle import Opening
from pipeline.events.batch import Batch
from pipeline.events.found import Mask
from pipeline.events.labels import Labels

_SILENT = -1  # the code of an action that says nothing about a case


def case_events(batch: Batch, labels: Labels, came: Mask) -> Iterator[tuple[str, int, Opening | None]]:
    """Case, mark and opening (None of any other action) of the events that count, in offset order.

    Args:
        batch: touchpoints.
        labels: the TOUCHPOINT_LABEL of each.
        came: which of them count.
    """
    codes = np.array([CODES.get(label[0] or "", _SILENT) for label in labels.texts], np.int64)[labels.code]
    says = came & (codes != _SILENT)
    if not says.any():
        return
    some, codes = batch.rows(says), codes[says]
    marks = some.numbers("occurred_at") << ACTION_BITS | codes
    openings = _openings(some, labels, labels.code[says], codes == OPENING)
    for case_id, mark, opening in zip(_texts(some, "case_id"), marks.tolist(), openings, strict=True):
        if case_id:
            yield case_id, mark, opening


def _openings(batch: Batch, labels: Labels, code: npt.NDArray[np.int64], which: Mask) -> list[Opening | None]:
    """The opening of each record of the mask, None for the others."""
    found: list[Opening | None] = [None] * len(batch)
    some, rows = batch.rows(which), np.flatnonzero(which).tolist()
    columns = some.numbers("occurred_at").tolist(), code[which].tolist()
    more = _texts(some, "priority"), _texts(some, "customer_id")
    for row, at, k, priority, customer in zip(rows, *columns, *more, strict=True):
        _, touchpoint, channel, segment = labels.texts[k]
        found[row] = Opening(at, touchpoint or "", channel or "", segment or None, priority, customer)
    return found


def _texts(batch: Batch, name: str) -> list[str | None]:
    return [None if text is None else text.decode() for text in batch.utf8s(name)]
