"""One touchpoint looked at closely: asked of the worker only while somebody looks, once for all who look."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp

log = logging.getLogger(__name__)

FRESH = 1.0  # seconds for which an answer serves everybody who asks the same
AT_ONCE = 200  # different questions within that time; the worker has other things to do
PATIENCE = aiohttp.ClientTimeout(total=5)
NAMES = ("window", "touchpoint", "channel", "segment")


class Said(NamedTuple):
    """The worker's answer as it came."""

    status: int
    body: bytes


_AWAY = Said(503, b"the worker does not answer: is `feedback worker` running?\n")
_TOO_MANY = Said(503, b"too many different questions at once: ask again\n")


class Details:
    """Asks the worker's /scores for one selection.

    Args:
        scores: URL of the worker's /scores.
        session: to ask with.
    """

    def __init__(self, scores: str, session: aiohttp.ClientSession) -> None:
        self._scores, self._session = scores, session
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
            async with self._session.get(self._scores, params=query, timeout=PATIENCE) as answer:
                return Said(answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError) as fault:
            log.debug("the worker does not answer", extra={"fault": str(fault)})
            return _AWAY
