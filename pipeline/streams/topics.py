"""`Topics`: the names of all topics under one prefix, and how each is kept by the broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

# Limits of one record batch. A dead letter carries a whole input record, a journal record a batch's effect.
INPUT_BYTES = 2 << 20
DEAD_LETTER_BYTES = 4 << 20
INTERNAL_BYTES = 9 << 20
_WEEK_MS = str(7 * 86_400_000)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: its full name and the settings that `feedback setup` gives it."""

    name: str
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topics:
    """Full names of all topics.

    Args:
        prefix: `kafka.prefix`.
    """

    prefix: str
    responses: str = field(init=False, metadata={"kind": "input"})
    touchpoints: str = field(init=False, metadata={"kind": "input"})
    resolutions: str = field(init=False, metadata={"kind": "public"})
    outcomes: str = field(init=False, metadata={"kind": "public"})
    drops: str = field(init=False, metadata={"kind": "public"})
    cells: str = field(init=False, metadata={"kind": "public"})
    scores: str = field(init=False, metadata={"kind": "public"})
    follow_ups: str = field(init=False, metadata={"kind": "public"})
    dead_letters: str = field(init=False, metadata={"kind": "dead_letters"})
    journal_responses: str = field(init=False, metadata={"kind": "internal"})
    journal_touchpoints: str = field(init=False, metadata={"kind": "internal"})
    ids_responses: str = field(init=False, metadata={"kind": "internal"})
    ids_touchpoints: str = field(init=False, metadata={"kind": "internal"})
    deltas: str = field(init=False, metadata={"kind": "internal"})
    roll: str = field(init=False, metadata={"kind": "internal"})
    instruments: str = field(init=False, metadata={"kind": "internal"})

    def __post_init__(self) -> None:
        for one in fields(self)[1:]:
            object.__setattr__(self, one.name, f"{self.prefix}.{_suffix(one.name)}")

    def all_topics(self) -> list[TopicSpec]:
        """Every topic with its settings."""
        return [TopicSpec(getattr(self, one.name), CONFIGS[one.metadata["kind"]]) for one in fields(self)[1:]]

    def kept_places(self) -> list[str]:
        """The topics whose offsets are remembered elsewhere: made anew, they would use them a second time."""
        kinds = ("input", "internal")
        return [getattr(self, one.name) for one in fields(self)[1:] if one.metadata["kind"] in kinds]


def _suffix(attribute: str) -> str:
    """Of "journal_responses" it is journal.responses, of "follow_ups" follow-ups."""
    for family in ("journal_", "ids_"):
        if attribute.startswith(family):
            return attribute.replace("_", ".", 1)
    return attribute.replace("_", "-")


def _kept(policy: str, retention_ms: str, bytes_at_most: int, **more: str) -> Mapping[str, str]:
    # LogAppendTime everywhere: on the inputs it is the `kafka_time` that outcomes are decided by, and
    # elsewhere a broker refuses what a machine with a wrong clock writes (message.timestamp.after.max.ms).
    configs = {
        "cleanup.policy": policy,
        "retention.ms": retention_ms,
        "max.message.bytes": str(bytes_at_most),
        "message.timestamp.type": "LogAppendTime",
    }
    return MappingProxyType(configs | more)


# What is kept for ever is cut by its owner (DeleteRecords), never by time: a journal without its beginning
# is lost. DeleteRecords frees whole segments, hence small ones.
CONFIGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "input": _kept("delete", _WEEK_MS, INPUT_BYTES),
        # never compacted: of two versions of a cell that keeps the later in the log, which may be a zombie's lower one
        "public": _kept("delete", _WEEK_MS, INPUT_BYTES),
        "dead_letters": _kept("delete", _WEEK_MS, DEAD_LETTER_BYTES),
        "internal": _kept(
            "delete", "-1", INTERNAL_BYTES, **{"retention.bytes": "-1", "segment.bytes": str(64 << 20)}
        ),
    }
)
