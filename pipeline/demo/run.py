"""The demo from start to end: what may start beside each other does, and all of it ends together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from pipeline.config import Listen, Settings
from pipeline.demo import parts
from pipeline.demo.content import Content
from pipeline.demo.folder import Folder, Owner
from pipeline.demo.parts import Parts
from pipeline.demo.say import Say
from pipeline.embedded.process import Child
from pipeline.page import server
from pipeline.streams.setup import ensure

START_SECONDS = 90.0


@dataclass
class Demo:
    """One run of `feedback demo`.

    Attributes:
        settings: with worker.data_dir as the folder of this demo.
        owner: what that folder belongs to from now on.
        content: what is sent through the pipeline.
        say: tells what happens.
        embedded: start the embedded broker, instead of using the one at kafka.bootstrap.
        duration: seconds to run once everything works; None until it is told to stop.
    """

    settings: Settings
    owner: Owner
    content: Content
    say: Say
    embedded: bool = True
    duration: float | None = None
    _parts: Parts = field(default_factory=Parts)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _topics: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until SIGINT, SIGTERM or the end of the duration; then nothing is left running.

        Raises:
            FeedbackError: it cannot start, or a part ended by itself.
        """
        parts.require_addresses(self.settings, broker=self.embedded)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._told_to_stop)
        async with self._page() as page:
            try:
                await until_one_ends(self._work(page), self._parts.watch(), self._stop.wait())
            finally:
                self.say.quiet()
                self.say.line("Stopping ...")
                await self._parts.stop()

    async def _work(self, page: web.Application) -> None:
        await all_of(self._broker_and_worker(), self._store(), self._history(), self._first_scores(page))
        self._tell_addresses()
        works = [self.content.live(self._stop), self._stop.wait()]
        if self.duration is not None:
            works.append(asyncio.sleep(self.duration))
        await until_one_ends(*works)

    def _told_to_stop(self) -> None:
        if self._stop.is_set():
            self._parts.kill()  # asked twice: at once
        self._stop.set()

    @asynccontextmanager
    async def _page(self) -> AsyncIterator[web.Application]:
        app, listen = server.of(self.settings), self.settings.page.listen
        async with AsyncExitStack() as stack:
            async with self.say.step("page") as step:
                await stack.enter_async_context(server.listening(app, listen))
                step.detail = f"http://{server.reachable(listen)}"
            yield app

    async def _broker_and_worker(self) -> None:
        async with self.say.step("broker") as step:
            if self.embedded:
                self._parts.broker = parts.embedded_broker(self.settings)
                await self._ready("broker", self._parts.broker.start())
            await ensure(self.settings)
            step.detail = self.settings.kafka.bootstrap
        Folder(self.settings.worker.data_dir).write(self.owner)
        self._topics.set()
        worker = self._command("worker", self.settings.metrics.listen)
        await all_of(worker, self._command("gateway", self.settings.gateway.listen))

    async def _command(self, name: str, listen: Listen) -> None:
        async with self.say.step(name) as step:
            folder = Folder(self.settings.worker.data_dir)
            child = parts.command(name, folder.log(name), listen)
            child.start()
            await self._ready(name, child)
            step.detail = f"http://{server.reachable(listen)}"

    async def _store(self) -> None:
        async with self.say.step("store") as step:
            if self.settings.store.folder:
                self._parts.store = parts.embedded_store(self.settings)
                await self._ready("store", self._parts.store.start())
            await asyncio.to_thread(parts.make_tables, self.settings)
            step.detail = parts.store_address(self.settings)

    async def _ready(self, name: str, child: Child) -> None:
        self._parts.children[name] = child
        await asyncio.to_thread(child.wait_ready, START_SECONDS)

    async def _history(self) -> None:
        await self._topics.wait()
        await self.content.history()

    async def _first_scores(self, page: web.Application) -> None:
        if self.content.recent:
            async with self.say.step("scores") as step:
                await page[server.WATCH].scored.wait()
                step.detail = "the first ones are on the page"

    def _tell_addresses(self) -> None:
        settings, tell = self.settings, self.say.address
        gateway = f"http://{server.reachable(settings.gateway.listen)}/v1/events"
        metrics = f"http://{server.reachable(settings.metrics.listen)}/metrics"
        self.say.line()
        tell("Page", f"http://{server.reachable(settings.page.listen)}", "open this one")
        tell("Gateway", gateway, f"token {settings.gateway.tokens[0].get_secret_value()}")
        tell("Kafka", settings.kafka.bootstrap, "for the Python client and every Kafka producer")
        tell("Metrics", metrics, "for Prometheus")
        tell("ClickHouse", parts.store_address(settings), 'or: feedback query "SELECT * FROM csat LIMIT 5"')
        tell("Data", str(settings.worker.data_dir), "logs are in it too")
        self.say.line("\nCtrl-C ends everything; the next start goes on with the same data.")


async def until_one_ends(*works: Coroutine[Any, Any, Any]) -> None:
    """The others are cancelled; a failure is raised."""
    await _wait(works, asyncio.FIRST_COMPLETED)


async def all_of(*works: Coroutine[Any, Any, Any]) -> None:
    """Until all have ended; the first failure cancels the others and is raised as it is."""
    await _wait(works, asyncio.FIRST_EXCEPTION)


async def _wait(works: tuple[Coroutine[Any, Any, Any], ...], until: str) -> None:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=until)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
