"""The bytes of internal records: a small JSON head and raw numpy columns behind it.

Internal topics carry thousands of ids and cells in one record, so the format is columns, not objects. It is versioned:
a reader refuses what a newer version wrote, since skipping a record it cannot read would lose its effect.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"FJ"
VERSION = 2  # ids are narrow columns, a delta has a span
_FRAME = struct.Struct("<2sBI")  # magic, version, bytes of the head

Columns = dict[str, npt.NDArray[Any]]


class NewerFormat(Exception):
    """An internal record was written by a newer version of this software: upgrade this worker."""


def pack(head: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """`head` must be JSON-able and must not use the key "columns"; columns are one-dimensional."""
    layout = [[name, column.dtype.str, len(column)] for name, column in columns.items()]
    text = json.dumps({**head, "columns": layout}, separators=(",", ":")).encode()
    return b"".join([_FRAME.pack(MAGIC, VERSION, len(text)), text, *(c.tobytes() for c in columns.values())])


def unpack(value: bytes) -> tuple[dict[str, Any], Columns]:
    """The inverse of `pack`.

    Raises:
        NewerFormat: a newer version wrote it.
        ValueError: these bytes are not an internal record.
    """
    if len(value) < _FRAME.size or value[:2] != MAGIC:
        msg = "not an internal record"
        raise ValueError(msg)
    _, version, size = _FRAME.unpack_from(value)
    if version > VERSION:
        msg = f"internal record of format {version}, this worker reads up to {VERSION}: upgrade it"
        raise NewerFormat(msg)
    place = _FRAME.size + size
    head: dict[str, Any] = json.loads(value[_FRAME.size : place])
    columns: Columns = {}
    for name, kind, length in head.pop("columns"):
        dtype = np.dtype(kind)
        columns[name] = np.frombuffer(value, dtype, length, place)
        place += dtype.itemsize * length
    return head, columns
