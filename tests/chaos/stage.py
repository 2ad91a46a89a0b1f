"""`Stage`: everything that takes part in a round: Apache Kafka, the store and the workers, each a process to attack."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config import Settings
from pipeline.embedded.apache import ApacheKafka
from pipeline.embedded.process import Child, free_port
from pipeline.embedded.store import EmbeddedStore, open_store
from pipeline.embedded.store import answers as store_answers
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.chaos.proxy import Proxy
from tests.support.stores import set_up
from tests.support.tables import environment, merged

SESSION = 3.0  # seconds; a frozen worker loses its partitions after that
WORKER = ("-m", "pipeline", "worker")
# The broker allows short sessions, and takes itself back three seconds after a SIGKILL and not nine.
_BROKER = {
    "group.min.session.timeout.ms": "1000",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
_NEVER_STARTED = "it was never started"


class Member:
    """One process that can be attacked. `free` is held by whoever does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.free = asyncio.Lock()
        self.child: Child | None = None

    @property
    def running(self) -> bool:
        """Started and not ended; it may be frozen."""
        return self.child is not None and self.child.running

    @property
    def code(self) -> int | None:
        """Exit code, if it has ended."""
        return self.child.code if self.child else None

    def start(self) -> None:
        """Start it, without waiting."""
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.child is not None:
            self.child.kill()

    def send(self, number: int) -> None:
        """A signal to the process alone."""
        if self.running:
            assert self.child is not None, _NEVER_STARTED
            os.kill(self.child.pid, number)

    async def ready(self, seconds: float = 120.0) -> None:
        """Wait until it can be used."""
        assert self.child is not None, _NEVER_STARTED
        await asyncio.to_thread(self.child.wait_ready, seconds)

    async def end(self, seconds: float = 30.0) -> int | None:
        """SIGTERM; the exit code, or None if it had to be killed."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        for _ in range(round(seconds * 20)):
            if not self.running:
                return self.code
            await asyncio.sleep(0.05)
        self.kill()
        return None


class Broker(Member):
    """Apache Kafka."""

    def __init__(self, jars: Path, folder: Path, proxied: dict[int, int]) -> None:
        super().__init__("broker")
        self.kafka = ApacheKafka(jars, folder, proxied=proxied, more=_BROKER)

    def start(self) -> None:
        """Again in the same folder, if it was there before."""
        self.kafka.stop()  # lets go of its folder
        self.child = self.kafka.start(heap="512m")


class Store(Member):
    """The embedded store, which nobody but us starts again."""

    def __init__(self, folder: Path) -> None:
        super().__init__("store")
        self.token = secrets.token_hex(16)
        self.embedded = EmbeddedStore(folder, port=free_port(), token=self.token)

    @property
    def table(self) -> dict[str, str]:
        """Of the configuration: it looks like a server's, so that no worker starts one."""
        return {"dsn": f"http://writer:{self.token}@127.0.0.1:{self.embedded.port}/feedback"}

    def start(self) -> None:
        """Again in the same folder, if it was there before."""
        self.child = self.embedded.start()


class KeptStore(Member):
    """The embedded store as the child of whichever worker found none, as it is by default."""

    def __init__(self, folder: Path) -> None:
        super().__init__("store")
        self._folder = folder
        self._port = free_port()

    @property
    def table(self) -> dict[str, str]:
        """Of the configuration."""
        return {"dsn": f"chdb://{self._folder}", "http": f"127.0.0.1:{self._port}"}

    @property
    def pid(self) -> int | None:
        """Of the process that holds the folder; None between two."""
        with suppress(OSError, ValueError):
            pid = int((self._folder / "lock").read_text())
            if str(self._folder) in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        return None

    @property
    def running(self) -> bool:
        """There is one; it may be frozen."""
        return self.pid is not None

    def start(self) -> None:
        """That is for the workers to do."""

    def kill(self) -> None:
        """SIGKILL."""
        self.send(signal.SIGKILL)

    def send(self, number: int) -> None:
        """A signal to the process that there is now."""
        pid = self.pid
        with suppress(ProcessLookupError):
            if pid is not None:
                os.kill(pid, number)

    async def ready(self, seconds: float = 120.0) -> None:
        """Wait until a worker has started one."""
        for _ in range(round(seconds * 5)):
            if await asyncio.to_thread(store_answers, "127.0.0.1", self._port):
                return
            await asyncio.sleep(0.2)
        msg = "no worker has started the store"
        raise AssertionError(msg)


