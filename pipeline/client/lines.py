"""JSON to messages, for `feedback emit` and the gateway: {"type": "touchpoint", ...fields}. Pure."""

from __future__ import annotations

import json

from pipeline.client.fields import KINDS
from pipeline.client.message import EventError, Fault, Message, Rules, build

_TYPES = f'must be "{KINDS[0]}" or "{KINDS[1]}"'


def parse(text: str | bytes) -> object:
    """The JSON value in `text` (UTF-8).

    Raises:
        EventError: it is none, or nested beyond reason.
    """
    try:
        value: object = json.loads(text)
    except RecursionError as fault:
        raise EventError((Fault("", "is nested too deeply"),)) from fault
    except json.JSONDecodeError as fault:
        raise EventError((Fault("", f"is not JSON: {fault.msg} at character {fault.pos + 1}"),)) from fault
    except ValueError as fault:  # not UTF-8, or a number of thousands of digits
        raise EventError((Fault("", f"is not JSON: {_why(fault)}"),)) from fault
    return value


def message_of(value: object, rules: Rules, *, line: int = 0) -> Message:
    """The message of one JSON object.

    Raises:
        EventError: with every fault found.
    """
    if not isinstance(value, dict):
        raise EventError((Fault("", "must be a JSON object"),))
    values = dict(value)
    kind = values.pop("type", None)
    for known in KINDS:
        if kind == known:
            return build(known, values, rules, line=line)
    raise EventError((Fault("type", _TYPES if "type" in value else f"is missing; it {_TYPES}"),))


def _why(fault: ValueError) -> str:
    return "not UTF-8 text" if isinstance(fault, UnicodeDecodeError) else "a number that is too long"
