"""What a batch of records does: from raw values to an effect. Pure: a function of the state and the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.cases.lifecycle import Rules
from pipeline.events import wire
from pipeline.events.batch import Batch, decode
from pipeline.events.check import label_responses, label_touchpoints
from pipeline.events.checked import Checked
from pipeline.events.labels import Label
from pipeline.events.partition import partition_of
from pipeline.events.records import Records
from pipeline.events.rejected import Rejected
from pipeline.events.schemas import Lookup, by_ids, schema
from pipeline.journal.callbacks import NO_CALLBACKS, Callbacks
from pipeline.journal.caseevents import case_events
from pipeline.journal.casework import Casework
from pipeline.journal.effect import DAY_MS, Effect, OutcomeCounts
from pipeline.journal.grouping import Changes
from pipeline.journal.leaves import Leaves, segment_of
from pipeline.journal.messages import NO_MESSAGES, Messages
from pipeline.journal.outbox import Send
from pipeline.journal.outcomes import Arrivals, Outcome, Settled, settle
from pipeline.journal.partition import Decision
from pipeline.journal.state import State
from pipeline.measures.cells import MINUTE_MS, Series
from pipeline.measures.instruments import Instrument, bounds

DEAD_LETTERS = "dead-letters"
THOUSANDTHS = 1000
# the first of these that is not empty is the key of the Kafka record
_RESPONSE_KEY = ("response_id",)
_TOUCHPOINT_KEY = ("case_id", "customer_id", "event_id")


class _Decider:
    """What responses and touchpoints have in common."""

    def __init__(self, topic: str, horizon: int, partitions: int, lookup: Lookup) -> None:
        self._topic = topic
        self.horizon = horizon
        self._partitions = partitions
        self._lookup = lookup

    def _settle(
        self, state: State, records: Records, batch: Batch, version: Any, series: Any, bins: Any
    ) -> Settled:
        arrivals = Arrivals(
            *batch.hashes(),
            batch.numbers("occurred_at"),
            version,
            series,
            bins,
        )
        return settle(state.index, arrivals, self.horizon, state.watermark)

    def _decision(
        self,
        state: State,
        partition: int,
        checked: Checked,
        keys: Sequence[str],
        settled: Settled,
        changes: Changes,
        leaves: Leaves,
        casework: Casework | None = None,
        messages: Messages = NO_MESSAGES,
    ) -> Decision:
        batch = checked.batch
        cells = changes.by_partition(leaves.leaf, self._partitions)
        effect = Effect(
            sequence=state.sequence + 1,
            last=checked.last,
            time=int(checked.times[-1]),
            watermark=settled.watermark,
            published=state.published,
            outcomes=_outcomes(checked, settled),
            leaves=leaves.new,
            ids=settled.ids,
            cases=casework.rows if casework else {},
            deltas={q: (state.numbers[q] + 1, changed) for q, changed in cells.items()},
            messages=Messages.of(casework.messages) if casework else messages,
            places=settled.places,
        )
        misplaced = int((batch.partitions(keys, self._partitions) != partition).sum())
        dead_letters = self._dead_letters(partition, batch.rejected)
        return Decision(effect, misplaced, batch.rejected, dead_letters, checked)

    def _dead_letters(self, partition: int, rejected: Sequence[Rejected]) -> tuple[Send, ...]:
        if not rejected:
            return ()
        key = f"{self._topic}-{partition}".encode()
        pairs = [
            (key, wire.encode(schema("DeadLetter"), record)) for record in self._told(partition, rejected)
        ]
        return (Send(DEAD_LETTERS, partition_of(key, self._partitions), pairs),)

    def _told(self, partition: int, rejected: Iterable[Rejected]) -> Iterable[dict[str, Any]]:
        for bad in rejected:
            yield {
                "topic": self._topic,
                "partition": partition,
                "offset": bad.offset,
                "time": bad.time,
                "reason": str(bad.reason),
                "stage": bad.stage,
                "detail": bad.detail,
                "raw": bad.raw,
            }


class DecideResponses(_Decider):
    """Survey responses: every version of an answer, in the cell of its leaf, minute and score.

    Args:
        topic: full name of the source topic, for dead letters.
        instruments: by name.
        horizon: milliseconds.
        partitions: of every topic.
        lookup: the schemas of ids.
        callbacks: which answers call for a follow-up.
    """

    max_records = 60_000  # about forty bytes each: far below what a journal record may take

    def __init__(
        self,
        topic: str,
        instruments: Mapping[str, Instrument],
        horizon: int,
        partitions: int,
        lookup: Lookup = by_ids,
        callbacks: Callbacks = NO_CALLBACKS,
    ) -> None:
        super().__init__(topic, horizon, partitions, lookup)
        self._metrics = {name: instrument.metric for name, instrument in instruments.items()}
        self._bounds = bounds(instruments)
        self._callbacks = callbacks
        self._leaf_of = lru_cache(maxsize=1 << 16)(self._leaf)  # batch after batch the same

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """See `journal.partition.Decider`."""
        batch = decode(records, schema("SurveyResponse"), lookup=self._lookup)
        batch, labels = label_responses(batch, records, self._bounds)
        checked = Checked.by(records, batch, labels)
        leaves, changes = Leaves(state), Changes()
        series = leaves.numbers(labels, self._leaf_of)
        score = batch.numbers("score")
        version = batch.numbers("revision") * 2 + batch.numbers("retracted")
        settled = self._settle(state, records, batch, version, series, score.astype(np.int32))
        came = np.flatnonzero(settled.outcome == Outcome.COUNTED)
        minute, score = batch.numbers("occurred_at")[came] // MINUTE_MS, score[came]
        changes.add(series[came], minute, score, 1, score * THOUSANDTHS)
        gone = settled.gone
        changes.add(gone.series, gone.minute, gone.bin, -1, -gone.bin.astype(np.int64) * THOUSANDTHS)
        messages = self._callbacks.messages(batch, labels, batch.numbers("score"), version, settled, leaves)
        return self._decision(
            state, partition, checked, _RESPONSE_KEY, settled, changes, leaves, messages=messages
        )

    def _leaf(self, label: Label) -> Series:
        instrument, touchpoint, channel, segment = label
        name = instrument or ""
        return Series(self._metrics[name], name, touchpoint or "", channel or "", segment_of(segment))


class DecideTouchpoints(_Decider):
    """Touchpoint events: each counted by its action, and case events step their case.

    Args:
        topic: full name of the source topic, for dead letters.
        rules: what is promised about cases.
        horizon: milliseconds.
        partitions: of every topic.
        lookup: the schemas of ids.
    """

    # a case and its resolution take a few hundred bytes in the journal record, an id only about forty
    max_records = 4_000

    def __init__(
        self, topic: str, rules: Rules, horizon: int, partitions: int, lookup: Lookup = by_ids
    ) -> None:
        super().__init__(topic, horizon, partitions, lookup)
        self._rules = rules

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """See `journal.partition.Decider`."""
        batch = decode(records, schema("TouchpointEvent"), lookup=self._lookup)
        batch, labels = label_touchpoints(batch, records)
        checked = Checked.by(records, batch, labels)
        leaves, changes = Leaves(state), Changes()
        series = leaves.numbers(labels, _action_leaf)
        zeros = np.zeros(len(batch), np.int64)
        settled = self._settle(state, records, batch, zeros, series, zeros.astype(np.int32))
        came = settled.outcome == Outcome.COUNTED
        minute = batch.numbers("occurred_at")[came] // MINUTE_MS
        changes.add(series[came], minute, zeros[came], 1, zeros[came])
        casework = Casework(state.cases, self._rules, leaves, changes)
        for event in case_events(batch, labels, came):
            casework.take(*event)
        casework.finish()
        return self._decision(state, partition, checked, _TOUCHPOINT_KEY, settled, changes, leaves, casework)


@lru_cache(maxsize=1 << 16)
def _action_leaf(label: Label) -> Series:
    action, touchpoint, channel, segment = label
    return Series("touchpoints", action or "", touchpoint or "", channel or "", segment_of(segment))


def _outcomes(checked: Checked, settled: Settled) -> OutcomeCounts:
    """(day of `kafka_time`, outcome) -> records."""
    batch = checked.batch
    key = checked.times[batch.at] // DAY_MS * len(Outcome) + settled.outcome
    keys, counts = np.unique(key, return_counts=True)
    found = {divmod(int(k), len(Outcome)): int(n) for k, n in zip(keys, counts, strict=True)}
    outcomes = Counter({(day, Outcome(outcome)): n for (day, outcome), n in found.items()})
    outcomes.update((bad.time // DAY_MS, Outcome.DEAD_LETTER) for bad in batch.rejected)
    return dict(outcomes)


def outcome_records(
    topic: str, partition: int, version: int, outcomes: Mapping[tuple[int, Outcome], int], days: Sequence[int]
) -> list[bytes]:
    """Values of the topic `outcomes`: the absolute counts of these days. The version is the applied source offset."""
    return [
        wire.encode(
            schema("Outcome"),
            {
                "topic": topic,
                "partition": partition,
                "day": day,
                "outcome": outcome.label,
                "n": n,
                "version": version,
            },
        )
        for (day, outcome), n in sorted(outcomes.items())
        if day in days
    ]
