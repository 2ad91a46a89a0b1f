"""What a batch of records does: from raw values to an effect. Pure: a function of the state and the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline.cases.lifecycle import CaseEvent
from pipeline.events import wire
from pipeline.events.batch import Batch, decode
from pipeline.events.check import check_responses, check_touchpoints
from pipeline.events.partition import partition_of
from pipeline.events.placement import partitions_of_texts
from pipeline.events.records import Records
from pipeline.events.rejected import Rejected
from pipeline.events.schemas import schema
from pipeline.journal.casework import Casework
from pipeline.journal.effect import DAY_MS, Effect, OutcomeCounts
from pipeline.journal.grouping import Changes
from pipeline.journal.leaves import Leaves, segment_of
from pipeline.journal.outbox import Send
from pipeline.journal.outcomes import Arrivals, Outcome, Settled, settle
from pipeline.journal.partition import Decision
from pipeline.journal.state import State
from pipeline.measures.cells import MINUTE_MS, Series
from pipeline.measures.instruments import Instrument, bounds

DEAD_LETTERS = "dead-letters"
THOUSANDTHS = 1000
_CASE_ACTION = "case_"
_RESPONSE_COLUMNS = ("response_id", "occurred_at", "instrument", "score", "touchpoint", "channel", "segment")
_VERSION_COLUMNS = ("revision", "retracted")
_TOUCHPOINT_COLUMNS = (
    *("event_id", "occurred_at", "touchpoint", "action", "channel"),
    *("case_id", "customer_id", "segment", "priority"),
)


class _Decider:
    """What responses and touchpoints have in common."""

    def __init__(self, topic: str, horizon: int, partitions: int) -> None:
        self._topic = topic
        self.horizon = horizon
        self._partitions = partitions

    def _settle(
        self, state: State, records: Records, batch: Batch, version: Any, series: Any, bins: Any
    ) -> Settled:
        arrivals = Arrivals(
            batch.a,
            batch.b,
            records.offsets[batch.at],
            batch.frame["occurred_at"].to_numpy(),
            version,
            series,
            bins,
        )
        return settle(state.index, arrivals, self.horizon, state.watermark)

    def _decision(
        self,
        state: State,
        partition: int,
        records: Records,
        batch: Batch,
        keys: pl.Series,
        settled: Settled,
        changes: Changes,
        leaves: Leaves,
        casework: Casework | None = None,
    ) -> Decision:
        cells = changes.by_partition(leaves.leaf, self._partitions)
        effect = Effect(
            sequence=state.sequence + 1,
            last=records.last,
            time=int(records.times[-1]),
            watermark=settled.watermark,
            published=state.published,
            outcomes=_outcomes(records, batch, settled),
            leaves=leaves.new,
            ids=settled.ids,
            cases=casework.rows if casework else {},
            deltas={q: (state.numbers[q] + 1, changed) for q, changed in cells.items()},
            messages=tuple(casework.messages) if casework else (),
        )
        misplaced = int((partitions_of_texts(keys, self._partitions) != partition).sum())
        return Decision(
            effect, misplaced, batch.rejected, tuple(self._dead_letters(partition, batch.rejected))
        )

    def _dead_letters(self, partition: int, rejected: Iterable[Rejected]) -> Iterable[Send]:
        key = f"{self._topic}-{partition}".encode()
        target = partition_of(key, self._partitions)
        for bad in rejected:
            record = {
                "topic": self._topic,
                "partition": partition,
                "offset": bad.offset,
                "time": bad.time,
                "reason": str(bad.reason),
                "stage": bad.stage,
                "detail": bad.detail,
                "raw": bad.raw,
            }
            yield Send(DEAD_LETTERS, target, key, wire.encode(schema("DeadLetter"), record))


class DecideResponses(_Decider):
    """Survey responses: every version of an answer, in the cell of its leaf, minute and score.

    Args:
        topic: full name of the source topic, for dead letters.
        instruments: by name.
        horizon: milliseconds.
        partitions: of every topic.
    """

    max_records = 40_000  # about forty bytes each: far below what a journal record may take

    def __init__(
        self, topic: str, instruments: Mapping[str, Instrument], horizon: int, partitions: int
    ) -> None:
        super().__init__(topic, horizon, partitions)
        self._metrics = {name: instrument.metric for name, instrument in instruments.items()}
        self._bounds = bounds(instruments)

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """See `journal.partition.Decider`."""
        batch = decode(records, schema("SurveyResponse"), (*_RESPONSE_COLUMNS, *_VERSION_COLUMNS))
        batch = check_responses(batch, records, self._bounds)
        frame, leaves, changes = batch.frame, Leaves(state), Changes()
        series = leaves.number_rows(
            frame.select("instrument", "touchpoint", "channel", "segment"), self._leaf
        )
        score = frame["score"].to_numpy().astype(np.int64)
        version = frame["revision"].to_numpy().astype(np.int64) * 2 + frame["retracted"].to_numpy()
        settled = self._settle(state, records, batch, version, series, score.astype(np.int32))
        came = settled.outcome == Outcome.COUNTED
        minute = frame["occurred_at"].to_numpy()[came] // MINUTE_MS
        changes.add(series[came], minute, score[came], 1, score[came] * THOUSANDTHS)
        gone = settled.gone
        changes.add(gone.series, gone.minute, gone.bin, -1, -gone.bin.astype(np.int64) * THOUSANDTHS)
        return self._decision(
            state, partition, records, batch, frame["response_id"], settled, changes, leaves
        )

    def _leaf(self, row: dict[str, str | None]) -> Series:
        instrument = row["instrument"] or ""
        return Series(
            self._metrics[instrument],
            instrument,
            row["touchpoint"] or "",
            row["channel"] or "",
            segment_of(row),
        )


class DecideTouchpoints(_Decider):
    """Touchpoint events: each counted by its action, and case events step their case.

    Args:
        topic: full name of the source topic, for dead letters.
        horizon: milliseconds.
        partitions: of every topic.
    """

    # a case and its resolution take a few hundred bytes in the journal record, an id only about forty
    max_records = 4_000

    def __init__(self, topic: str, horizon: int, partitions: int) -> None:
        super().__init__(topic, horizon, partitions)

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        """See `journal.partition.Decider`."""
        batch = check_touchpoints(decode(records, schema("TouchpointEvent"), _TOUCHPOINT_COLUMNS), records)
        frame, leaves, changes = batch.frame, Leaves(state), Changes()
        series = leaves.number_rows(frame.select("action", "touchpoint", "channel", "segment"), _action_leaf)
        zeros = np.zeros(frame.height, np.int64)
        settled = self._settle(state, records, batch, zeros, series, zeros.astype(np.int32))
        came = np.flatnonzero(settled.outcome == Outcome.COUNTED)
        minute = frame["occurred_at"].to_numpy()[came] // MINUTE_MS
        changes.add(series[came], minute, zeros[came], 1, zeros[came])
        casework = Casework(state.cases, leaves, changes)
        for event in _case_events(batch, came):
            casework.take(*event)
        casework.finish()
        return self._decision(
            state, partition, records, batch, _keys(frame), settled, changes, leaves, casework
        )


def _keys(frame: pl.DataFrame) -> pl.Series:
    """The key of each touchpoint: its case, else its customer, else its own id."""
    names = ("case_id", "customer_id", "event_id")
    filled = [pl.when(pl.col(name) != "").then(pl.col(name)) for name in names]
    return frame.select(pl.coalesce(filled).alias("key"))["key"]


def _action_leaf(row: dict[str, str | None]) -> Series:
    return Series(
        "touchpoints", row["action"] or "", row["touchpoint"] or "", row["channel"] or "", segment_of(row)
    )


def _case_events(batch: Batch, came: Any) -> Iterable[tuple[str, CaseEvent]]:
    """Counted events that say something about a case, in offset order."""
    rows = batch.frame[came].select(
        "case_id", "occurred_at", "action", "touchpoint", "channel", "segment", "priority"
    )
    for case_id, at, action, touchpoint, channel, segment, priority in rows.iter_rows():
        if case_id and action.startswith(_CASE_ACTION):
            yield case_id, CaseEvent(action, at, touchpoint, channel, segment, priority)


def _outcomes(records: Records, batch: Batch, settled: Settled) -> OutcomeCounts:
    """(day of `kafka_time`, outcome) -> records."""
    key = records.times[batch.at] // DAY_MS * len(Outcome) + settled.outcome
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
