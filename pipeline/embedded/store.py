"""The embedded store: chDB behind its HTTP door, as a process of its own, since chDB lets only one process in.

    python -m pipeline.embedded.store --folder DIR --listen HOST:PORT

A token in FEEDBACK_STORE__TOKEN replaces the one that is made in the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.embedded.process import Child, InUse, Lock
from pipeline.errors import FeedbackError

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.stores.door.engine import Engine

log = logging.getLogger(__name__)
TOKEN_VARIABLE = "FEEDBACK_STORE__TOKEN"  # noqa: S105 - the name of the variable
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_BACKLOG = 128
IN_USE = 75  # exit code of a store whose folder another one has
_OTHERS_SECONDS = 20.0
_LOOK_SECONDS = 0.5


class EmbeddedStore:
    """One store as a child process.

    Args:
        folder: where it keeps its data, its token and its log.
        host: address to listen on, of the loopback.
        port: its port.
        token: password of user `writer`; if not given, the one of the folder, made at first start.
    """

    def __init__(
        self, folder: Path, host: str = "127.0.0.1", port: int = 8123, token: str | None = None
    ) -> None:
        self.folder = folder
        self.host = host
        self.port = port
        self._token = token
        self._child: Child | None = None

    def start(self) -> Child:
        """Start it; `wait_ready` of the child tells when it answers."""
        command = [sys.executable, "-m", "pipeline.embedded.store", "--folder", str(self.folder)]
        command += ["--listen", f"{self.host}:{self.port}"]
        env = os.environ | ({TOKEN_VARIABLE: self._token} if self._token else {})
        ready: Callable[[], bool] = lambda: answers(self.host, self.port)  # noqa: E731 - one line, and typed
        child = Child("the store", command, self.folder / "store.log", ready, env=env)
        child.start()
        self._child = child
        return child

    def stop(self, grace: float = 10.0) -> None:
        """End it; everything acknowledged is on disk anyway."""
        if self._child is not None:
            self._child.stop(grace)


def ensure_store(settings: Settings) -> EmbeddedStore | None:
    """Start the embedded store if the configuration wants one and none answers.

    Returns:
        The one started, to be stopped by the caller; None if there is nothing to start.

    Raises:
        FeedbackError: it could not be started.
    """
    folder, listen = settings.store.folder, settings.store.http
    if folder is None or answers(listen.host, listen.port):
        return None
    token = settings.store.token
    end = time.monotonic() + _OTHERS_SECONDS
    while True:
        store = EmbeddedStore(folder, listen.host, listen.port, token.get_secret_value() if token else None)
        child = store.start()
        try:
            child.wait_ready()
        except FeedbackError:
            # workers that start at one moment all find none: who lost the race uses the winner's, if that lives on
            if answers(listen.host, listen.port):
                return None
            if child.code != IN_USE or time.monotonic() > end:
                raise
            time.sleep(_LOOK_SECONDS)
        else:
            return store
        if answers(listen.host, listen.port):
            return None


@contextmanager
def open_store(settings: Settings) -> Iterator[None]:
    """A store that answers for as long as the block runs; started if need be, and then ended again."""
    started = ensure_store(settings)
    try:
        yield
    finally:
        if started is not None:
            started.stop()


def answers(host: str, port: int) -> bool:
    """Whether a ClickHouse HTTP interface answers there."""
    connection = http.client.HTTPConnection(host, port, timeout=1.0)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/ping")
        return connection.getresponse().read(4) == b"Ok.\n"
    return False


def serve(
    folder: Path, host: str, port: int, token: str | None = None, *, ready: Callable[[str], None]
) -> None:
    """Be the store until SIGTERM or SIGINT.

    Args:
        folder: where the data is.
        host: address to listen on, of the loopback.
        port: its port.
        token: password of user `writer`; the one of the folder if not given.
        ready: called with the address once queries are answered.

    Raises:
        FeedbackError: the address is taken or not of the loopback, or another process has the folder.
    """
    folder.mkdir(
        parents=True, exist_ok=True, mode=0o700
    )  # everybody may ask, but the files hold every comment
    # The folder before the port: whoever starts one sees by it that another was quicker, and waits for that one.
    lock = Lock(folder, "the store's data")
    with _bound(host, port) as listener:
        asyncio.run(_serve(folder, host, listener, token, ready))
    lock.release()


async def _serve(
    folder: Path, host: str, listener: socket.socket, token: str | None, ready: Callable[[str], None]
) -> None:
    from aiohttp import web

    from pipeline.stores.door.access import token_of
    from pipeline.stores.door.app import Door

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine = await asyncio.to_thread(_opened, folder)
    runner = Door(engine, token or token_of(folder), host).runner()
    await runner.setup()
    try:
        # Listen only now: a client that comes too early is refused at once instead of waiting.
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        ready(f"{host}:{listener.getsockname()[1]}")
        await stop.wait()
    finally:
        await runner.cleanup()
        await asyncio.to_thread(engine.close)


def _opened(folder: Path) -> Engine:
    """The engine with our database in it, so that a client that names it can ask whether there are tables."""
    from pipeline.stores.door.engine import Engine, Statement

    engine = Engine(folder)
    for _ in engine.run(Statement(b"CREATE DATABASE IF NOT EXISTS feedback", readonly=False)):
        pass
    return engine


def _bound(host: str, port: int) -> socket.socket:
    if host not in _LOOPBACK:
        msg = f"the embedded store lets everybody read, so it listens on 127.0.0.1 only: set store.http, not {host}"
        raise FeedbackError(msg)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        msg = (
            f"the store cannot listen on {host}:{port} ({fault.strerror}): "
            "stop what listens there, or set store.http to another address"
        )
        raise FeedbackError(msg) from fault
    return listener


def main() -> int:
    """The command line of the child process."""
    from pipeline import logs

    parser = argparse.ArgumentParser(
        prog="python -m pipeline.embedded.store", description="The embedded store."
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1:8123")
    given = parser.parse_args()
    logs.setup()
    host, _, port = given.listen.rpartition(":")
    try:
        serve(
            given.folder,
            host.strip("[]"),
            int(port),
            os.environ.get(TOKEN_VARIABLE),
            ready=lambda address: log.info("the store answers", extra={"address": address}),
        )
    except FeedbackError as fault:
        log.error(str(fault))  # noqa: TRY400 - a sentence for people, not a bug
        return IN_USE if isinstance(fault, InUse) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
