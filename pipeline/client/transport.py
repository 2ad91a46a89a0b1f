"""`Transport`: messages to the broker in order, each acknowledged or still known by name. One loop owns it.

Chunk by chunk: what waits is laid into one batch a partition, all batches are sent, and the next chunk goes
out when every one of them is acknowledged. That costs one future a batch, not one a message, and no more than
one chunk is ever in doubt. While the broker is away the chunk is tried again for ever, by aiokafka's
idempotent producer as long as that lives, else by a new one; so a message may be in the log twice under one
id, and counts once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import InvalidMessageError, MessageSizeTooLargeError
from aiokafka.structs import RecordMetadata

from pipeline.client.buffer import Buffer, Entry, Ticket
from pipeline.client.errors import BufferFullError, DeliveryError
from pipeline.client.message import Message
from pipeline.client.producer import Link, Target, connect, sentence
from pipeline.client.registry import heads_of
from pipeline.events.wire import Heads, under

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LAST_PAUSE = 0.2, 5.0
# Without an answer for so long, the broker is said to be away.
_SLOW_SECONDS = 3.0
# How long the last step may take to end by itself.
_GRACE_SECONDS = 1.0
# What no later attempt can cure: the broker refuses the bytes as such.
_REFUSED = (MessageSizeTooLargeError, InvalidMessageError)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where an acknowledged message is in the log."""

    message: Message
    topic: str
    partition: int
    offset: int


@dataclass(slots=True, eq=False)
class _Batch:
    """One partition's share of a chunk."""

    topic: str
    partition: int
    builder: Any  # aiokafka's BatchBuilder; aiokafka has no types
    entries: list[Entry]


