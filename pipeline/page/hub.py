"""Server-sent events: what to send to every open page, and to one that just opened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

WAITING = (
    64  # messages a slow page may be behind; then it is let go, connects again and starts from the whole
)
TICK = 5.0  # seconds of silence after which a tick says that the line is alive
PAGES = 200  # open at once

_CLOSE = b""


def message(kind: str, data: object) -> bytes:
    """One event of the stream."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'), allow_nan=False)}\n\n".encode()


class Hub:
    """The open pages, and the newest whole state of each kind of event."""

    def __init__(self) -> None:
        self._state: dict[str, Any] = {}
        self._pages: set[asyncio.Queue[bytes]] = set()

    @property
    def full(self) -> bool:
        """No further page can be served."""
        return len(self._pages) >= PAGES

    def publish(self, kind: str, whole: object, change: object = None) -> None:
        """Remember `whole` for pages to come, and send `change` (or the whole) to those that are open."""
        self._state[kind] = whole
        sent = message(kind, whole if change is None else change)
        for page in tuple(self._pages):
            try:
                page.put_nowait(sent)
            except asyncio.QueueFull:
                self._let_go(page)

    async def stream(self) -> AsyncIterator[bytes]:
        """Everything for one page, until it leaves or is let go."""
        page: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._pages.add(page)
        try:
            for kind, whole in tuple(self._state.items()):
                yield message(kind, whole)
            while sent := await _next(page):
                yield sent
        finally:
            self._pages.discard(page)

    def close(self) -> None:
        """Let every page go."""
        for page in tuple(self._pages):
            self._let_go(page)

    def _let_go(self, page: asyncio.Queue[bytes]) -> None:
        self._pages.discard(page)
        while not page.empty():
            page.get_nowait()
        page.put_nowait(_CLOSE)


async def _next(page: asyncio.Queue[bytes]) -> bytes:
    try:
        async with asyncio.timeout(TICK):
            return await page.get()
    except TimeoutError:
        return message("tick", {})
