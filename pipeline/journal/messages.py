"""`Message`: a derived record for others. `Messages`: many of them, and as columns of an internal record."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    """

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages as columns of one length: one batch may have thousands of them.

    Attributes:
        topics: of each.
        keys: of each.
        values: of each.
        places: the partition of each, where whoever made them knows it already; else None.
    """

    topics: list[str]
    keys: list[bytes]
    values: list[bytes]
    places: list[int] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Message]:
        return map(Message, self.topics, self.keys, self.values)

    @staticmethod
    def of(messages: Iterable[Message]) -> Messages:
        """From single ones."""
        columns = [list(column) for column in zip(*messages, strict=True)] or [[], [], []]
        return Messages(*columns)


NO_MESSAGES = Messages([], [], [])


def columns_of_messages(messages: Messages, prefix: str = "") -> Columns:
    """Messages as columns of a record: their topics, how long keys and values are, and all their bytes."""
    if not messages:
        return {}
    topics, keys, values = messages.topics, messages.keys, messages.values
    number = {name: k for k, name in enumerate(dict.fromkeys(topics))}
    sizes = {
        "topic": map(number.__getitem__, topics),
        "key": map(len, keys),
        "value": map(len, values),
    }
    texts = {"topics": " ".join(number).encode(), "keys": b"".join(keys), "values": b"".join(values)}
    columns = {name: narrow(np.fromiter(column, np.int64, len(topics))) for name, column in sizes.items()}
    columns |= {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
    return {f"{prefix}message.{name}": column for name, column in columns.items()}


def messages_of(
    columns: Mapping[str, npt.NDArray[Any]], prefix: str = "", rows: Iterable[Sequence[str]] = ()
) -> Messages:
    """The inverse of `columns_of_messages`; version 1 had `rows` in base64."""
    place = f"{prefix}message."
    if f"{place}topics" not in columns:
        return Messages.of(
            Message(topic, base64.b64decode(key), base64.b64decode(value)) for topic, key, value in rows
        )
    names = columns[f"{place}topics"].tobytes().decode().split(" ")
    topics = [names[k] for k in columns[f"{place}topic"].tolist()]
    keys, values = (
        _cut(columns[f"{place}{name}s"].tobytes(), columns[f"{place}{name}"].tolist())
        for name in ("key", "value")
    )
    return Messages(topics, keys, values)


def _cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    return [data[a:b] for a, b in pairwise(accumulate(sizes, initial=0))]
