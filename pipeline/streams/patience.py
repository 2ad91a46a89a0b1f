"""Waiting: for infrastructure with growing pauses for as long as an outage lasts, and always ready to stop."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from pipeline.errors import Away
from pipeline.journal.log import OutOfRange, Unknown

T = TypeVar("T")
log = logging.getLogger(__name__)
_LONGEST = 5.0
TROUBLE = (Unknown, OutOfRange, Away, KafkaError, ConnectionError, TimeoutError)


class GiveWay:
    """Work that can wait lets a recovery have the whole processor, but not for ever.

    Args:
        longest: seconds; one partition that cannot be recovered must not keep all others from being published.
        clock: seconds that never go back.
    """

    def __init__(self, longest: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._clock = clock
        self._since: float | None = None

    def to(self, *, recovery: bool) -> bool:
        """Whether to wait on; `recovery`: one is under way."""
        if not recovery:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
        return self._clock() - self._since < self._longest


class Stopped(Exception):
    """The worker stops; what was waited for did not come."""


async def until(stop: asyncio.Event, call: Coroutine[Any, Any, T]) -> T:
    """The result of `call`; once `stop` is set only if it is there already.

    Raises:
        Stopped: it was not.
    """
    task, stopped = asyncio.create_task(call), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        task.cancel()  # which does nothing to one that is done
    try:
        return await task
    except asyncio.CancelledError:
        if stop.is_set():
            raise Stopped from None
        raise


async def sleep(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but wake up to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def either(work: asyncio.Event, stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but wake up to work, or to stop."""
    waits = [asyncio.create_task(work.wait()), asyncio.create_task(stop.wait())]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def persist(
    call: Callable[..., Awaitable[T]], what: str, *args: Any, stopped: Callable[[], bool] = lambda: False
) -> T:
    """The result of `call(*args)`, however long the broker is away.

    Args:
        call: what to try.
        what: names it in the log.
        args: of the call.
        stopped: once it says so, a failed attempt is the last one.
    """
    attempt = 0
    while True:
        try:
            result = await call(*args)
        except TROUBLE as error:
            if stopped():
                raise
            pause = min(_LONGEST, 0.1 * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
            if attempt in (0, 5) or attempt % 20 == 19:
                log.warning(
                    "waiting for the broker", extra={"what": what, "error": str(error), "attempt": attempt}
                )
            attempt += 1
            await asyncio.sleep(pause)
        else:
            if attempt:
                log.info("the broker answers again", extra={"what": what, "attempts": attempt})
            return result
