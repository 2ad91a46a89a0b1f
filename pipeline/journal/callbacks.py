"""Callbacks: a FollowUp for each answer after which somebody should call, and its end when the answer is taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.events.batch import Batch
from pipeline.events.encode import NULL, Column, Texts, encode_many
from pipeline.events.found import Mask
from pipeline.events.labels import Labels
from pipeline.events.schemas import schema
from pipeline.journal.index import Ids, Int64s
from pipeline.journal.leaves import Leaves
from pipeline.journal.messages import Message
from pipeline.journal.outcomes import Outcome, Settled
from pipeline.measures.instruments import Instrument

FOLLOW_UPS = "follow-ups"
COLUMNS = (
    "response_id",
    "occurred_at",
    "customer_id",
    "case_id",
    "touchpoint",
    "channel",
    "segment",
    "instrument",
)


class Alarm(NamedTuple):
    """The answers `first` to `last` to one instrument call for a follow-up, due `due_ms` later."""

    kind: str
    first: int
    last: int
    due_ms: int


_NO_ALARM = Alarm("", 1, 0, 0)


class Callbacks:
    """Which answers call for a follow-up.

    A FollowUp is once for each response whose newest version is bad, whatever came before: its revision is the
    version of the response, so the highest one says what holds. Only a customer that is known can be called.

    Args:
        instruments: by name.
        due_ms: kind -> how soon somebody must have called; of the kinds that are wanted.
    """

    def __init__(self, instruments: Mapping[str, Instrument], due_ms: Mapping[str, int]) -> None:
        groups = {name: one.alarming for name, one in instruments.items()}
        self._alarms = {
            name: Alarm(*group, due_ms[group.name])
            for name, group in groups.items()
            if group is not None and group.name in due_ms
        }

    def messages(
        self, batch: Batch, labels: Labels, score: Int64s, version: Int64s, settled: Settled, leaves: Leaves
    ) -> tuple[Message, ...]:
        """FollowUps that a batch calls for, and those that it takes back, in offset order."""
        if not self._alarms or not len(batch):
            return ()
        alarms = [self._alarms.get(label[0] or "", _NO_ALARM) for label in labels.texts]
        first, last = (np.array(ends, np.int64)[labels.code] for ends in list(zip(*alarms, strict=True))[1:3])
        bad = (score >= first) & (score <= last) & (settled.outcome == Outcome.COUNTED)
        told = bad | self._taken_back(batch, bad, version, settled, leaves)
        if not told.any():
            return ()
        rows = np.flatnonzero(told)
        return _messages(
            batch.rows(told), [alarms[k] for k in labels.code[rows]], score[rows], version[rows], bad[rows]
        )

    def _taken_back(self, batch: Batch, bad: Mask, version: Int64s, settled: Settled, leaves: Leaves) -> Mask:
        """New versions that are not bad, of answers that were until then."""
        back = np.zeros(len(bad), bool)
        gone = settled.gone.take(np.flatnonzero(self._was_bad(settled.gone, leaves)))
        if not len(gone):
            return back
        a, b = batch.hashes()
        before: dict[
            tuple[int, int], int | bool
        ] = {}  # the lowest bad version left, then whether the last was bad
        for *name, old in zip(gone.a.tolist(), gone.b.tolist(), gone.version.tolist(), strict=True):
            before[name[0], name[1]] = min(old, before.get((name[0], name[1]), old))
        came = np.isin(settled.outcome, (Outcome.COUNTED, Outcome.RETRACTED)) & np.isin(a, gone.a)
        for row in np.flatnonzero(came).tolist():
            key = int(a[row]), int(b[row])
            was = before.get(key, False)
            back[row] = not bad[row] and (was if isinstance(was, bool) else was < version[row])
            before[key] = bool(bad[row])
        return back

    def _was_bad(self, gone: Ids, leaves: Leaves) -> Mask:
        numbers, at = np.unique(gone.series, return_inverse=True)
        alarms = [self._alarms.get(leaves.leaf(k).instrument, _NO_ALARM) for k in numbers.tolist()]
        first = np.array([one.first for one in alarms], np.int64)[at]
        last = np.array([one.last for one in alarms], np.int64)[at]
        return (gone.bin >= first) & (gone.bin <= last)


NO_CALLBACKS = Callbacks({}, {})


def _messages(
    batch: Batch, alarms: list[Alarm], score: Int64s, version: Int64s, bad: Mask
) -> tuple[Message, ...]:
    frame = batch.frame
    texts = {name: frame[name].to_list() for name in COLUMNS if name != "occurred_at"}
    keys = [
        customer or case or "" for customer, case in zip(texts["customer_id"], texts["case_id"], strict=True)
    ]
    known = [k for k, key in enumerate(keys) if key]
    at = frame["occurred_at"].to_numpy()
    due = np.array([one.due_ms for one in alarms], np.int64)
    nothing = Texts((None,), [0] * len(known))
    columns: dict[str, Column] = {
        "follow_up_id": Texts([f"{one}/answer" for one in texts["response_id"]], known),
        "occurred_at": at[known],
        "kind": Texts([one.kind or "answer" for one in alarms], known),
        **{name: Texts(texts[name], known) for name in texts},
        "score": score[known],
        "priority": nothing,
        "due_at": np.where(bad, at + due, NULL)[known],
        "revision": version[known],
        "retracted": ~bad[known],
    }
    record = schema("FollowUp")
    ordered = {field["name"]: columns[field["name"]] for field in record.avro["fields"]}
    values = encode_many(record, ordered)
    return tuple(Message(FOLLOW_UPS, keys[k].encode(), value) for k, value in zip(known, values, strict=True))
