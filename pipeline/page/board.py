"""What the page knows, and what to tell it when something changed. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]  # metric, instrument, window, touchpoint, channel, segment, value, lower, upper, n
Key = tuple[str, str, str, str]
SHOWN = frozenset({"nps", "csat", "ces", "resolution"})


def key(row: Row) -> Key:
    """What makes a score on the page one score."""
    return row["window"], row["metric"], row["instrument"], row["touchpoint"]


@dataclass
class Board:
    """The newest scores of touchpoints and overall."""

    rows: dict[Key, Row] = field(default_factory=dict)

    def take(self, rows: Iterable[Row]) -> list[Row]:
        """Replace all rows; those that changed, a row that went away with n = 0 and no value."""
        fresh = {key(row): row for row in rows if _is_shown(row)}
        changed = [row for at, row in fresh.items() if self.rows.get(at) != row]
        gone = [_emptied(row) for at, row in self.rows.items() if at not in fresh]
        self.rows = fresh
        return changed + gone


def _is_shown(row: Row) -> bool:
    return row["metric"] in SHOWN and not row["channel"] and not row["segment"]


def _emptied(row: Row) -> Row:
    return {**row, "value": None, "lower": None, "upper": None, "n": 0}
