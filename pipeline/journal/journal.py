"""`Journal`: the log of one source partition's effects, with the rule by which a writer may believe itself.

Writer rule: state changes only after the acknowledgement. If the acknowledged offset is not the expected one, somebody
else wrote; if there is no acknowledgement, nobody knows. In both cases: read the log from the place that was expected,
fold it, and decide again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipeline.journal.effect import Effect, pack_effect, unpack_effect
from pipeline.journal.log import Log, OutOfRange, Unknown
from pipeline.journal.state import State

Run = Callable[..., Awaitable[Any]]


async def run_here(function: Callable[..., Any], *args: Any) -> Any:
    """The plainest `Run`: no thread."""
    return function(*args)


class JournalBroken(Exception):
    """The journal cannot be what it must be; nothing may be counted until somebody looked. Says what to do."""


@dataclass
class JournalCounts:
    """What the journal of one partition went through since this worker owns it."""

    conflicts: int = 0
    unknown: int = 0
    ignored: int = 0


class Journal:
    """State of one source partition and the place in the log up to which it was folded.

    Attributes:
        state: the fold so far.
        next: the offset that the next record of ours must get.
    """

    def __init__(self, log: Log, name: str) -> None:
        self.state = State()
        self.next = 0
        self.counts = JournalCounts()
        self._log = log
        self._name = name

    async def catch_up(self) -> None:
        """Fold the log up to its end as of now.

        Raises:
            Unknown: the log does not answer; what was folded so far is a valid prefix, call again.
            JournalBroken: records that must be there are not.
        """
        begin, end = await self._log.bounds()
        if not begin <= self.next <= end:
            self._refuse(begin, end)
        while self.next < end:
            try:
                entries, position = await self._log.read(self.next, end)
            except OutOfRange:
                self._refuse(*await self._log.bounds())
                raise
            for entry in entries:
                self._take(entry.value)
            self.next = position

    async def append(self, effect: Effect, run: Run = run_here) -> bool:
        """Write an effect decided on this very state; True if it counts. Otherwise the state was caught up.

        Args:
            effect: the next one of `state`.
            run: calls the fold, perhaps in a thread.
        """
        try:
            offset = await self._log.append(pack_effect(effect))
        except Unknown:
            self.counts.unknown += 1
            await self.catch_up()
            return False
        if offset == self.next:
            await run(self.state.fold, effect)
            # last: whoever is interrupted before this reads the record again, and ignores it
            self.next = offset + 1
            return True
        self.counts.conflicts += 1
        if offset < self.next:
            self._lost(offset)
        await self.catch_up()
        return False

    def _take(self, value: bytes | None) -> None:
        effect = unpack_effect(value or b"")
        if effect.sequence > self.state.sequence + 1:
            msg = (
                f"the journal {self._name} jumps from effect {self.state.sequence} to {effect.sequence}: records are "
                "missing; restore the topic from a replica or run `feedback reset`"
            )
            raise JournalBroken(msg)
        if not self.state.fold(effect):
            self.counts.ignored += 1

    def _refuse(self, begin: int, end: int) -> None:
        if self.next > end:
            self._lost(end)
        msg = (
            f"the journal {self._name} begins at {begin}, but {self.next} is needed: its records were deleted; "
            "its topic must have cleanup.policy=delete and retention.ms=-1 (`feedback setup` sets both)"
        )
        raise JournalBroken(msg)

    def _lost(self, offset: int) -> None:
        # offsets would be used a second time, which no rule can tell from the first: never go on
        msg = (
            f"the broker lost acknowledged records of the journal {self._name}: it stands at {offset}, "
            f"{self.next} was acknowledged; use replication 3 with min.insync.replicas=2, then run `feedback reset`"
        )
        raise JournalBroken(msg)
