"""The calls that an app makes, once for both clients: each makes one message and hands it on."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Generic, TypedDict, TypeVar, Unpack

from pipeline.client.message import EventError, Fault, Message, Rules, build

T = TypeVar("T")


class About(TypedDict, total=False):
    """What both kinds of events may say."""

    customer_id: str | None
    case_id: str | None
    segment: str | None
    occurred_at: datetime | None


class AboutTouchpoint(About, total=False):
    """What a touchpoint event may say besides where, what and through which channel."""

    priority: str | None
    attributes: Mapping[str, str] | None
    event_id: str | None


class AboutResponse(About, total=False):
    """What a survey response may say besides the answer, what was rated and the channel."""

    language: str | None
    comment: str | None
    touchpoint_at: datetime | None
    revision: int
    retracted: bool
    response_id: str | None


class Calls(ABC, Generic[T]):
    """Every call returns the event's id, given or made.

    Send again under the same id whenever in doubt: an id counts once. All times are aware datetimes; an
    event without `occurred_at` happened now. Wrong arguments raise `EventError`, a ValueError that names
    every fault.
    """

    def __init__(self, source: str) -> None:
        if not source:
            raise EventError((Fault("source", "must name the app that sends, e.g. checkout"),))
        self._source = source

    @abstractmethod
    def send(self, message: Message) -> T:
        """Accept a message that is already made."""

    def touchpoint(
        self, touchpoint: str, action: str, *, channel: str, **about: Unpack[AboutTouchpoint]
    ) -> T:
        """Something happened between a customer and us.

        Args:
            touchpoint: where, e.g. "checkout".
            action: what, e.g. "order_paid"; "case_opened", "case_resolved", ... build resolution times.
            channel: "web", "app", "phone", ...
            **about: customer_id, case_id, segment, priority, attributes, event_id, occurred_at.
        """
        fields = {"touchpoint": touchpoint, "action": action, "channel": channel, **about}
        return self.send(build("touchpoint", {"source": self._source, **fields}, _rules()))

    def response(
        self, instrument: str, score: int, *, touchpoint: str, channel: str, **about: Unpack[AboutResponse]
    ) -> T:
        """A customer answered a survey.

        Args:
            instrument: the question's scale, e.g. "csat_1_5"; scales are never mixed.
            score: the answer as given; on a shipped instrument it must be on the scale.
            touchpoint: what was rated.
            channel: where it was answered.
            **about: customer_id, case_id, segment, language, comment, touchpoint_at, revision, retracted,
                response_id, occurred_at. A higher revision of the same id replaces the lower ones.
        """
        answer = {"instrument": instrument, "score": score, "touchpoint": touchpoint, "channel": channel}
        return self.send(build("response", {"source": self._source, **answer, **about}, _rules()))

    def csat(self, touchpoint: str, score: int, *, channel: str, **about: Unpack[AboutResponse]) -> T:
        """How satisfied, 1 to 5 (instrument csat_1_5)."""
        return self.response("csat_1_5", score, touchpoint=touchpoint, channel=channel, **about)

    def nps(self, touchpoint: str, score: int, *, channel: str, **about: Unpack[AboutResponse]) -> T:
        """How likely to recommend, 0 to 10 (instrument nps_0_10)."""
        return self.response("nps_0_10", score, touchpoint=touchpoint, channel=channel, **about)

    def ces(self, touchpoint: str, score: int, *, channel: str, **about: Unpack[AboutResponse]) -> T:
        """How easy, 1 hard to 7 easy (instrument ces_1_7)."""
        return self.response("ces_1_7", score, touchpoint=touchpoint, channel=channel, **about)


def _rules() -> Rules:
    return Rules(now=time.time_ns() // 1_000_000)
