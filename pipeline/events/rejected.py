"""`Rejected`: a record that cannot be counted, as a value. It becomes a dead letter."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a record is a dead letter. Bounded: it is a label in Prometheus and a column people group by."""

    NULL_VALUE = "null_value"
    EMPTY_VALUE = "empty_value"
    NOT_WIRE_FORMAT = "not_wire_format"
    UNKNOWN_SCHEMA = "unknown_schema"
    MALFORMED = "malformed"
    BAD_TIME = "bad_time"
    EMPTY_ID = "empty_id"
    EMPTY_DIMENSION = "empty_dimension"
    TOO_LONG = "too_long"
    IN_FUTURE = "in_future"
    UNKNOWN_INSTRUMENT = "unknown_instrument"
    SCORE_OUT_OF_RANGE = "score_out_of_range"


@dataclass(frozen=True, slots=True)
class Rejected:
    """One record that does not count.

    Attributes:
        offset: its place in the partition.
        time: `kafka_time` in milliseconds since 1970.
        reason: one of a bounded list.
        stage: "decode" or "check".
        detail: one sentence for people, without customer text.
        raw: the value as it came; empty for a null.
    """

    offset: int
    time: int
    reason: Reason
    stage: str
    detail: str
    raw: bytes
