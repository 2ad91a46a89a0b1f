"""Callbacks: a FollowUp for each answer after which somebody should call, and its end when the answer is taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.events.batch import Batch
from pipeline.events.encode import NULL, Column, Texts, encode_many
from pipeline.events.found import Mask
from pipeline.events.labels import Labels
from pipeline.events.schemas import schema
from pipeline.journal.index import Ids, Int64s
from pipeline.journal.leaves import Leaves
from pipeline.journal.messages import NO_MESSAGES, Messages
from pipeline.journal.outcomes import Outcome, Settled
from pipeline.measures.instruments import Instrument

FOLLOW_UPS = "follow-ups"
# The first that is not empty is the key of the Kafka record; what takes one back need not say whose it was.
KEY = ("customer_id", "case_id", "response_id")
_ANSWER = b"/answer"  # behind the id of the response

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
        wanted = {
            name: Alarm(*group, due_ms[group.name])
            for name, group in groups.items()
            if group is not None and group.name in due_ms
        }
        self._number: dict[str | None, int] = {name: k for k, name in enumerate(wanted, start=1)}
        alarms = (_NO_ALARM, *wanted.values())
        self._kinds = [one.kind for one in alarms]
        self._first, self._last, self._due = np.array([one[1:] for one in alarms], np.int64).T

    def messages(
        self, batch: Batch, labels: Labels, score: Int64s, version: Int64s, settled: Settled, leaves: Leaves
    ) -> Messages:
        """FollowUps that a batch calls for, and those that it takes back, in offset order."""
        if not self._number or not len(batch):
            return NO_MESSAGES
        number = self._numbers_of([label[0] for label in labels.texts])[labels.code]
        bad = (score >= self._first[number]) & (score <= self._last[number])
        bad &= settled.outcome == Outcome.COUNTED
        calls = bad & ((batch.sizes("customer_id") > 0) | (batch.sizes("case_id") > 0))
        told = calls | (self._was_called_for(batch, bad, version, settled, leaves) & ~calls)
        if not told.any():
            return NO_MESSAGES
        some = replace(labels, code=labels.code[told])
        return self._messages(batch.rows(told), some, number[told], score[told], version[told], calls[told])

    def _numbers_of(self, instruments: Iterable[str | None]) -> Int64s:
        """Which alarm each has."""
        return np.array([self._number.get(name, 0) for name in instruments], np.int64)

    def _was_called_for(
        self, batch: Batch, bad: Mask, version: Int64s, settled: Settled, leaves: Leaves
    ) -> Mask:
        """New versions of answers that were bad until then, whoever gave them: what replaces one need not say who."""
        before = np.zeros(len(bad), bool)
        if not len(settled.gone):
            return before
        gone = settled.gone.take(np.flatnonzero(self._was_bad(settled.gone, leaves)))
        if not len(gone):
            return before
        lowest: dict[_Id, int] = {}  # version of a bad answer that was left
        for a, b, old in zip(gone.a.tolist(), gone.b.tolist(), gone.version.tolist(), strict=True):
            lowest[a, b] = min(old, lowest.get((a, b), old))
        halves = batch.hashes()
        came = np.isin(settled.outcome, (Outcome.COUNTED, Outcome.RETRACTED)) & np.isin(halves[0], gone.a)
        last: dict[_Id, bool] = {}  # whether the latest version in this batch is bad
        for row in np.flatnonzero(came).tolist():
            name = int(halves[0][row]), int(halves[1][row])
            # the first one here replaces what was known before the batch: that was bad if it is among what was left
            before[row] = last[name] if name in last else name in lowest and lowest[name] < version[row]
            last[name] = bool(bad[row])
        return before

    def _was_bad(self, gone: Ids, leaves: Leaves) -> Mask:
        leaf, at = np.unique(gone.series, return_inverse=True)
        number = self._numbers_of(leaves.leaf(k).instrument for k in leaf.tolist())[at]
        was_bad: Mask = (gone.bin >= self._first[number]) & (gone.bin <= self._last[number])
        return was_bad

    def _messages(
        self, batch: Batch, labels: Labels, number: Int64s, score: Int64s, version: Int64s, bad: Mask
    ) -> Messages:
        """Of answers of customers that are known. They are many: their texts stay the bytes that came."""
        responses, code, n = batch.utf8s("response_id"), labels.code.tolist(), len(batch)
        customers, cases = batch.utf8s("customer_id"), batch.utf8s("case_id")
        instruments, touchpoints, channels, segments = zip(*labels.texts, strict=True)
        kinds = [self._kinds[k] for k in self._numbers_of(instruments).tolist()]
        at = batch.numbers("occurred_at")
        columns: dict[str, Column] = {
            "follow_up_id": [(one or b"") + _ANSWER for one in responses],
            "kind": Texts([kind or "answer" for kind in kinds], code),
            "touchpoint": Texts(touchpoints, code),
            "channel": Texts(channels, code),
            "segment": Texts([segment or None for segment in segments], code),
            "instrument": Texts(instruments, code),
            "priority": Texts([None] * len(kinds), code),
            "customer_id": customers,
            "case_id": cases,
            "response_id": responses,
            "occurred_at": at,
            "due_at": np.where(bad, at + self._due[number], NULL),
            "score": score,
            "revision": version,
            "retracted": ~bad,
        }
        keys = [a or b or c or b"" for a, b, c in zip(customers, cases, responses, strict=True)]
        places = batch.partitions(KEY, self._partitions).tolist()
        return Messages([FOLLOW_UPS] * n, keys, encode_many(schema("FollowUp"), columns), places)


NO_CALLBACKS = Callbacks({}, {})
