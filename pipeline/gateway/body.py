"""The body of a request to messages, or everything that is wrong with it. Pure."""

from __future__ import annotations

from typing import Any

from pipeline.client.lines import message_of, parse
from pipeline.client.message import EventError, Fault, Message, Rules

MAX_EVENTS = 10_000


class BodyError(ValueError):
    """No events can be made of the body. `faults` as they are answered: index, field, reason."""

    def __init__(self, faults: list[dict[str, Any]]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


def messages_of(body: bytes, rules: Rules) -> list[Message]:
    """The events of a body: one JSON object, or a list of them. All or nothing.

    Raises:
        BodyError: with every fault of every event.
    """
    try:
        value = parse(body)
    except EventError as fault:
        raise BodyError([_answer(None, one) for one in fault.faults]) from fault
    events = value if isinstance(value, list) else [value]
    if not events:
        raise BodyError([_answer(None, Fault("", "the list is empty"))])
    if len(events) > MAX_EVENTS:
        raise BodyError(
            [_answer(None, Fault("", f"{len(events):,} events; {MAX_EVENTS:,} at once are the most"))]
        )
    return _all(events, rules)


def _all(events: list[object], rules: Rules) -> list[Message]:
    messages: list[Message] = []
    faults: list[dict[str, Any]] = []
    for index, event in enumerate(events):
        try:
            messages.append(message_of(event, rules))
        except EventError as fault:
            faults.extend(_answer(index, one) for one in fault.faults)
    if faults:
        raise BodyError(faults)
    return messages


def _answer(index: int | None, fault: Fault) -> dict[str, Any]:
    return {"index": index, "field": fault.field or None, "reason": fault.reason}
