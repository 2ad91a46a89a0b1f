"""How far the sample traffic has come, in a small file, so that a second start goes on there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.errors import FeedbackError
from pipeline.sample.cases import HOUR_MS
from pipeline.sample.traffic import Traffic
from pipeline.sample.world import Drop

SEED = 7
HISTORY_MS = 24 * HOUR_MS
DROP_BEFORE_MS = 3 * HOUR_MS
DROP_AT = "payment"


@dataclass(frozen=True, slots=True)
class Progress:
    """All times in milliseconds since 1970.

    Attributes:
        seed: of the traffic.
        origin: start of the history.
        drop: when the drop began.
        done: every event before this moment is acknowledged.
    """

    seed: int
    origin: int
    drop: int
    done: int

    @property
    def traffic(self) -> Traffic:
        """The shop of this run."""
        return Traffic(self.seed, self.origin, Drop(DROP_AT, self.drop))

    def upto(self, done: int) -> Progress:
        """The same, further on."""
        return replace(self, done=done)


def first(now: int) -> Progress:
    """A history of 24 h before `now`, the last three of them with the drop, and nothing sent yet."""
    return Progress(SEED, now - HISTORY_MS, now - DROP_BEFORE_MS, now - HISTORY_MS)


def resumed(path: Path, now: int) -> Progress:
    """Where the last run ended; a fresh history if there was none, or if it ended over a day ago."""
    try:
        known = Progress(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return first(now)
    except (ValueError, TypeError) as fault:
        msg = f"{path} cannot be read: remove the data folder to start over"
        raise FeedbackError(msg) from fault
    return known if now - known.done < HISTORY_MS else first(now)


def save(path: Path, progress: Progress) -> None:
    """Replace the file as a whole, so that a crash leaves the old one or the new one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(progress)), "utf-8")
    fresh.replace(path)
