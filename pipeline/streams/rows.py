"""Records of the public topics as rows of the tables that hold them. Whole batches, no Python per record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.events.batch import Batch, decode
from pipeline.events.check import (
    RESPONSE_LABEL,
    TOUCHPOINT_LABEL,
    Bounds,
    label_responses,
    label_touchpoints,
)
from pipeline.events.checked import Checked
from pipeline.events.labels import Labels
from pipeline.events.records import Records
from pipeline.events.schemas import Lookup, RecordSchema, by_ids, schema
from pipeline.streams.topics import Topics

Check = Callable[[Batch, Records], tuple[Batch, Labels]]
_CELL_LABEL = ("instrument", "touchpoint", "channel", "segment")
CELLS = "cells"
OUTCOMES = "outcome_counts"
PROGRESS = "progress"
ARCHIVED = "archive"
TALLIED = "tally"


@dataclass(frozen=True, slots=True)
class Source:
    """A topic and the table of its records.

    Attributes:
        topic: full name.
        table: name.
        schema: of its values.
        positioned: the table also has kafka_partition, kafka_offset and kafka_time.
        check: keeps the rows that count; the others are dead letters, which the tally tells of in a topic of their
            own. It tells the labels of those that it keeps.
        label: up to four texts that have few values.
    """

    topic: str
    table: str
    schema: RecordSchema
    positioned: bool = False
    check: Check | None = None
    label: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """What became of records of one source.

    Attributes:
        table: where the rows belong.
        frame: the rows.
        skipped: how many records have none.
    """

    table: str
    frame: pl.DataFrame
    skipped: int


def sources(topics: Topics, bounds: Bounds) -> tuple[Source, ...]:
    """Every public topic that has a table; `bounds` are those of the instruments."""
    return (
        Source(
            topics.responses,
            "responses",
            schema("SurveyResponse"),
            positioned=True,
            check=lambda batch, records: label_responses(batch, records, bounds),
            label=RESPONSE_LABEL,
        ),
        Source(
            topics.touchpoints,
            "touchpoints",
            schema("TouchpointEvent"),
            positioned=True,
            check=label_touchpoints,
            label=TOUCHPOINT_LABEL,
        ),
        Source(topics.resolutions, "resolutions", schema("Resolution"), positioned=True),
        Source(topics.follow_ups, "follow_ups", schema("FollowUp"), positioned=True),
        Source(topics.dead_letters, "dead_letters", schema("DeadLetter")),
        Source(topics.outcomes, OUTCOMES, schema("Outcome")),
        Source(topics.cells, CELLS, schema("Cell"), label=_CELL_LABEL),
        Source(topics.scores, "scores", schema("Score")),
    )


def rows_of(
    source: Source, partition: int | npt.NDArray[np.int32], records: Records, lookup: Lookup = by_ids
) -> Rows:
    """The rows of `records`.

    Args:
        source: the topic.
        partition: of the topic, of all records or of each.
        records: what was read.
        lookup: the schemas of ids.

    Raises:
        Unseen: `lookup` does not know yet.
    """
    batch, labels = _judged(source, records, lookup)
    frame = batch.frame if labels is None else _labelled(batch, labels, source.label)
    if source.positioned:
        frame = _positioned(frame, batch, partition, records)
    return Rows(source.table, frame, len(records) - len(batch))


def _judged(source: Source, records: Records, lookup: Lookup) -> tuple[Batch, Labels | None]:
    """The records that have a row."""
    if isinstance(records, Checked):
        return records.batch, records.labels
    if source.check is not None:
        return source.check(decode(records, source.schema, lookup=lookup), records)
    batch = decode(records, source.schema, lookup=_ours(lookup, source.schema))
    return batch, batch.labels(source.label) if source.label else None


def _ours(lookup: Lookup, schema: RecordSchema) -> Lookup:
    """For topics that only we write: ids of our own, too, as before there was a registry, whatever it means by them."""

    def found(ids: Sequence[int]) -> Mapping[int, RecordSchema]:
        ours = {number: one for number, one in by_ids(ids).items() if one.name == schema.name}
        return ours | {number: one for number, one in lookup(ids).items() if one.name == schema.name}

    return found


def _labelled(batch: Batch, labels: Labels, names: Sequence[str]) -> pl.DataFrame:
    """All columns. A text of a label is there once, and need not be cut out of every record, nor sent for each.

    Empty texts of fields that can be null are null, as `check` has it.
    """
    others = tuple(field for field in batch.columns if field.name not in names)
    nullable = {field.name for field in batch.columns if field.null is not None}
    columns = zip(*labels.texts, strict=True) if labels.texts else [()] * len(names)
    distinct = pl.DataFrame(
        [
            pl.Series(name, [text or (None if name in nullable else "") for text in texts], pl.Categorical)
            for name, texts in zip(names, columns, strict=True)
        ]
    )
    return replace(batch, columns=others).frame.hstack(distinct[labels.code])


def _positioned(
    frame: pl.DataFrame, batch: Batch, partition: int | npt.NDArray[np.int32], records: Records
) -> pl.DataFrame:
    partitions = np.broadcast_to(np.asarray(partition, np.int32), len(records))
    return frame.with_columns(
        pl.Series("kafka_partition", partitions[batch.at]),
        pl.Series("kafka_offset", records.offsets[batch.at]),
        pl.Series("kafka_time", records.times[batch.at]),
    )


def joined(parts: Iterable[Rows]) -> Mapping[str, pl.DataFrame]:
    """The rows by table."""
    tables: dict[str, list[pl.DataFrame]] = {}
    for part in parts:
        if len(part.frame):
            tables.setdefault(part.table, []).append(part.frame)
    return {table: pl.concat(frames) for table, frames in tables.items()}


def progress_of(topic: str, partition: int, records: Records) -> pl.DataFrame:
    """That the archive has come to the end of `records`, as a row of the table `progress`."""
    return pl.DataFrame(
        {
            "stage": [ARCHIVED],
            "topic": [topic],
            "partition": [partition],
            "offset": [records.last],
            "time": [int(records.times[-1])],
        }
    )


def outcomes_of(source: Source, records: Records, lookup: Lookup = by_ids) -> tuple[Rows, Rows]:
    """What the topic of outcomes says: the counts, and how far each stage has come by them and by its own words.

    Args:
        source: that topic.
        records: what was read, one partition behind the other. Of several words about one stage the last one holds.
        lookup: the schemas of ids.
    """
    counts = decode(records, source.schema, lookup=_ours(lookup, source.schema))
    words = decode(records, schema("Progress"), lookup=_ours(lookup, schema("Progress")))
    frame = counts.frame
    progress = pl.concat([_said(words, records), _tallied(frame, records.times[counts.at])])
    return Rows(source.table, frame, len(records) - len(counts) - len(words)), Rows(PROGRESS, progress, 0)


def _said(words: Batch, records: Records) -> pl.DataFrame:
    times = pl.Series("time", records.times[words.at], pl.Int64)
    entries = words.frame.select("done", times).explode("done").drop_nulls("done").unnest("done")
    word = pl.col("key").str.split(" ").list
    rows = entries.select(
        stage=word.get(0),
        topic=word.get(1),
        partition=word.get(2).cast(pl.Int64),
        offset=pl.col("value").cast(pl.Int64),
        time=pl.col("time"),
    )
    return rows.unique(["stage", "topic", "partition"], keep="last", maintain_order=True)


def _tallied(outcomes: pl.DataFrame, times: npt.NDArray[np.int64]) -> pl.DataFrame:
    """How far the tally has come: versions are applied offsets; `times` are when each was written, milliseconds."""
    newest = (
        outcomes.with_columns(pl.Series("time", times))
        .group_by("topic", "partition")
        .agg(pl.col("version").max().alias("offset"), pl.col("time").max())
    )
    return newest.select(pl.lit(TALLIED).alias("stage"), "topic", "partition", "offset", "time")
