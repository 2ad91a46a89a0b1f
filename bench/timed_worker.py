"""`python -m bench.timed_worker FILE ARGUMENTS`: `feedback ARGUMENTS`, which writes what each tick of the roll took.

A line of JSON a tick: when it began (seconds since 1970), the CPU milliseconds that it took of the event loop, those of
them that went into collections of garbage, the longest that it held the loop at once (milliseconds by the clock, so
others on the machine count in), and how many records it sent. And a line a collection: when, its generation, what it
took (CPU milliseconds), how much it found, whether it was the event loop that had to do it.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
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
        self.garbage = 0.0  # of `cpu`, in collections
        self.longest = 0.0


class Collections:
    """What every collection of garbage took, of this thread and of all."""

    def __init__(self) -> None:
        self._lines: list[dict[str, float]] = []
        self.mine = 0.0
        self._loop = threading.get_ident()
        self._began = 0.0

    def __call__(self, phase: str, about: dict[str, int]) -> None:
        """For `gc.callbacks`. Nobody else runs in between: whoever collects holds the lock of the interpreter."""
        now = time.thread_time()
        if phase == "start":
            self._began = now
            return
        took, mine = now - self._began, threading.get_ident() == self._loop
        self.mine += took if mine else 0.0
        line = {"at": time.time(), "cpu": took * 1e3, "found": about["collected"], "loop": mine}
        self._lines.append({"generation": about["generation"], **line})

    def take(self) -> list[dict[str, float]]:
        """A line each since the last call."""
        lines, self._lines = self._lines, []
        return lines


_tick: ContextVar[Held] = ContextVar("tick")
_collections = Collections()


class Timed:
    """An awaitable whose steps count in the tick of their context."""

    def __init__(self, inner: Awaitable[Any]) -> None:
        self._inner = inner

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, held = self._inner.__await__(), _tick.get()
        while True:
            cpu, clock, garbage = time.thread_time(), time.monotonic(), _collections.mine
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            finally:
                held.cpu += time.thread_time() - cpu
                held.garbage += _collections.mine - garbage
                held.longest = max(held.longest, time.monotonic() - clock)
            yield step


def timed(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same method, whose steps count."""

    async def inner(*args: Any) -> Any:
        return await Timed(call(*args))

    return inner


def told(tick: Callable[..., Awaitable[int]], out: TextIO) -> Callable[..., Awaitable[int]]:
    """The same tick, which is written down, with the collections since the last one."""

    async def inner(*args: Any) -> int:
        held, at = Held(), time.time()
        _tick.set(held)
        sent = int(await Timed(tick(*args)))
        line = {"at": at, "cpu": held.cpu * 1e3, "garbage": held.garbage * 1e3, "longest": held.longest * 1e3}
        found = [*_collections.take(), {**line, "sent": sent}]
        out.writelines(json.dumps(one) + "\n" for one in found)
        return sent

    return inner


if __name__ == "__main__":
    file = Path(sys.argv.pop(1)).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115 - as long as the process
    gc.callbacks.append(_collections)
    # what is published runs in tasks of its own, so it is timed by itself
    Roll._publish = timed(Roll._publish)  # type: ignore[method-assign]  # the worker as it is, watched
    Roll.tick = told(Roll.tick, file)  # type: ignore[method-assign]  # the worker as it is, watched
    run()
