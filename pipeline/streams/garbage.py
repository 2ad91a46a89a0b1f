"""Searches for garbage that keeps itself alive, at times of our own.

Python searches by itself once so many more objects were made than freed, and that is in the middle of a tick or a
batch: these make tens of thousands, and free them again. With 50,000 series one such search took 80 to 150 ms. Counting
makes no reference cycles; errors and connections do, and can wait.
"""

from __future__ import annotations

import asyncio
import gc
import time

from pipeline.streams.patience import sleep

_YOUNG = 10.0  # seconds; most objects that live on do so for good, so only those made since are looked at
_ALL = 3600.0  # seconds; some 0.1 s with 50,000 series
_TOO_MANY = 1_000_000  # objects: Python searches at once, whoever has to wait


def search_seldom() -> None:
    """From now on `search` does it. What has been imported by now is never looked at again."""
    gc.freeze()
    gc.set_threshold(_TOO_MANY, 10, 10)


async def search(stop: asyncio.Event) -> None:
    """Every few seconds among young objects, every hour among all, until `stop`."""
    everything = time.monotonic() + _ALL
    while not stop.is_set():
        await sleep(stop, _YOUNG)
        if time.monotonic() < everything:
            gc.collect(1)
        else:
            gc.collect()
            everything = time.monotonic() + _ALL
