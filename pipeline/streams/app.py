"""The Faust app: one agent an input topic, each fed whole batches and acknowledged after its handler is done."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Protocol, TypeVar

import faust
import mode

from pipeline.events.records import Records
from pipeline.journal.journal import JournalBroken
from pipeline.journal.pack import NewerFormat
from pipeline.streams.batches import Raw, scheduler
from pipeline.streams.membership import Mandate
from pipeline.streams.safe_consumer import Progress, transport

log = logging.getLogger(__name__)
_MAX_POLL_RECORDS = 1 << 18  # of all partitions together: a fetch should not be cut
# Of a partition. Each batch has a price, and so has each cell that it changes once more.
_FETCH_BYTES = 6 << 20
Stopped = Callable[[], bool]
T = TypeVar("T")
BROKEN = 70  # exit code of a worker that must not go on
BEYOND_REPAIR = (JournalBroken, NewerFormat)  # their texts say what somebody has to do


class Crashed(Exception):
    """Faust gave up; the worker must end, since a crashed app stays alive and does nothing."""


class Handler(Progress, Protocol):
    """Owns partitions of one topic and settles what is read from them."""

    async def on_batch(self, partition: int, records: Records) -> bool:
        """Settle a batch; everything derived from it is safe when this returns. False if others own the partition."""
        ...

    async def recover(self, partition: int) -> None:
        """Bring a partition up to date, if it is ours, however long that takes."""
        ...

    def own(self, partitions: Collection[int]) -> None:
        """These are ours now, and not ready before they are recovered."""
        ...

    def forget(self, partitions: Collection[int]) -> None:
        """Others own these now."""
        ...

    @property
    def partitions(self) -> Collection[int]:
        """What is owned."""
        ...


@dataclass(frozen=True, slots=True)
class AppOptions:
    """How the app reaches the brokers.

    Attributes:
        bootstrap: addresses, separated by commas.
        group: consumer group.
        partitions: of every topic.
        session_timeout: seconds.
        instance: name under which this worker comes back to its partitions; None for a dynamic member.
        credentials: Faust credentials, or None.
        data_dir: folder that Faust may use.
    """

    bootstrap: str
    group: str
    partitions: int
    session_timeout: float
    data_dir: str
    instance: str | None = None
    credentials: Any = None


def build(
    options: AppOptions,
    handlers: Mapping[str, Handler],
    mandate: Mandate,
    stopped: Stopped,
) -> faust.App:
    """An app that reads the topics of `handlers`, none of which Faust decodes, declares or keeps a table of.

    Args:
        options: how it reaches the brokers.
        handlers: by topic.
        mandate: told when the group has said what is ours, and when it takes it back.
        stopped: whether we are ending: then nobody waits for a broker that is away, and what fails is left to the
            next owner.
    """
    app = _configured(options, handlers)
    app.transport = transport(app, handlers, mandate, stopped)
    app.boot_strategy.enable_kafka_producer = False  # what we send goes by a producer of our own
    for topic, handler in handlers.items():
        _agent(app, topic, handler, options.partitions, stopped)
    _follow_assignment(app, handlers, mandate, stopped)
    return app


def _configured(options: AppOptions, topics: Collection[str]) -> faust.App:
    return faust.App(
        options.group,
        broker=";".join(f"kafka://{address}" for address in options.bootstrap.split(",")),
        broker_credentials=options.credentials,
        datadir=options.data_dir,
        store="memory://",
        web_enabled=False,
        topic_partitions=options.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        worker_redirect_stdouts=False,
        ConsumerScheduler=scheduler(topics),
        stream_buffer_maxsize=1,  # `Room` bounds what is in flight
        stream_wait_empty=True,
        agent_supervisor=mode.CrashingSupervisor,
        broker_max_poll_records=_MAX_POLL_RECORDS,
        broker_commit_interval=1.0,
        broker_session_timeout=options.session_timeout,
        broker_heartbeat_interval=max(0.5, options.session_timeout / 10),
        broker_rebalance_timeout=max(10.0, options.session_timeout),
        broker_max_poll_interval=3600.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=_FETCH_BYTES,
        consumer_group_instance_id=options.instance,
    )


def _agent(app: faust.App, topic: str, handler: Handler, partitions: int, stopped: Stopped) -> None:
    async def agent(stream: Any) -> None:
        tasks: set[asyncio.Task[None]] = set()
        async for event in stream.noack().events():
            partition = event.message.tp.partition
            takes = await handler.room.enter(partition, event.value)
            task = asyncio.create_task(_handle(handler, event, stopped))
            tasks.add(task)  # the loop keeps only weak references
            task.add_done_callback(tasks.discard)
            task.add_done_callback(partial(handler.room.leave, partition, takes))

    channel = app.topic(topic, schema=Raw(), partitions=partitions)
    app.agent(channel, concurrency=1, name=f"{topic}-agent")(agent)


async def _handle(handler: Handler, event: Any, stopped: Stopped) -> None:
    tp = event.message.tp
    what = f"a batch of {tp.topic}/{tp.partition}"
    if await _or_die(what, stopped, handler.on_batch, tp.partition, event.value):
        event.ack()


def _follow_assignment(
    app: faust.App, handlers: Mapping[str, Handler], mandate: Mandate, stopped: Stopped
) -> None:
    tasks: set[asyncio.Task[None]] = set()

    async def assigned(_: Any, *args: Any, **__: Any) -> None:
        """Recover in the background: awaiting it here would hold up the whole group."""
        (assigned,) = args
        for topic, handler in handlers.items():
            now = {tp.partition for tp in assigned if tp.topic == topic}
            handler.forget(set(handler.partitions) - now)
            handler.own(now)
            for partition in sorted(now):
                what = f"recovery of {topic}/{partition}"
                task = asyncio.create_task(_or_die(what, stopped, handler.recover, partition))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        mandate.give()
        log.info("assigned", extra={"partitions": sorted(f"{tp.topic}/{tp.partition}" for tp in assigned)})

    app.on_partitions_assigned.connect(assigned, weak=False)  # type: ignore[arg-type]  # wants a keyword it never gives


def die() -> NoReturn:
    """End at once: an orderly end would wait for Faust's thread, which may wait for a broker for ever."""
    logging.shutdown()
    os._exit(BROKEN)


async def _or_die(what: str, stopped: Stopped, call: Callable[..., Awaitable[T]], *args: Any) -> T | None:
    """What it gave. A failure is a bug or a broken journal: die before the acknowledgement, and visibly.

    While we end, our connections are closed under what is still going on: no bug, and the next owner does it again.
    """
    try:
        return await call(*args)
    except asyncio.CancelledError:
        raise
    except BEYOND_REPAIR as error:
        log.critical("the worker cannot go on", extra={"what": what, "reason": str(error)})
    except Exception as error:
        if stopped():
            log.info("left to the next owner", extra={"what": what, "reason": repr(error)})
            return None
        log.critical("the worker cannot go on", extra={"what": what}, exc_info=True)
    die()
