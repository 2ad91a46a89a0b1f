"""`Apart`: the same work for several, none of which waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class Apart(Generic[K, T]):
    """One call at a time for each: whoever is not done yet is waited for no longer, and left out until it is.

    Args:
        call: the work; for whom.
        patience: seconds to wait for all of them.
    """

    def __init__(self, call: Callable[[K], Coroutine[Any, Any, T]], patience: float) -> None:
        self._call = call
        self._patience = patience
        self._going: dict[K, asyncio.Task[T]] = {}

    async def each(self, ones: Iterable[K]) -> list[T]:
        """The results of those that are done by now. What goes wrong is raised here, at the latest the next time."""
        for one in ones:
            if one not in self._going:
                self._going[one] = asyncio.create_task(self._call(one))
        if not self._going:
            return []
        await asyncio.wait(self._going.values(), timeout=self._patience)
        done = [one for one, task in self._going.items() if task.done()]
        return [self._going.pop(one).result() for one in done]
