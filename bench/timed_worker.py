"""`python -m bench.timed_worker FILE ARGUMENTS`: `feedback ARGUMENTS`, which writes what each tick of the roll took.

A line of JSON a tick: when it began (seconds since 1970), the CPU milliseconds that it took of the event loop, the
longest that it held the loop at once (milliseconds by the clock, so others on the machine count in), and how many
records it sent.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from pipeline.cli.commands import run
from pipeline.streams.roll import Roll


class Held:
    """How long pieces of work held the loop."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.longest = 0.0


_tick: ContextVar[Held] = ContextVar("tick")


class Timed:
    """An awaitable whose steps count in the tick of their context."""

    def __init__(self, inner: Awaitable[Any]) -> None:
        self._inner = inner

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, held = self._inner.__await__(), _tick.get()
        while True:
            cpu, clock = time.thread_time(), time.monotonic()
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            finally:
                held.cpu += time.thread_time() - cpu
                held.longest = max(held.longest, time.monotonic() - clock)
            yield step


def timed(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same method, whose steps count."""

    async def inner(*args: Any) -> Any:
        return await Timed(call(*args))

    return inner


def told(tick: Callable[..., Awaitable[int]], out: TextIO) -> Callable[..., Awaitable[int]]:
    """The same tick, which is written down."""

    async def inner(*args: Any) -> int:
        held, at = Held(), time.time()
        _tick.set(held)
        sent = int(await Timed(tick(*args)))
        line = {"at": at, "cpu": held.cpu * 1e3, "longest": held.longest * 1e3, "sent": sent}
        out.write(json.dumps(line) + "\n")
        return sent

    return inner


if __name__ == "__main__":
    file = Path(sys.argv.pop(1)).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115 - as long as the process
    # what is published runs in tasks of its own, so it is timed by itself
    Roll._publish = timed(Roll._publish)  # type: ignore[method-assign]  # the worker as it is, watched
    Roll.tick = told(Roll.tick, file)  # type: ignore[method-assign]  # the worker as it is, watched
    run()
