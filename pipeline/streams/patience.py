"""Waiting for infrastructure: retry with growing pauses for as long as an outage lasts, and say so."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from pipeline.errors import Away
from pipeline.journal.log import OutOfRange, Unknown

T = TypeVar("T")
log = logging.getLogger(__name__)
_LONGEST = 5.0
TROUBLE = (Unknown, OutOfRange, Away, KafkaError, ConnectionError, TimeoutError)


class Stopped(Exception):
    """The worker stops; what was waited for did not come."""


async def until(stop: asyncio.Event, call: Coroutine[Any, Any, T]) -> T:
    """The result of `call`; once `stop` is set only if it is there already.

    Raises:
        Stopped: it was not.
    """
    task, stopped = asyncio.create_task(call), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        if stop.is_set():
            raise Stopped from None
        raise


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
