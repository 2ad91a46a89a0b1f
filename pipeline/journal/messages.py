"""`Message`: a derived record for others, and many of them as columns of an internal record."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.journal.columns import narrow
from pipeline.journal.pack import Columns


class Message(NamedTuple):
    """A derived record for a public topic, ready to send.

    Attributes:
        topic: its name without the prefix.
        key: of the record.
        value: of the record.
        partition: that of the key, where whoever made it knows it already; else None.
    """

    topic: str
    key: bytes
    value: bytes
    partition: int | None = None


def columns_of_messages(messages: Sequence[Message], prefix: str = "") -> Columns:
    """Messages as columns of a record: their topics, how long keys and values are, and all their bytes."""
    if not messages:
        return {}
    topics, keys, values, _ = zip(*messages, strict=True)
    names = list(dict.fromkeys(topics))
    sizes = {
        "topic": list(map(names.index, topics)),
        "key": list(map(len, keys)),
        "value": list(map(len, values)),
    }
    texts = {"topics": " ".join(names).encode(), "keys": b"".join(keys), "values": b"".join(values)}
    columns = {name: narrow(np.array(column, np.int64)) for name, column in sizes.items()}
    columns |= {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
    return {f"{prefix}message.{name}": column for name, column in columns.items()}


def messages_of(
    columns: Mapping[str, npt.NDArray[Any]], prefix: str = "", rows: Iterable[Sequence[str]] = ()
) -> tuple[Message, ...]:
    """The inverse of `columns_of_messages`; version 1 had `rows` in base64."""
    place = f"{prefix}message."
    if f"{place}topics" not in columns:
        return tuple(
            Message(topic, base64.b64decode(key), base64.b64decode(value)) for topic, key, value in rows
        )
    names = columns[f"{place}topics"].tobytes().decode().split(" ")
    topics = [names[k] for k in columns[f"{place}topic"].tolist()]
    keys, values = (
        _cut(columns[f"{place}{name}s"].tobytes(), columns[f"{place}{name}"].tolist())
        for name in ("key", "value")
    )
    return tuple(map(Message, topics, keys, values))


def _cut(data: bytes, sizes: Iterable[int]) -> Iterable[bytes]:
    return (data[a:b] for a, b in pairwise(accumulate(sizes, initial=0)))
