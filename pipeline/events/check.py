"""What a readable record must hold to count. Whoever counts and whoever stores asks here, and judges alike.

Of several faults the first in the order below is the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import numpy as np

from pipeline.events.batch import Batch, rejected
from pipeline.events.faults import MAX_NAME_BYTES
from pipeline.events.found import Mask
from pipeline.events.labels import Label, Labels
from pipeline.events.records import Records
from pipeline.events.rejected import Reason, Rejected

AHEAD_MS = 3_600_000  # how far the app's clock may run ahead of the broker's

# The texts that tell the leaves apart in which records count.
RESPONSE_LABEL = ("instrument", "touchpoint", "channel", "segment")
TOUCHPOINT_LABEL = ("action", "touchpoint", "channel", "segment")

Bounds = Mapping[str, tuple[int, int]]
_Fault = tuple[Reason, Mask, str]


def label_responses(batch: Batch, records: Records, bounds: Bounds) -> tuple[Batch, Labels]:
    """The responses that count, where an empty segment becomes null, and the RESPONSE_LABEL of each.

    Args:
        batch: what was decoded.
        records: what it was decoded from.
        bounds: of each instrument the lowest and the highest score.
    """
    labels = batch.labels(RESPONSE_LABEL)
    faults = _common(batch, records, labels, {"touchpoint": 1, "channel": 2})
    return _checked(batch, records, labels, [*faults, *_scores(batch, labels, bounds)])


def label_touchpoints(batch: Batch, records: Records) -> tuple[Batch, Labels]:
    """The touchpoints that count, where an empty segment becomes null, and the TOUCHPOINT_LABEL of each."""
    labels = batch.labels(TOUCHPOINT_LABEL)
    faults = _common(batch, records, labels, {"touchpoint": 1, "channel": 2, "action": 0})
    return _checked(batch, records, labels, [*faults, *_long_cases(batch)])


def _common(
    batch: Batch, records: Records, labels: Labels, dimensions: Mapping[str, int]
) -> Iterator[_Fault]:
    if batch.id:
        yield Reason.EMPTY_ID, batch.sizes(batch.id) == 0, "the id is empty"
    late_clock = batch.numbers("occurred_at") > records.times[batch.at] + AHEAD_MS
    yield Reason.IN_FUTURE, late_clock, "it happened more than an hour after it arrived"
    for name, place in dimensions.items():
        empty = [label[place] == "" for label in labels.texts]
        if any(empty):
            yield Reason.EMPTY_DIMENSION, np.array(empty)[labels.code], f"{name} is empty"
    long = list(map(_is_long, labels.texts))
    if any(long):
        yield Reason.TOO_LONG, np.array(long)[labels.code], f"a name has more than {MAX_NAME_BYTES} bytes"


@lru_cache(maxsize=1 << 16)  # batch after batch the same
def _is_long(label: Label) -> bool:
    return any(map(_too_long, label))


def _too_long(text: str | None) -> bool:
    return text is not None and len(text) > MAX_NAME_BYTES // 4 and len(text.encode()) > MAX_NAME_BYTES


def _long_cases(batch: Batch) -> Iterator[_Fault]:
    for name in ("case_id", "priority"):
        yield (
            Reason.TOO_LONG,
            batch.sizes(name) > MAX_NAME_BYTES,
            f"{name} has more than {MAX_NAME_BYTES} bytes",
        )


def _scores(batch: Batch, labels: Labels, bounds: Bounds) -> Iterator[_Fault]:
    asked = [label[0] or "" for label in labels.texts]
    names = list(dict.fromkeys(asked))
    number = {name: k for k, name in enumerate(names)}
    of = np.array([number[name] for name in asked], np.int64)[labels.code]
    unknown = np.array([name not in bounds for name in names], bool)
    if unknown.any():
        yield Reason.UNKNOWN_INSTRUMENT, unknown[of], "the instrument is not configured"
    low, high = np.array([bounds.get(name, (0, 0)) for name in names], np.int64).reshape(-1, 2).T
    score = batch.numbers("score")
    outside = (score < low[of]) | (score > high[of])
    if outside.any():
        for name in sorted(set(bounds).intersection(names)):
            detail = "score must be between {} and {}".format(*bounds[name])
            yield Reason.SCORE_OUT_OF_RANGE, outside & (of == number[name]), detail


def _checked(
    batch: Batch, records: Records, labels: Labels, faults: Iterable[_Fault]
) -> tuple[Batch, Labels]:
    wrong = np.zeros(len(batch), bool)
    bad: list[Rejected] = []
    for reason, found, detail in faults:
        if found.any():
            rows = batch.at[found & ~wrong].tolist()
            bad += [rejected(records, row, reason, "check", detail) for row in rows]
            wrong |= found
    if bad:
        batch, labels = batch.without(wrong, bad), labels.take(~wrong)
    return batch.nulled("segment"), labels
