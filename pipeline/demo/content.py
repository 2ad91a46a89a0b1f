"""What the demo sends through the pipeline: sample traffic, a file of history, or nothing."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aiokafka import AIOKafkaProducer

from pipeline.client.registry import heads_of
from pipeline.config import Settings
from pipeline.demo.folder import Folder, Owner
from pipeline.demo.say import Say
from pipeline.sample.feed import Feed, Target
from pipeline.streams.connection import client_options
from pipeline.streams.topics import Topics

BATCH_BYTES = 512 * 1024


class Content(Protocol):
    """What a demo shows."""

    @property
    def recent(self) -> bool:
        """It reaches up to now, so that scores appear on the page."""
        ...

    async def history(self) -> None:
        """Send everything up to now; the topics exist."""
        ...

    async def live(self, stop: asyncio.Event) -> None:
        """Send what happens from now on, until `stop`."""
        ...


class Nothing:
    """Others send."""

    recent = False

    async def history(self) -> None:
        """Nothing."""

    async def live(self, stop: asyncio.Event) -> None:
        """Nothing."""
        await stop.wait()


class Sample:
    """The sample traffic: a day of history at the first start, what was missed at a later one, then live."""

    recent = True

    def __init__(self, settings: Settings, rate: float, say: Say) -> None:
        self._settings, self._rate, self._say = settings, rate, say

    async def history(self) -> None:
        """As fast as the broker takes it."""
        async with self._say.step("history") as step, self._feed() as feed:
            await feed.catch_up(lambda share: self._say.goes_on(step, f"{share:.0%}"))
            step.detail = f"{feed.sent:,} events, up to now"

    async def live(self, stop: asyncio.Event) -> None:
        """At the rate asked for."""
        async with self._feed() as feed:
            await feed.live(stop)

    @asynccontextmanager
    async def _feed(self) -> AsyncIterator[Feed]:
        kafka = self._settings.kafka
        topics = Topics(kafka.prefix)
        names = {"responses": topics.responses, "touchpoints": topics.touchpoints}
        options = client_options(self._settings)
        heads = await heads_of(self._settings.registry_url, kafka.prefix)
        async with AIOKafkaProducer(**options, acks="all", max_batch_size=BATCH_BYTES) as producer:
            path = Folder(self._settings.worker.data_dir).sample
            target = Target(producer, names, kafka.partitions, heads)
            yield Feed(target, path, self._rate, _milliseconds)


class Replay:
    """A file of history, sent once by `feedback replay`; a later start goes on with what is there."""

    recent = False

    def __init__(self, folder: Folder, owner: Owner, file: Path, mapping: Path, say: Say) -> None:
        self._folder, self._owner = folder, owner
        self._file, self._mapping, self._say = file, mapping, say

    async def history(self) -> None:
        """With the progress bar of `feedback replay`, which has the terminal meanwhile."""
        if self._owner.sent:
            self._say.line(f"  {self._file.name} was replayed at an earlier start.")
            return
        with self._say.handed_over():
            code = await self._replay()
        if code == 0:
            self._folder.write(replace(self._owner, sent=True))
        else:
            self._say.line("  Not every row was sent (see above); the next start tries again.")

    async def _replay(self) -> int:
        program = [sys.executable, "-m", "pipeline", "--log-level", "warning"]
        command = [*program, "replay", str(self._file), "--map", str(self._mapping)]
        process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def live(self, stop: asyncio.Event) -> None:
        """Nothing: history has an end."""
        await stop.wait()


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
