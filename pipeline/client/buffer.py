"""`Buffer`: messages accepted and not yet acknowledged, in order and bounded in bytes. For any thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

from pipeline.client.errors import ClosedError
from pipeline.client.message import Message


class Ticket:
    """For a sender that waits for its messages: `future` ends when the last one is acknowledged."""

    def __init__(self, count: int) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open = count

    def settle(self, fault: Exception | None) -> None:
        """One message fewer to wait for."""
        self._open -= 1
        if self.future.done():
            return
        if fault:
            self.future.set_exception(fault)
        elif not self._open:
            self.future.set_result(None)


@dataclass(slots=True, eq=False)
class Entry:
    """One message in the buffer; `number` counts up in the order of acceptance."""

    message: Message
    number: int
    ticket: Ticket | None


class Buffer:
    """Entries are first waiting, then sending, then settled and gone; or back to waiting."""

    def __init__(self, limit: int, nudge: Callable[[], None]) -> None:
        """Hold `limit` bytes at most; `nudge` is called (in any thread) when there is something to take."""
        self._limit = limit
        self._nudge = nudge
        self._nudged = False
        self._lock = Lock()
        self._waiting: deque[Entry] = deque()
        self._sending: list[Entry] = []
        self._bytes = 0
        self._closed = False
        self.accepted = 0

    def offer(self, messages: Sequence[Message], ticket: Ticket | None = None) -> bool:
        """Accept all of them, or none: False where there is no room. What comes alone always fits.

        Raises:
            ClosedError: after `close`.
        """
        size = sum(message.size for message in messages)
        with self._lock:
            if self._closed:
                raise ClosedError
            if self._bytes and self._bytes + size > self._limit:
                return False
            for number, message in enumerate(messages, self.accepted + 1):
                self._waiting.append(Entry(message, number, ticket))
            self.accepted += len(messages)
            self._bytes += size
            asleep, self._nudged = not self._nudged, True
        if asleep:
            self._nudge()
        return True

    def take(self, fits: Callable[[Entry], bool]) -> bool:
        """Move entries from waiting to sending, in order, as long as `fits`; True if more wait."""
        with self._lock:
            while self._waiting and fits(self._waiting[0]):
                self._sending.append(self._waiting.popleft())
            self._nudged = bool(self._waiting)
            return self._nudged

    def settle(self, entries: Iterable[Entry]) -> None:
        """These are acknowledged, or given up."""
        gone = set(map(id, entries))
        with self._lock:
            self._bytes -= sum(entry.message.size for entry in self._sending if id(entry) in gone)
            self._sending = [entry for entry in self._sending if id(entry) not in gone]

    def put_back(self) -> bool:
        """What is under way waits again, before everything else; True if anything waits."""
        with self._lock:
            self._waiting.extendleft(reversed(self._sending))
            self._sending = []
            self._nudged = bool(self._waiting)
            return self._nudged

    def withdraw(self, ticket: Ticket) -> None:
        """Drop what waits under this ticket; nobody waits for it any more."""
        with self._lock:
            gone = [entry for entry in self._waiting if entry.ticket is ticket]
            if gone:
                self._waiting = deque(entry for entry in self._waiting if entry.ticket is not ticket)
                self._bytes -= sum(entry.message.size for entry in gone)

    def unsettled(self, last: int) -> list[Message]:
        """The messages accepted up to number `last` that are not settled, oldest first."""
        with self._lock:
            entries = [*self._sending, *self._waiting]
        return [entry.message for entry in entries if entry.number <= last]

    def is_settled(self, last: int) -> bool:
        """Whether everything accepted up to number `last` is settled."""
        with self._lock:
            first = self._sending or self._waiting
            return not first or first[0].number > last

    def close(self) -> None:
        """Accept nothing more."""
        with self._lock:
            self._closed = True

    def __len__(self) -> int:
        return len(self._sending) + len(self._waiting)
