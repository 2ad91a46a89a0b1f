"""`Feedback` for ordinary code, `AsyncFeedback` for asyncio: they take events at once and send them later."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from pipeline.client.calls import Calls
from pipeline.client.errors import ClosedError, DeliveryError
from pipeline.client.message import Message
from pipeline.client.producer import Target
from pipeline.client.transport import Delivery, Transport

log = logging.getLogger(__name__)
T = TypeVar("T")

OnDelivery = Callable[[Delivery], None]


class Feedback(Calls[str]):
    """Sends events from any thread. A context manager; without `with`, call `close()` at the end.

    A call returns as soon as the event is in the buffer; a background thread sends it. While the broker is
    away events wait in the buffer, and the client goes on trying for ever. When the buffer is full a call
    waits `block_seconds` for room and then raises `BufferFullError`: that event was not taken. `flush()` and
    `close()` wait for the acknowledgements and raise `DeliveryError`, with the ids, for what got none.
    Nothing is dropped in silence; only a killed process loses what is in its buffer.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        source: str,
        prefix: str = "feedback",
        buffer_bytes: int = 32 * 1024 * 1024,
        block_seconds: float = 5.0,
        close_seconds: float = 10.0,
        on_delivery: OnDelivery | None = None,
        security: Mapping[str, Any] | None = None,
        registry_url: str = "",
    ) -> None:
        """Start to connect; this never waits for the broker.

        Args:
            bootstrap: the broker's host:port, several separated by commas.
            source: the app that sends.
            prefix: of the topics, as `kafka.prefix` of the pipeline.
            buffer_bytes: how much may wait for the broker; a small event takes about 800 bytes.
            block_seconds: how long a call may wait for room.
            close_seconds: how long leaving the `with` block may wait for acknowledgements.
            on_delivery: called in the background thread for each acknowledged event; it must be quick.
            security: further arguments of aiokafka's producer (security_protocol, ssl_context, sasl_...).
            registry_url: of a schema registry, as `registry_url` of the pipeline; events wait until it has given ids.
        """
        super().__init__(source)
        self._block_seconds, self._close_seconds = block_seconds, close_seconds
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._loop = _Loop()
        target = Target(bootstrap, prefix, buffer_bytes, security or {}, registry_url)
        self._transport = self._loop.run(_make(target, on_delivery))
        atexit.register(self._close_at_exit)

    @property
    def trouble(self) -> str | None:
        """Why nothing gets through at the moment; None while all is well."""
        return self._transport.trouble

    def send(self, message: Message) -> str:
        """Take an event; returns its id.

        Raises:
            BufferFullError: no room within `block_seconds`.
            ClosedError: the client is closed, or was made before this process was forked.
        """
        if os.getpid() != self._process:
            because = "was made before a fork and has no thread here: make one in each process"
            raise ClosedError(because)
        if not self._transport.offer([message]):
            self._loop.run(self._transport.accept([message], self._block_seconds))
        return message.id

    def flush(self, seconds: float = 10.0) -> None:
        """Wait until everything sent so far is acknowledged.

        Raises:
            DeliveryError: it is not, within `seconds`; what is late goes on being sent.
        """
        self._loop.run(self._transport.flush(seconds))

    def close(self, seconds: float | None = None) -> None:
        """Flush and end the background thread. A second call does nothing.

        Raises:
            DeliveryError: what was not acknowledged; it is not sent any more.
        """
        with self._lock:
            if self._loop.ended or os.getpid() != self._process:
                return
            atexit.unregister(self._close_at_exit)
            try:
                self._loop.run(self._transport.close(self._close_seconds if seconds is None else seconds))
            finally:
                self._loop.end()

    def _close_at_exit(self) -> None:
        """Somebody forgot to close: what is not delivered is at least in the log."""
        try:
            self.close()
        except DeliveryError as fault:
            log.error("lost at exit: %s", fault)  # noqa: TRY400 - where it was raised says nothing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            self.close()
        except DeliveryError as late:
            if fault is None:
                raise
            fault.add_note(str(late))  # the app's own exception goes first


class AsyncFeedback(Calls[Awaitable[str]]):
    """The same for asyncio, `async with AsyncFeedback(...) as feedback: await feedback.csat(...)`.

    Awaiting a call means that the event is in the buffer, not that it is acknowledged: that is `flush()`.
    Arguments and errors are those of `Feedback`; it connects on entering the `async with` block.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        source: str,
        prefix: str = "feedback",
        buffer_bytes: int = 32 * 1024 * 1024,
        block_seconds: float = 5.0,
        close_seconds: float = 10.0,
        on_delivery: OnDelivery | None = None,
        security: Mapping[str, Any] | None = None,
        registry_url: str = "",
    ) -> None:
        """As `Feedback`; `on_delivery` is called in the event loop."""
        super().__init__(source)
        self._block_seconds, self._close_seconds = block_seconds, close_seconds
        self._target = Target(bootstrap, prefix, buffer_bytes, security or {}, registry_url)
        self._on_delivery = on_delivery
        self._transport: Transport | None = None

    async def send(self, message: Message) -> str:
        """Take an event; returns its id. Raises as `Feedback.send`."""
        await self._open().accept([message], self._block_seconds)
        return message.id

    async def flush(self, seconds: float = 10.0) -> None:
        """Wait until everything sent so far is acknowledged. Raises as `Feedback.flush`."""
        await self._open().flush(seconds)

    async def close(self, seconds: float | None = None) -> None:
        """Flush and let go of the broker. Raises as `Feedback.close`."""
        if self._transport:
            await self._transport.close(self._close_seconds if seconds is None else seconds)

    def _open(self) -> Transport:
        if self._transport is None:
            because = "is not open: use it in an `async with` block"
            raise ClosedError(because)
        return self._transport

    async def __aenter__(self) -> Self:
        self._transport = await _make(self._target, self._on_delivery)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except DeliveryError as late:
            if fault is None:
                raise
            fault.add_note(str(late))


async def _make(target: Target, on_delivery: OnDelivery | None) -> Transport:
    return Transport(target, on_delivery)


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._serve, name="feedback", daemon=True)
        self._thread.start()
        self._loop = self._ready.result()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def _serve(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._end = asyncio.Event()
        self._ready.set_result(asyncio.get_running_loop())
        await self._end.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the loop and wait for it."""
        if self.ended:
            work.close()
            raise ClosedError
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
