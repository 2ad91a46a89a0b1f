"""How far the stages are: waiting for the archive, and how patiently."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from pipeline.errors import FeedbackError
from pipeline.verify import told
from pipeline.verify.told import Place

_ARCHIVE, _SENT = "archive", "sent"


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently differences are looked at again.

    Attributes:
        pause: seconds between two looks.
        still: a difference counts when both of its sides have stood still for so many seconds.
        most: after so many seconds what still moves is left open, and said to be.
    """

    pause: float = 2.0
    still: float = 10.0
    most: float = 120.0


def await_archive(client: Client, applied: Mapping[Place, int], pace: Pace) -> None:
    """Return once the raw rows up to these offsets are stored, and so is what the tally has sent by now.

    Raises:
        FeedbackError: they are not, for as long as the pace allows.
    """
    deadline = time.monotonic() + pace.most
    owed = {**told.progress(client, _SENT), **applied}
    while True:
        stored = told.progress(client, _ARCHIVE)
        behind = [place for place, last in owed.items() if stored.get(place, -1) < last]
        if not behind:
            return
        if time.monotonic() > deadline:
            topic, partition = behind[0]
            last = stored.get((topic, partition), -1)
            msg = (
                f"the archive has stored {topic}/{partition} up to offset {last}, but the tally has come to "
                f"{owed[topic, partition]}: is a worker with its archive running? Then try again"
            )
            raise FeedbackError(msg)
        time.sleep(min(0.5, pace.pause))


def roll_is_behind(place: Place) -> FeedbackError:
    """What to say when cells of a source partition stay unpublished."""
    topic, partition = place
    return FeedbackError(
        f"{topic}/{partition} is counted, but some of its cells are not published yet: is a worker with "
        "its roll running? Then try again"
    )
