"""The worker: Faust with its handlers, the archive, the publishing tick and the small HTTP server, in one process."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Protocol

from aiokafka.errors import KafkaError

from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.journal.log import Log, Unknown
from pipeline.stores.prometheus import Metrics
from pipeline.streams import app as faust_app
from pipeline.streams.along import Along
from pipeline.streams.archive import Archive
from pipeline.streams.connection import client_options, credentials
from pipeline.streams.drain import Drain
from pipeline.streams.garbage import search
from pipeline.streams.identity import claim
from pipeline.streams.kafka_log import Broker, KafkaLog
from pipeline.streams.kafka_outputs import KafkaOutputs
from pipeline.streams.membership import Mandate
from pipeline.streams.originals import Originals
from pipeline.streams.patience import TROUBLE, GiveWay, Stopped, either, persist, sleep, until
from pipeline.streams.registry import Registry
from pipeline.streams.roll import Roll
from pipeline.streams.setup import ensure
from pipeline.streams.status import serve
from pipeline.streams.tallies import Tallies
from pipeline.streams.tally import Tally
from pipeline.streams.threads import own_thread
from pipeline.streams.topics import Topics

log = logging.getLogger(__name__)
PARTS = ("tally", "roll", "archive")
TICK = 0.25
_STOP_SECONDS = 8.0
_LOOK = 0.2


class Keeper(Protocol):
    """Looks after the store where it is ours to look after."""

    async def open(self) -> None:
        """Make sure that a store answers."""
        ...

    def away(self) -> None:
        """The store did not answer."""
        ...

    async def close(self) -> None:
        """End what was started."""
        ...


class Worker:
    """One worker process.

    Args:
        settings: the whole configuration.
        keeper: looks after the store.
        parts: which of tally, roll and archive it does.
    """

    def __init__(self, settings: Settings, keeper: Keeper, parts: Collection[str] = PARTS) -> None:
        self.settings = settings
        self.keeper = keeper
        self.topics = Topics(settings.kafka.prefix)
        self.metrics = Metrics.of(settings)
        self.broker = Broker(client_options(settings))
        self.outputs = KafkaOutputs(lambda: self.broker.outputs, settings.kafka.prefix)
        self.results = KafkaOutputs(lambda: self.broker.results, settings.kafka.prefix)
        self.registry = Registry(settings.registry_url, self.metrics) if settings.registry_url else None
        self.originals = Originals(self.topics.kept_places(), self.broker.topic_ids)
        self.stop = asyncio.Event()
        self._grouped = bool({"tally", "roll"} & set(parts))
        self.mandate = Mandate(settings.kafka.session_timeout)
        self.along = Along([self.topics.responses, self.topics.touchpoints] if "tally" in parts else ())
        tallies = Tallies(
            settings,
            self.topics,
            self.broker,
            self.outputs,
            self.registry,
            self.metrics,
            own_thread("decide"),
            self.along.offer,
        )
        self.tallies = tallies.all() if "tally" in parts else {}
        self.roll = self._roll() if "roll" in parts else None
        self.archive = self._archive() if "archive" in parts else None

    @property
    def _part(self) -> str:
        """Tells its name in the group from that of a worker in the same place with other topics.

        Under the same name it would be given the other's partitions back, which it cannot take.
        """
        both = bool(self.tallies) and self.roll is not None
        return "" if both else "-roll" if self.roll else "-tally"

    @property
    def ready(self) -> bool:
        """The group has said what this worker owns, and all of that has been recovered."""
        handlers: list[Tally | Roll] = [*self.tallies.values(), *([self.roll] if self.roll else [])]
        return (self.mandate.ever or not self._grouped) and all(handler.ready for handler in handlers)

    @property
    def shown(self) -> Roll | None:
        """The windows that this worker alone may show; None while others may show them, too."""
        return self.roll if self.mandate.holds else None

    async def run(self, *, drain: bool = False) -> int:
        """Work until SIGTERM or SIGINT, or until everything that was there at the start is done; the exit code."""
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, self.stop.set)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serve(self))
            if self.registry:
                await stack.enter_async_context(self.registry)
            await self._unless_stopped(persist(self.broker.start, "the broker"))
            stack.push_async_callback(self.broker.stop)
            await self._unless_stopped(self._check_topics())
            await self._unless_stopped(self._name_schemas())
            if self.stop.is_set():
                return 0
            return await self._work(stack, drain=drain)

    async def _check_topics(self) -> None:
        """Faust idles and logs an error ten times a second when a topic is missing."""
        lack = (await persist(partial(ensure, check=True), "the broker", self.settings)).lack
        if lack:
            raise FeedbackError(lack)
        await persist(self.originals.look, "the ids of topics")

    async def _name_schemas(self) -> None:
        """Whoever reads our topics asks the registry what the ids in them mean."""
        if self.registry and not self.stop.is_set():
            self.outputs.heads = self.results.heads = await self.registry.heads(self.settings.kafka.prefix)

    async def _work(self, stack: AsyncExitStack, *, drain: bool) -> int:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._compare_topics()),
            asyncio.create_task(search(self.stop)),
        ]
        if drain:
            draining = Drain(self)
            await draining.note_the_end()
            tasks.append(asyncio.create_task(draining.run()))
        if self.archive:
            stack.push_async_callback(self.keeper.close)
            await self.keeper.open()
            tasks.append(asyncio.create_task(self.archive.run(self.stop)))
        if self.tallies or self.roll:
            try:
                app = await stack.enter_async_context(self._faust())
            except KafkaError:
                if not self.stop.is_set():  # otherwise it was told to stop while it waited for the broker
                    raise
                return await self._until_stopped(tasks)
            tasks.append(asyncio.create_task(self._watch(app)))
        tasks += [asyncio.create_task(self._publish(tally)) for tally in self.tallies.values()]
        tasks += [asyncio.create_task(self._tell(tally)) for tally in self.tallies.values()]
        tasks += [asyncio.create_task(self._roll_on(self.roll))] if self.roll else []
        return await self._until_stopped(tasks)

    async def _until_stopped(self, tasks: list[asyncio.Task[Any]]) -> int:
        """Wait for the end, then let every task finish; a failed task is raised here."""
        stopped = asyncio.create_task(self.stop.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        self.stop.set()
        finished, late = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
        for task in late:
            task.cancel()
        for task in (*done, *finished):
            task.result()
        log.info("stopped")
        return 0

    async def _unless_stopped(self, call: Any) -> None:
        """Await `call`, but not beyond the signal to stop."""
        with suppress(Stopped):
            await until(self.stop, call)

    @asynccontextmanager
    async def _faust(self) -> AsyncIterator[Any]:
        data_dir = self.settings.worker.data_dir
        identity = claim(data_dir)
        options = faust_app.AppOptions(
            bootstrap=self.settings.kafka.bootstrap,
            group=f"{self.settings.kafka.prefix}.worker",
            partitions=self.settings.kafka.partitions,
            session_timeout=self.settings.kafka.session_timeout,
            data_dir=str(data_dir / "workers" / str(identity.slot)),
            instance=f"{identity.instance(self.originals.mark)}{self._part}",
            credentials=credentials(self.settings),
        )
        handlers: dict[str, faust_app.Handler] = dict(self.tallies)
        if self.roll:
            handlers[self.topics.deltas] = self.roll
        app = faust_app.build(options, handlers, self.mandate, self.stop.is_set)
        try:
            await self._begun(app)
            yield app
        finally:
            try:
                await asyncio.wait_for(app.stop(), _STOP_SECONDS)
            except TimeoutError:
                log.warning("Faust did not end in time: what was in flight is read again")

    async def _begun(self, app: Any) -> None:
        """Start Faust. It waits for the group for as long as that takes, and hears neither a refusal nor a signal."""
        starting = asyncio.create_task(app.start())
        while not (starting.done() or self.stop.is_set() or self.mandate.refused):
            await asyncio.wait({starting}, timeout=_LOOK)
        if not starting.done():
            starting.cancel()
        if self.mandate.refused:
            raise self.mandate.refused
        with suppress(asyncio.CancelledError):
            await starting

    async def _watch(self, app: Any) -> None:
        """A crashed Faust app would stay alive and do nothing."""
        while not self.stop.is_set():
            if app.crashed:
                raise faust_app.Crashed from app.crash_reason
            if self.mandate.refused:
                raise self.mandate.refused
            if app.consumer.lost:
                msg = "the consumer has fallen out of its group for good"
                raise faust_app.Crashed(msg)
            self.metrics.worker_ready(ready=self.ready)
            for tally in self.tallies.values():
                await tally.observe()
                await tally.pass_time()
            if self.roll:
                with suppress(*TROUBLE):
                    await self.roll.observe()
            await sleep(self.stop, 1.0)

    async def _compare_topics(self) -> None:
        """Numbers and rows are remembered by offsets, which a topic made anew gives a second time."""
        while not self.stop.is_set():
            with suppress(Unknown):
                await self.originals.look()
            await sleep(self.stop, 1.0)

    async def _publish(self, tally: Tally) -> None:
        """What is owed downstream: at once when something was settled, and every tick."""
        while not self.stop.is_set():
            await either(tally.work, self.stop, TICK)
            tally.work.clear()
            while await tally.tick() and not self.stop.is_set():
                pass

    async def _tell(self, tally: Tally) -> None:
        """How many records came to which outcome: every tick, since nobody waits for it."""
        while not self.stop.is_set():
            await sleep(self.stop, TICK)
            await tally.tell()

    async def _roll_on(self, roll: Roll) -> None:
        """Windows roll by the clock, also when nothing arrives."""
        way = GiveWay()
        while not self.stop.is_set():
            started = time.monotonic()
            if not way.to(recovery=not self.ready):
                await roll.tick(int(time.time() * 1000))
            rest = 0.0 if roll.behind else TICK - (time.monotonic() - started)
            await sleep(self.stop, max(0.01, rest))

    def _archive(self) -> Archive:
        away, registry = self.keeper.away, self.registry
        return Archive(self.settings, self.metrics, on_away=away, registry=registry, along=self.along)

    def _roll(self) -> Roll:
        def logs(q: int) -> tuple[Log, Log]:
            return KafkaLog(self.broker, self.topics.deltas, q), KafkaLog(self.broker, self.topics.roll, q)

        return Roll(self.settings, logs, self.results, self.metrics, run=own_thread("roll"))


async def work(settings: Settings, keeper: Keeper, parts: Collection[str], *, drain: bool = False) -> int:
    """Build a worker and run it; the exit code."""
    try:
        return await Worker(settings, keeper, parts).run(drain=drain)
    except faust_app.BEYOND_REPAIR as error:
        log.critical("the worker cannot go on", extra={"reason": str(error)})
        faust_app.die()
