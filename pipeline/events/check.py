"""What a readable record must hold to count. Whoever counts and whoever stores asks here, and judges alike.

Of several faults the first in the order below is the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from pipeline.events.batch import Batch, rejected
from pipeline.events.found import Mask
from pipeline.events.ids import EMPTY
from pipeline.events.records import Records
from pipeline.events.rejected import Reason, Rejected

# Columns that a batch must have to be checked.
RESPONSE_COLUMNS = ("occurred_at", "instrument", "score", "touchpoint", "channel", "segment")
TOUCHPOINT_COLUMNS = ("occurred_at", "touchpoint", "action", "channel", "segment")

AHEAD_MS = 3_600_000  # how far the app's clock may run ahead of the broker's

Bounds = Mapping[str, tuple[int, int]]
_Fault = tuple[Reason, Mask, str]


def check_responses(batch: Batch, records: Records, bounds: Bounds) -> Batch:
    """The responses that count; an empty segment becomes null.

    Args:
        batch: with at least RESPONSE_COLUMNS.
        records: what it was decoded from.
        bounds: of each instrument the lowest and the highest score.
    """
    faults = [
        *_common(batch, records, ("touchpoint", "channel")),
        *_scores(batch.frame, bounds),
    ]
    return _checked(batch, records, faults)


def check_touchpoints(batch: Batch, records: Records) -> Batch:
    """The touchpoints that count; an empty segment becomes null.

    Args:
        batch: with at least TOUCHPOINT_COLUMNS.
        records: what it was decoded from.
    """
    return _checked(batch, records, _common(batch, records, ("touchpoint", "channel", "action")))


def _common(batch: Batch, records: Records, dimensions: Sequence[str]) -> list[_Fault]:
    latest = records.times[batch.at] + AHEAD_MS
    late_clock = batch.frame["occurred_at"].to_numpy() > latest
    empty_id = (batch.a == EMPTY[0]) & (batch.b == EMPTY[1])
    return [
        (Reason.EMPTY_ID, empty_id, "the id is empty"),
        (Reason.IN_FUTURE, late_clock, "it happened more than an hour after it arrived"),
        *((Reason.EMPTY_DIMENSION, _empty(batch.frame[name]), f"{name} is empty") for name in dimensions),
    ]


def _empty(column: pl.Series) -> Mask:
    return (column == "").to_numpy()


def _scores(frame: pl.DataFrame, bounds: Bounds) -> list[_Fault]:
    instrument, score = frame["instrument"], frame["score"].to_numpy()
    known = np.zeros(len(frame), bool)
    outside: list[_Fault] = []
    for name in set(bounds).intersection(instrument.unique().to_list()):
        low, high = bounds[name]
        mine = (instrument == name).to_numpy()
        known |= mine
        wrong = mine & ((score < low) | (score > high))
        outside.append((Reason.SCORE_OUT_OF_RANGE, wrong, f"score must be between {low} and {high}"))
    return [(Reason.UNKNOWN_INSTRUMENT, ~known, "the instrument is not configured"), *outside]


def _checked(batch: Batch, records: Records, faults: Sequence[_Fault]) -> Batch:
    wrong = np.zeros(len(batch), bool)
    bad: list[Rejected] = []
    for reason, found, detail in faults:
        if found.any():
            rows = batch.at[found & ~wrong].tolist()
            bad += [rejected(records, row, reason, "check", detail) for row in rows]
            wrong |= found
    return _null_segments(batch.without(wrong, bad) if bad else batch)


def _null_segments(batch: Batch) -> Batch:
    segment = batch.frame["segment"]
    if not (segment == "").any():
        return batch
    frame = batch.frame.with_columns(pl.when(pl.col("segment") != "").then("segment"))
    return Batch(frame, batch.at, batch.a, batch.b, batch.rejected)
