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
KEY = ("customer_id", "case_id")  # the first that is not empty is the key of the Kafka record


_Id = tuple[int, int]


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
        partitions: of every topic.
    """

    def __init__(
        self, instruments: Mapping[str, Instrument], due_ms: Mapping[str, int], partitions: int = 1
    ) -> None:
        self._partitions = partitions
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
        alarms = self._alarms_of(labels)
        first, last = (np.array(ends, np.int64)[labels.code] for ends in list(zip(*alarms, strict=True))[1:3])
        bad = (score >= first) & (score <= last) & (settled.outcome == Outcome.COUNTED)
        told = bad | self._taken_back(batch, bad, version, settled, leaves)
        if not told.any():
            return ()
        some = labels.take(told)
        return self._messages(batch.rows(told), some, score[told], version[told], bad[told])

    def _alarms_of(self, labels: Labels) -> list[Alarm]:
        return [self._alarms.get(label[0] or "", _NO_ALARM) for label in labels.texts]

    def _taken_back(self, batch: Batch, bad: Mask, version: Int64s, settled: Settled, leaves: Leaves) -> Mask:
        """New versions that are not bad, of answers that were until then."""
        back = np.zeros(len(bad), bool)
        gone = settled.gone.take(np.flatnonzero(self._was_bad(settled.gone, leaves)))
        if not len(gone):
            return back
        lowest: dict[_Id, int] = {}  # version of a bad answer that was left
        for a, b, old in zip(gone.a.tolist(), gone.b.tolist(), gone.version.tolist(), strict=True):
            lowest[a, b] = min(old, lowest.get((a, b), old))
        halves = batch.hashes()
        came = np.isin(settled.outcome, (Outcome.COUNTED, Outcome.RETRACTED)) & np.isin(halves[0], gone.a)
        last: dict[_Id, bool] = {}  # whether the latest version in this batch is bad
        for row in np.flatnonzero(came).tolist():
            name = int(halves[0][row]), int(halves[1][row])
            # the first one here replaces what was known before the batch: that was bad if it is among what was left
            was_bad = last[name] if name in last else name in lowest and lowest[name] < version[row]
            back[row] = was_bad and not bad[row]
            last[name] = bool(bad[row])
        return back

    def _was_bad(self, gone: Ids, leaves: Leaves) -> Mask:
        numbers, at = np.unique(gone.series, return_inverse=True)
        alarms = [self._alarms.get(leaves.leaf(k).instrument, _NO_ALARM) for k in numbers.tolist()]
        first = np.array([one.first for one in alarms], np.int64)[at]
        last = np.array([one.last for one in alarms], np.int64)[at]
        return (gone.bin >= first) & (gone.bin <= last)

    def _messages(
        self, batch: Batch, labels: Labels, score: Int64s, version: Int64s, bad: Mask
    ) -> tuple[Message, ...]:
        """Of answers of customers that are known."""
        responses = batch.strings("response_id")
        customers, cases = batch.strings("customer_id"), batch.strings("case_id")
        keys = [customer or case for customer, case in zip(customers, cases, strict=True)]
        known = [k for k, key in enumerate(keys) if key]
        alarms = self._alarms_of(labels)
        due = np.array([one.due_ms for one in alarms], np.int64)[labels.code]
        at, code = batch.numbers("occurred_at"), labels.code[known].tolist()
        instruments, touchpoints, channels, segments = zip(*labels.texts, strict=True)
        columns: dict[str, Column] = {
            "follow_up_id": Texts([f"{one}/answer" for one in responses], known),
            "kind": Texts([one.kind or "answer" for one in alarms], code),
            "touchpoint": Texts(touchpoints, code),
            "channel": Texts(channels, code),
            "segment": Texts([segment or None for segment in segments], code),
            "instrument": Texts(instruments, code),
            "priority": Texts([None] * len(alarms), code),
            "customer_id": Texts(customers, known),
            "case_id": Texts(cases, known),
            "response_id": Texts(responses, known),
            "occurred_at": at[known],
            "due_at": np.where(bad, at + due, NULL)[known],
            "score": score[known],
            "revision": version[known],
            "retracted": ~bad[known],
        }
        values = encode_many(schema("FollowUp"), columns)
        places = batch.partitions(KEY, self._partitions)[known].tolist()
        return tuple(
            Message(FOLLOW_UPS, (keys[k] or "").encode(), value, place)
            for k, value, place in zip(known, values, places, strict=True)
        )


NO_CALLBACKS = Callbacks({}, {})
