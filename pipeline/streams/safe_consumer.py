"""Faust's consumer without the bookkeeping that loses records. It only keeps replays short: exactness is the journal's.

But a drain goes by what others have committed. So that is what is done for good: written to the journal, and sent on.

Stock Faust commits past records in flight, drops acknowledgements at every rebalance before it commits them, and takes
a partition out of the fetch for a whole second when a buffer is full.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import uvloop
from faust.transport.drivers import aiokafka as driver

from pipeline.events.records import Records
from pipeline.streams import columnar
from pipeline.streams.connection import COMMITTED
from pipeline.streams.membership import Mandate, begin, lost
from pipeline.streams.patience import persist
from pipeline.streams.waiting import Room

_IN_FLIGHT_SECONDS = 4.0
_LONGEST_FETCH_MS = 100
_ALL_ASIDE = 0.1  # seconds
_faust_log = logging.getLogger("faust.consumer")  # mode would log under the name of this module, at our level


class Progress(Protocol):
    """What whoever settles the records of a topic tells the consumer.

    Attributes:
        room: what may be in flight of it.
    """

    room: Room

    def done(self, partition: int) -> int:
        """Before this offset everything is settled, and what was derived from it is acknowledged."""
        ...


def transport(
    app: Any, handlers: Mapping[str, Progress], mandate: Mandate, stopped: Callable[[], bool]
) -> driver.Transport:
    """The transport for `app.transport`.

    Args:
        app: whose.
        handlers: by topic; these are fetched in columns, except what is put aside.
        mandate: follows the heartbeats, and ends with what is taken back.
        stopped: whether to give up waiting for the broker; called in the consumer's thread.
    """

    class Thread(QuickThread):
        logger = _faust_log

        async def on_start(self) -> None:
            # stock Faust crashes when the broker went away since we looked
            await persist(self._connect, "the broker", stopped=stopped)
            self.time_started = time.monotonic()
            # nothing is subscribed yet, so nothing has been fetched
            columnar.install(self._consumer, handlers)
            mandate.follow(self._consumer)

        async def _connect(self) -> None:
            self._consumer = _adjusted(self._create_consumer(loop=self.thread_loop))
            try:
                await begin(self._consumer)
            except BaseException:
                await self._consumer.stop()  # the next attempt makes a new one
                raise

    class Consumer(SafeConsumer):
        def _new_consumer_thread(self) -> Thread:
            return Thread(self, loop=self.loop, beacon=self.beacon)

    class Transport(driver.Transport):
        pass

    Consumer.mandate, Consumer.handlers, Transport.Consumer = mandate, handlers, Consumer
    return Transport(app.conf.broker_consumer, app)


class QuickThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread, on a loop of uvloop's: all that is fetched goes through it, asyncio's own is slower."""

    def __init__(self, consumer: Any, **more: Any) -> None:
        super().__init__(consumer, thread_loop=uvloop.new_event_loop(), **more)

    def _start_thread(self) -> None:
        try:
            super()._start_thread()
        finally:
            self.thread_loop.close()


class SafeConsumer(driver.Consumer):
    """Commits the highest acknowledged offset that is done, below the first offset of any batch in flight.

    Attributes:
        handlers: by topic, they say what is done, and of what nothing is to be fetched.
        mandate: ends before we join the group again, and so before others are given what was ours.
    """

    logger = _faust_log
    handlers: Mapping[str, Progress]
    mandate: Mandate

    @property
    def lost(self) -> bool:
        """See `membership.lost`."""
        return lost(self._thread._consumer)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """No gap accounting: a batch is one pseudo-record, and its own records would look like a gap."""

    def on_buffer_full(self, tp: Any) -> None:
        """Nothing: a full queue holds the fetch back by itself."""

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109  as Faust names it
        """Of the partitions that are not put aside. Faust's own way to pause one ends with each rebalance."""
        aside = {(topic, p) for topic, handler in self.handlers.items() for p in handler.room.aside}
        wanted = {tp for tp in active_partitions if tp not in aside}
        if wanted:
            return await super()._getmany(wanted, timeout)
        await self.sleep(_ALL_ASIDE)  # an empty set would mean all of them
        return {}

    def _new_offset(self, tp: Any) -> int | None:
        acked = self._acked[tp]
        in_flight = [_first(m) for m in list(self._unacked_messages) if m.tp == tp and not m.acked]
        end = min([self.handlers[tp.topic].done(tp.partition), *in_flight])
        done = [offset for offset in acked if offset < end]
        if not done:
            return None
        highest = max(done)
        self._acked_index[tp].difference_update(offset for offset in acked if offset <= highest)
        acked[:] = [offset for offset in acked if offset > highest]
        return int(highest) + 1

    async def wait_empty(self) -> None:
        """Wait for what is in flight, but not for ever: it may wait for a registry that is away, and is read again."""
        end = time.monotonic() + _IN_FLIGHT_SECONDS
        while not self.should_stop and self._unacked_messages and time.monotonic() < end:
            await self.commit()
            await self._wait_for_ack(timeout=0.2)
            self._clean_unacked_messages()
        await self.commit_and_end_transactions()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Finish and commit what is in flight first; the stock order forgets the acknowledgements before."""
        try:
            if not self.app.should_stop and self.assignment():
                self.stop_flow()
                self.app.flow_control.suspend()
                self.app.flow_control.clear()
                await self.wait_empty()
            await super().on_partitions_revoked(revoked)
        finally:
            self.mandate.take()


def _adjusted(consumer: Any) -> Any:
    """Before it starts. Stock Faust reads what was aborted, too, and lets a fetch wait 1.5 s for data.

    One fetch is under way at a time, and leaves out the partitions whose last records are not taken yet: if the others
    are quiet, these wait for its end.
    """
    consumer._isolation_level = COMMITTED
    consumer._fetch_max_wait_ms = _LONGEST_FETCH_MS
    return consumer


def _first(message: Any) -> int:
    return message.value.first if isinstance(message.value, Records) else int(message.offset)
