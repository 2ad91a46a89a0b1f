"""`Event`: one record on its way to Kafka, and how a touchpoint event is laid out."""

from __future__ import annotations

from typing import Any, NamedTuple

TOUCHPOINTS, RESPONSES = "touchpoints", "responses"


class Event(NamedTuple):
    """One record.

    Attributes:
        at: milliseconds since 1970.
        topic: "responses" or "touchpoints".
        key: of the Kafka record.
        record: what the schema takes.
    """

    at: int
    topic: str
    key: str
    record: dict[str, Any]


def touchpoint(at: int, event_id: str, place: str, action: str, **fields: Any) -> Event:
    """A TouchpointEvent; `fields` are its nullable ones and the channel."""
    record = {
        "event_id": event_id,
        "occurred_at": at,
        "source": "sample",
        "touchpoint": place,
        "action": action,
        "customer_id": None,
        "case_id": None,
        "segment": None,
        "priority": None,
        "attributes": {},
        **fields,
    }
    return Event(at, TOUCHPOINTS, record["case_id"] or record["customer_id"] or event_id, record)


def response(at: int, response_id: str, place: str, instrument: str, score: int, **fields: Any) -> Event:
    """A SurveyResponse; `fields` are its nullable ones and the channel."""
    record = {
        "response_id": response_id,
        "occurred_at": at,
        "source": "sample",
        "instrument": instrument,
        "score": score,
        "touchpoint": place,
        "customer_id": None,
        "case_id": None,
        "segment": None,
        "language": "en",
        "comment": None,
        "touchpoint_at": None,
        "revision": 0,
        "retracted": False,
        **fields,
    }
    return Event(at, RESPONSES, response_id, record)
