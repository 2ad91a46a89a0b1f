"""`Originals`: whether the topics are still those that this worker began with."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Awaitable, Callable, Sequence

from pipeline.journal.journal import JournalBroken

log = logging.getLogger(__name__)


class Originals:
    """Looks at the ids of topics again and again.

    A topic that is deleted is taken from everybody in the group, so nobody who reads partitions would notice.

    Args:
        topics: full names.
        ids: asks the broker for the ids of those that exist, empty where it has none to give.
    """

    def __init__(
        self, topics: Sequence[str], ids: Callable[[Sequence[str]], Awaitable[dict[str, str]]]
    ) -> None:
        self._topics = topics
        self._ids = ids
        self._known: dict[str, str] = {}
        self._gone: set[str] = set()

    @property
    def mark(self) -> str:
        """A short text that is another one after a topic was made anew; empty where nobody tells."""
        told = "".join(self._known[topic] for topic in self._topics if topic in self._known)
        return f"{zlib.crc32(told.encode()):08x}" if told else ""

    async def look(self) -> None:
        """Compare them with the first look.

        Raises:
            JournalBroken: one was made anew.
            Unknown: the broker does not answer.
        """
        found = await self._ids(self._topics)
        for topic, told in found.items():
            if told and self._known.setdefault(topic, told) != told:
                msg = (
                    f"the topic {topic} was made anew: its id is {told}, and this worker knows {self._known[topic]}; "
                    "new records would be taken for old ones. If that is meant, run `feedback reset`"
                )
                raise JournalBroken(msg)
        self._tell_of_gone({one for one in self._topics if one not in found})

    def _tell_of_gone(self, gone: set[str]) -> None:
        for topic in gone - self._gone:
            log.error(
                "a topic is gone: nothing is counted without it; if it was deleted on purpose, run `feedback reset`",
                extra={"topic": topic},
            )
        self._gone = gone
