"""What the roll publishes, as (key, value) pairs: absolute cells and rolling scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.events import wire
from pipeline.events.encode import Texts, encode_many
from pipeline.events.schemas import schema
from pipeline.journal.celltable import Cells
from pipeline.measures.cells import MINUTE_MS, Series
from pipeline.measures.news import News
from pipeline.streams.decimals import joined_decimals

CELLS, SCORES, OUTCOMES = "cells", "scores", "outcomes"  # topics, without prefix
Pair = tuple[bytes, bytes]


def cell_pairs(leaves: Sequence[Series], cells: Cells) -> list[Pair]:
    """One pair a cell. The key names the part as well: two parts are two cells."""
    used, inverse = np.unique(cells.leaf, return_inverse=True)
    known, at = [leaves[k] for k in used.tolist()], inverse.tolist()
    values = encode_many(
        schema("Cell"),
        {
            **_dimensions(known, at),
            "bucket": cells.minute.astype(np.int64) * MINUTE_MS,
            "bin": cells.bin,
            "origin": Texts(["live"], [0] * len(at)),
            "part": cells.part,
            "n": cells.n,
            "total": cells.total / 1000,
            "version": cells.version,
        },
    )
    names = [_names(leaf) for leaf in known]
    ends = joined_decimals([cells.minute, cells.bin, cells.part])
    return [(names[k] + end, value) for k, end, value in zip(at, ends, values, strict=True)]


def score_pairs(news: News) -> list[Pair]:
    """One pair a score; a window without answers has no value and n 0."""
    rows = [
        (s.series._replace(metric=name), s.window, x) for s in news.standings for name, x in s.scores.items()
    ]
    if not rows:
        return []
    series, windows, scores = zip(*rows, strict=True)
    each = list(range(len(rows)))
    values = encode_many(
        schema("Score"),
        {
            "time": np.full(len(rows), news.at, np.int64),
            **_dimensions(series, each),
            "window": Texts(windows, each),
            "value": _numbers([x.value for x in scores]),
            "lower": _numbers([x.lower for x in scores]),
            "upper": _numbers([x.upper for x in scores]),
            "n": np.array([x.n for x in scores], np.int64),
        },
    )
    keys = [_names(s) + b"," + json.dumps(w).encode() + b"]" for s, w in zip(series, windows, strict=True)]
    return list(zip(keys, values, strict=True))


def progress_value(stage: str, done: Mapping[tuple[str, int], int]) -> bytes:
    """A record that says how far a stage is.

    Args:
        stage: its name, without blanks.
        done: (full name of the source topic, partition) -> number of the last delta that is done.
    """
    told = {f"{stage} {topic} {partition}": str(number) for (topic, partition), number in done.items()}
    return wire.encode(schema("Progress"), {"done": told})


def sent_values(source: str, sent: Mapping[tuple[str, int], int]) -> list[bytes]:
    """A record that says how far topics are written; whoever judges what hangs on them waits until that is stored.

    Args:
        source: full name of the source topic.
        sent: (topic without prefix, partition) -> the last offset; nothing is said of nothing.
    """
    prefix = source.rpartition(".")[0]
    done = {(f"{prefix}.{topic}", partition): offset for (topic, partition), offset in sent.items()}
    return [progress_value("sent", done)] if done else []


def _dimensions(series: Sequence[Series], at: list[int]) -> dict[str, Any]:
    columns = zip(Series._fields, zip(*series, strict=True), strict=True)
    return {name: Texts(values, at) for name, values in columns}


@lru_cache(maxsize=1 << 16)  # tick after tick the same
def _names(series: Series) -> bytes:
    """The beginning of a key: a JSON list that is still open."""
    return json.dumps(list(series), ensure_ascii=False, separators=(",", ":")).encode()[:-1]


def _numbers(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], np.float64)
