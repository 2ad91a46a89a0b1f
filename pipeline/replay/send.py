"""Sending history: shifted to now or as it was, at once or at a multiple of its own speed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.client import Feedback, Message
from pipeline.client.message import Rules, shifted
from pipeline.replay.history import History, OnProgress, read_history
from pipeline.replay.mapping import EventMap, RowFault

_EVENTS_A_STEP = 500


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a file.

    Attributes:
        rows: read.
        events: sent and acknowledged.
        faults: what made no event.
        first, last: times of the first and the last event as sent; None if there is none.
        seconds: that sending took.
    """

    rows: int
    events: int
    faults: tuple[RowFault, ...]
    first: datetime | None
    last: datetime | None
    seconds: float


def replay(
    path: Path,
    mapping: EventMap,
    feedback: Feedback,
    *,
    shift_to_now: bool = False,
    speed: float | None = None,
    on_read: OnProgress | None = None,
    on_sent: OnProgress | None = None,
) -> Report:
    """Read a file, map it, send its events in the order of their times and wait for all acknowledgements.

    Args:
        path: CSV, JSON or Avro, also with .gz behind.
        mapping: rows to events.
        feedback: the client to send with.
        shift_to_now: move all times by the same span, so that the last event is now.
        speed: 60 plays an hour in a minute; None sends as fast as the broker takes it.
        on_read: told bytes read and bytes in all.
        on_sent: told events handed over and events in all.

    Raises:
        MappingError: the mapping does not fit the file; nothing was sent.
        DeliveryError: not everything was acknowledged.
        FeedbackError: the file cannot be read; nothing was sent.
    """
    history = read_history(path, mapping, Rules(now=_now()), on_read)
    return send_history(history, feedback, shift_to_now=shift_to_now, speed=speed, on_sent=on_sent)


def send_history(
    history: History,
    feedback: Feedback,
    *,
    shift_to_now: bool = False,
    speed: float | None = None,
    on_sent: OnProgress | None = None,
) -> Report:
    """Send what `read_history` gave; arguments and errors as `replay`."""
    began = time.monotonic()
    messages = history.messages
    if shift_to_now and messages:
        span = _now() - messages[-1].occurred_at
        messages = tuple(shifted(message, span) for message in messages)
    for sent, message in enumerate(messages):
        if speed:
            _wait_until(began + (message.occurred_at - messages[0].occurred_at) / 1000 / speed)
        feedback.send(message)
        if on_sent and (speed or sent % _EVENTS_A_STEP == 0):
            on_sent(sent, len(messages))
    feedback.flush(60.0)
    if on_sent:
        on_sent(len(messages), len(messages))
    spent = time.monotonic() - began
    first, last = (_time(messages[0]), _time(messages[-1])) if messages else (None, None)
    return Report(history.rows, len(messages), history.faults, first, last, spent)


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _time(message: Message) -> datetime:
    return datetime.fromtimestamp(message.occurred_at / 1000, UTC)
