"""What can be wrong with the Avro body of a record, and how to say it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from pipeline.events.rejected import Reason

# A map is walked an entry a step for all records at once; a hostile one must not take a million steps.
MAX_ENTRIES = 1000
# Names of leaves and cases stand in journals, deltas and cells, each of which must fit one record of Kafka.
MAX_NAME_BYTES = 256


class Fault(IntEnum):
    """What is wrong with a record, 0 for nothing."""

    NONE = 0
    ENDS = 1
    NUMBER = 2
    INT = 3
    SIZE = 4
    BRANCH = 5
    BOOLEAN = 6
    ENTRIES = 7
    LEFT_OVER = 8
    TEXT = 9
    TIME = 10


_SENTENCES: Mapping[Fault, str] = MappingProxyType(
    {
        Fault.ENDS: "the record ends within {field}",
        Fault.NUMBER: "a number in {field} has more than 64 bits",
        Fault.INT: "{field} has more than 32 bits",
        Fault.SIZE: "a text in {field} is longer than the record",
        Fault.BRANCH: "{field} is neither null nor a value",
        Fault.BOOLEAN: "{field} is neither true nor false",
        Fault.ENTRIES: f"{{field}} has more than {MAX_ENTRIES} entries",
        Fault.LEFT_OVER: "bytes follow the last field",
        Fault.TEXT: "a text is not UTF-8",
        Fault.TIME: "{field} is not in the years 1970 to 9999",
    }
)


def reason_of(fault: Fault) -> Reason:
    """The bounded reason."""
    return Reason.BAD_TIME if fault is Fault.TIME else Reason.MALFORMED


def sentence(fault: Fault, field: str) -> str:
    """For people; `field` is where it was found."""
    return _SENTENCES[fault].format(field=field)
