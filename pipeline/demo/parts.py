"""The child processes of the demo, and how each says that it works."""

from __future__ import annotations

import asyncio
import http.client
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import Listen, Settings
from pipeline.config.values import parse_listen
from pipeline.demo.folder import Folder
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.process import Child, require_free
from pipeline.embedded.store import EmbeddedStore
from pipeline.errors import FeedbackError

LAST_LINES = 12
FIRST_GRACE = 5.0  # seconds for worker and gateway, which still talk to broker and store
LAST_GRACE = 3.0  # then for broker and store; both sums stay below ten seconds
LOOK_EVERY = 0.25


@dataclass
class Parts:
    """What runs. Started from the main thread, since a child is told when the thread that started it ends."""

    broker: EmbeddedBroker | None = None
    store: EmbeddedStore | None = None
    children: dict[str, Child] = field(default_factory=dict)

    async def watch(self) -> None:
        """Until one of them ends by itself.

        Raises:
            FeedbackError: which one, and the last lines of its log.
        """
        while all(child.running for child in self.children.values()):  # noqa: ASYNC110 - processes have no event
            await asyncio.sleep(LOOK_EVERY)
        name, child = next((name, child) for name, child in self.children.items() if not child.running)
        msg = f"the {name} ended by itself, so the demo ends too.{last_lines(child.log)}"
        raise FeedbackError(msg)

    async def stop(self) -> None:
        """End all of them, who depends on others first; one that hangs is killed."""
        first = [child for name, child in self.children.items() if name not in ("broker", "store")]
        await asyncio.gather(*(asyncio.to_thread(child.stop, FIRST_GRACE) for child in first))
        last = [part for part in (self.store, self.broker) if part]
        await asyncio.gather(*(asyncio.to_thread(part.stop, LAST_GRACE) for part in last))

    def kill(self) -> None:
        """End all of them at once."""
        for child in self.children.values():
            child.kill()


def last_lines(log: Path) -> str:
    """The end of a log, for a message."""
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:] if log.exists() else []
    return f" Its log, {log}, ends with:\n" + "\n".join(f"  {line}" for line in lines)


def command(name: str, log: Path, listen: Listen) -> Child:
    """`feedback NAME` as a child that is ready when its /readyz says so."""
    program = [sys.executable, "-m", "pipeline", "--log-json", name]
    return Child(f"the {name}", program, log, _answers(listen, "/readyz"))


def embedded_broker(settings: Settings) -> EmbeddedBroker:
    """The broker at the first address of kafka.bootstrap."""
    listen = parse_listen(settings.kafka.bootstrap.split(",")[0])
    return EmbeddedBroker(Folder(settings.worker.data_dir).broker, listen.host, listen.port)


def embedded_store(settings: Settings) -> EmbeddedStore:
    """The store at store.http."""
    assert settings.store.folder  # noqa: S101 - asked before, for mypy
    token = settings.store.token
    listen = settings.store.http
    password = token.get_secret_value() if token else None
    return EmbeddedStore(settings.store.folder, listen.host, listen.port, password)


def store_address(settings: Settings) -> str:
    """Where the store is; its client is imported by now."""
    from pipeline.stores.client import place

    return place(settings)


def make_tables(settings: Settings) -> None:
    """Bring the store to this version; it answers."""
    from pipeline.stores.client import connect
    from pipeline.stores.migrate import bring_up

    client = connect(settings, write=True, database="default")
    try:
        bring_up(client, settings)
    finally:
        client.close()


def require_addresses(settings: Settings, *, broker: bool) -> None:
    """Refuse every address that is taken, before anything is started.

    Raises:
        FeedbackError: with all of them.
    """
    wanted = [
        ("the page", "page.listen", settings.page.listen),
        ("the gateway", "gateway.listen", settings.gateway.listen),
        ("the worker", "metrics.listen", settings.metrics.listen),
    ]
    if settings.store.folder:
        wanted.append(("the store", "store.http", settings.store.http))
    if broker:
        listen = parse_listen(settings.kafka.bootstrap.split(",")[0])
        wanted.append(("the embedded broker", "kafka.bootstrap", listen))
    faults = [fault for what, key, listen in wanted if (fault := _taken(listen, what, key))]
    if faults:
        raise FeedbackError("\n".join(faults))


def _taken(listen: Listen, what: str, key: str) -> str:
    try:
        require_free(listen.host, listen.port, what, key)
    except FeedbackError as fault:
        return str(fault)
    return ""


def _answers(listen: Listen, path: str) -> Callable[[], bool]:
    def ask() -> bool:
        connection = http.client.HTTPConnection(listen.host, listen.port, timeout=1.0)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

    return ask
