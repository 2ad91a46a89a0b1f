"""One touchpoint looked at closely: asked of the workers only while somebody looks, once for all who look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.page.workers import Refused, Workers

FRESH = 1.0  # seconds for which an answer serves everybody who asks the same
AT_ONCE = 200  # different questions within that time; the workers have other things to do
NAMES = ("window", "touchpoint", "channel", "segment")


class Said(NamedTuple):
    """An answer for a browser."""

    status: int
    body: bytes


_AWAY = Said(503, b"no worker answers: is `feedback worker` running?\n")
_TOO_MANY = Said(503, b"too many different questions at once: ask again\n")


class Details:
    """Asks all workers for one selection."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._asked: dict[tuple[str, ...], tuple[float, asyncio.Task[Said]]] = {}

    async def ask(self, query: Mapping[str, str]) -> Said:
        """What stands at this window, touchpoint, channel and segment; at most `FRESH` seconds old."""
        now = asyncio.get_running_loop().time()
        self._asked = {key: one for key, one in self._asked.items() if now - one[0] < FRESH}
        key = tuple(query.get(name, "") for name in NAMES)
        if key not in self._asked:
            if len(self._asked) >= AT_ONCE:
                return _TOO_MANY
            self._asked[key] = now, asyncio.create_task(self._get(dict(zip(NAMES, key, strict=True))))
        return await asyncio.shield(
            self._asked[key][1]
        )  # who leaves does not take the answer from the others

    async def _get(self, query: Mapping[str, str]) -> Said:
        try:
            told = await self._workers.ask(query)
        except Refused as refused:
            return Said(400, str(refused).encode())
        if told is None:
            return _AWAY
        return Said(200, json.dumps({name: told.rows(name) for name in ("scores", "answers")}).encode())