class Worker(Member):
    """A `feedback worker` that reaches the broker by a proxy of its own.

    Args:
        number: from 0.
        tables: the configuration that all workers have in common.
        proxy: its way to the broker.
        folder: of its log.
        program: arguments of python.
    """

    def __init__(
        self,
        number: int,
        tables: Mapping[str, Any],
        proxy: Proxy,
        folder: Path,
        program: Sequence[str] = WORKER,
    ) -> None:
        super().__init__(f"worker {number}")
        self.proxy = proxy
        self.listen = f"127.0.0.1:{free_port()}"
        self.log = folder / f"worker-{number}.log"
        self.program = program
        own = {"kafka": {"bootstrap": f"127.0.0.1:{proxy.port}"}, "metrics": {"listen": self.listen}}
        self.environment = {**os.environ, **environment(merged(tables, own))}

    def start(self, *more: str) -> None:
        """A new process; the same slot of the data folder, and so the same name in the consumer group."""
        command = [sys.executable, *self.program, *more]
        self.child = Child(
            self.name, command, self.log, partial(answers, self.url("readyz")), env=self.environment
        )
        self.child.start()

    def url(self, path: str) -> str:
        """Of its HTTP server."""
        return f"http://{self.listen}/{path}"


class Stage:
    """Where a round takes place.

    Attributes:
        counts: what was done to it, by name.
        failures: what a process did that it must never do.

    Args:
        jars: of Apache Kafka.
        folder: of everything that is written.
        workers: how many.
        program: what python runs as a worker.
        kept: the workers look after the store; otherwise it is one of its own.
        more: tables of the configuration.
    """

    def __init__(
        self,
        jars: Path,
        folder: Path,
        workers: int,
        program: Sequence[str] = WORKER,
        *,
        kept: bool = False,
        **more: Any,
    ) -> None:
        ways = [(free_port(), free_port()) for _ in range(workers)]
        self.folder = folder
        self.broker = Broker(jars, folder / "broker", dict(ways))
        self.store = (KeptStore if kept else Store)(folder / "store")
        own = {
            "kafka": {"bootstrap": self.broker.kafka.bootstrap, "session_timeout": f"{SESSION}s"},
            "store": self.store.table,
            "worker": {"data_dir": str(folder / "data"), "snapshot_mb": 0.2},  # snapshots between two kills
        }
        tables = merged(own, more)
        self.settings = Settings(**tables)
        self.topics = Topics(self.settings.kafka.prefix)
        proxies = [Proxy(outer, inner) for inner, outer in ways]
        self.workers = [Worker(k, tables, proxy, folder, program) for k, proxy in enumerate(proxies)]
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Broker, store, topics, tables and proxies are there; workers are not started. All ends with the block."""
        try:
            self.broker.start()
            self.store.start()
            with open_store(self.settings):
                if isinstance(self.store, Store):
                    await self.store.ready()
                await asyncio.to_thread(set_up, self.settings)
            await self.broker.ready()
            await ensure(self.settings)
            for worker in self.workers:
                await worker.proxy.start()
            yield
        finally:
            for worker in self.workers:
                await worker.end(5.0)
                await worker.proxy.stop()
            for member in (self.store, self.broker):
                if member.running:
                    await member.end(10.0)
            self.broker.kafka.stop()

    def revive(self, worker: Worker) -> None:
        """Start a worker; one that had ended by itself is a failure."""
        self.look(worker)
        if not worker.running:
            self.counts["starts"] += 1
            worker.start()

    def look(self, worker: Worker) -> None:
        """Has it ended without having been asked to?"""
        if worker.child is not None and worker.code not in (None, 0, -signal.SIGKILL, -signal.SIGTERM):
            self.failures.append(f"{worker.name} ended by itself with {worker.code}, see {worker.log}")
            worker.child = None


def answers(url: str) -> bool:
    """Whether there is a page with status 200."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=2.0):
        return True
    return False
