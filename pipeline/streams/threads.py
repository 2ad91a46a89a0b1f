"""Threads for what takes long, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pipeline.journal.journal import Run


def own_thread(name: str) -> Run:
    """Calls one after another in a thread of its own. Several would mostly wait for each other's interpreter lock."""
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(function, *args))

    return run
