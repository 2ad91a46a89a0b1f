"""What `verify` found, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipeline.verify.suspects import Key, Suspect
from pipeline.verify.told import Names

MOST_DETAILS = 1000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Result:
    """What was found: how many differences, what was checked, and the first of the differences."""

    differences: int
    checked: Mapping[str, Any]
    details: Sequence[Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """With the keys of `feedback verify --json`."""
        return {"differences": self.differences, "checked": self.checked, "details": self.details}


def detail(key: Key, one: Suspect, leaves: Mapping[int, Names]) -> dict[str, Any]:
    """One difference in words; `leaves` are the names that hashes of leaves stand for."""
    if key[0] == "outcome":
        _, topic, partition, day, outcome = key
        place = {"topic": topic, "partition": partition, "day": str(_EPOCH + timedelta(days=day))}
        return {
            "kind": "outcome",
            **place,
            "outcome": outcome,
            "recounted": one.recounted,
            "stored": one.stored,
        }
    if key[0] == "follow-up":
        return {"kind": "follow-up", "id": key[1], "recounted": one.recounted, "stored": one.stored}
    kind, leaf, minute, bin_ = key
    names = leaves.get(leaf, Names("", "", "", "", ""))._asdict()
    bucket = datetime.fromtimestamp(minute * 60, UTC).isoformat()
    if kind == "rebuilt":
        place = {**names, "bucket": bucket, "bin": bin_}
        return {"kind": "live and rebuilt cell", **place, "recounted": one.recounted, "stored": one.stored}
    sides = {
        side: dict(zip(("n", "total"), getattr(one, side), strict=True)) for side in ("recounted", "stored")
    }
    return {"kind": "cell", **names, "bucket": bucket, "bin": bin_, **sides}