class Transport:
    """See the module. `offer` may be called from any thread, everything else in the loop it was made in."""

    def __init__(self, target: Target, on_delivery: Callable[[Delivery], None] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._target = target
        self._on_delivery = on_delivery
        self._arrived = asyncio.Event()
        self._settled = asyncio.Event()
        self._ending = asyncio.Event()
        self._buffer = Buffer(target.buffer_bytes, lambda: _soon(loop, self._arrived))
        self._refused: list[tuple[Message, str]] = []
        self._trouble: str | None = "not connected yet"
        self._heads: Heads | None = None  # asked for once: a registry that goes away later delays nothing
        self._task = loop.create_task(self._run(), name="feedback transport")

    @property
    def trouble(self) -> str | None:
        """Why nothing gets through at the moment; None while all is well."""
        return self._trouble

    def offer(self, messages: Sequence[Message]) -> bool:
        """Accept all of them, or none: False where the buffer has no room. From any thread.

        Raises:
            ClosedError: after `close`.
        """
        return self._buffer.offer(messages)

    async def accept(self, messages: Sequence[Message], seconds: float) -> None:
        """Accept all of them, waiting for room.

        Raises:
            BufferFullError: there was none within `seconds`.
            ClosedError: after `close`.
        """
        try:
            async with asyncio.timeout(seconds):
                while not self._buffer.offer(messages):
                    await self._next_settlement()
        except TimeoutError:
            raise BufferFullError(seconds, self._trouble) from None

    async def deliver(self, messages: Sequence[Message], seconds: float) -> None:
        """Send all of them and wait for the last acknowledgement.

        Raises:
            BufferFullError: there is no room for them now; nothing was sent.
            DeliveryError: not all were acknowledged within `seconds`; they may or may not arrive.
            ClosedError: after `close`.
        """
        ticket = Ticket(len(messages))
        if not self._buffer.offer(messages, ticket):
            raise BufferFullError(0.0, self._trouble)
        try:
            async with asyncio.timeout(seconds):
                await ticket.future
        except TimeoutError:
            raise DeliveryError(messages, self._reason(seconds)) from None
        finally:
            self._buffer.withdraw(ticket)

    async def flush(self, seconds: float) -> None:
        """Wait until everything accepted so far is acknowledged.

        Raises:
            DeliveryError: it is not, within `seconds`. What the broker refused for good is forgotten
                with this report, the rest stays and goes on being sent.
        """
        last = self._buffer.accepted
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._buffer.is_settled(last):
                    await self._next_settlement()
        self._report(self._buffer.unsettled(last), seconds)

    async def close(self, seconds: float) -> None:
        """Flush, then let go of the broker. Accepts nothing more; a second call does nothing.

        Raises:
            DeliveryError: as `flush`, but nothing is sent after it.
        """
        self._buffer.close()
        if self._task.done():
            return
        try:
            await self.flush(seconds)
        finally:
            await self._end()

    async def _end(self) -> None:
        self._ending.set()
        self._arrived.set()
        # An attempt to connect that is cancelled leaves its socket open: let it come to its end.
        await asyncio.wait([self._task], timeout=_GRACE_SECONDS)
        while not self._task.done():
            self._task.cancel()  # again and again: aiokafka swallows a cancellation here and there
            await asyncio.wait([self._task], timeout=_GRACE_SECONDS)

    def _report(self, late: list[Message], seconds: float) -> None:
        refused, self._refused = self._refused, []
        if late or refused:
            reason = self._reason(seconds) if late else refused[0][1]
            raise DeliveryError([*(message for message, _ in refused), *late], reason)

    def _reason(self, seconds: float) -> str:
        return f"no answer within {seconds:g} s" + (f" ({self._trouble})" if self._trouble else "")

    async def _next_settlement(self) -> None:
        self._settled.clear()
        await self._settled.wait()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            try:
                if self._heads is None:
                    self._heads = await heads_of(self._target.registry_url, self._target.prefix)
                async with connect(self._target) as link:
                    self._out_of_trouble()
                    pause = _FIRST_PAUSE
                    await self._send_all(link)
            except Exception as fault:  # noqa: BLE001 - whatever aiokafka raises, the events stay and we try again
                self._in_trouble(sentence(self._target, fault))
            if self._buffer.put_back():
                self._arrived.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)
            pause = min(pause * 2, _LAST_PAUSE)

    async def _send_all(self, link: Link) -> None:
        while not self._ending.is_set():
            await self._arrived.wait()
            faults = await self._send(link, self._next_chunk(link))
            self._settled.set()
            if faults:
                # A batch given up leaves a gap in the producer's numbers: only a new producer gets on.
                raise faults[0]
            self._out_of_trouble()

    def _next_chunk(self, link: Link) -> list[_Batch]:
        """As many messages as fit into one batch a partition, in order."""
        batches: dict[tuple[str, int], _Batch] = {}
        heads = self._heads or {}

        def fits(entry: Entry) -> bool:
            place = link.place(entry.message)
            batch = batches.get(place)
            if batch is None:
                batch = batches[place] = _Batch(*place, link.producer.create_batch(), [])
            value = under(entry.message.value, heads)
            if batch.builder.append(key=entry.message.key, value=value, timestamp=None) is None:
                return False
            batch.entries.append(entry)
            return True

        if not self._buffer.take(fits):
            self._arrived.clear()
        return list(batches.values())

    async def _send(self, link: Link, batches: list[_Batch]) -> list[BaseException]:
        """Send the batches and settle what gets through; the faults of the others."""
        send = link.producer.send_batch
        futures = [await send(batch.builder, batch.topic, partition=batch.partition) for batch in batches]
        if futures and (await asyncio.wait(futures, timeout=_SLOW_SECONDS))[1]:
            self._in_trouble(f"the broker at {self._target.bootstrap} does not answer")
        results = await asyncio.gather(*futures, return_exceptions=True)
        for batch, result in zip(batches, results, strict=True):
            if not isinstance(result, BaseException):
                self._acknowledged(batch, result)
            elif isinstance(result, _REFUSED):
                self._given_up(batch, result)
        return [result for result in results if isinstance(result, BaseException)]

    def _acknowledged(self, batch: _Batch, result: RecordMetadata) -> None:
        self._buffer.settle(batch.entries)
        for index, entry in enumerate(batch.entries):
            if entry.ticket:
                entry.ticket.settle(None)
            if self._on_delivery:
                self._tell(Delivery(entry.message, batch.topic, batch.partition, result.offset + index))

    def _tell(self, delivery: Delivery) -> None:
        assert self._on_delivery  # noqa: S101 - for mypy
        try:
            self._on_delivery(delivery)
        except Exception:
            log.exception("on_delivery raised; the event is delivered all the same")

    def _given_up(self, batch: _Batch, fault: Exception) -> None:
        """Told to who waits for it, else reported by the next flush or close."""
        reason = f"{batch.topic} refuses the message: {fault}"
        log.error("the broker refuses messages", extra={"topic": batch.topic, "count": len(batch.entries)})
        self._buffer.settle(batch.entries)
        for entry in batch.entries:
            if entry.ticket:
                entry.ticket.settle(DeliveryError([entry.message], reason))
            else:
                self._refused.append((entry.message, reason))

    def _in_trouble(self, trouble: str) -> None:
        if self._trouble != trouble:
            # In the text, not in `extra`: an app's own log format does not show extras.
            log.warning("events wait: %s", trouble, extra={"waiting": len(self._buffer)})
        self._trouble = trouble

    def _out_of_trouble(self) -> None:
        if self._trouble is not None:
            log.info("connected to the broker", extra={"bootstrap": self._target.bootstrap})
        self._trouble = None


def _soon(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is gone: so is whoever would send
        loop.call_soon_threadsafe(event.set)
