"""Keeps the page's board in step with the workers and the store. Whoever is away is asked again."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from pipeline.config import Listen
from pipeline.page import trends
from pipeline.page.board import Board
from pipeline.page.hub import Hub
from pipeline.page.workers import Part, Refused, Told, Workers

log = logging.getLogger(__name__)

SCORES_EVERY = 1.0  # seconds
TRENDS_EVERY = 15.0
TRENDS_RETRY = 2.0
PATIENCE = aiohttp.ClientTimeout(total=5)
_AWAY = (Refused, aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers come from.

    Attributes:
        workers: addresses of their HTTP servers; a name with several addresses is a worker at each.
        store: URL of the ClickHouse HTTP interface.
        database: of the views.
        login: headers that let us read there; none on an embedded store.
    """

    workers: tuple[Listen, ...]
    store: str
    database: str = "feedback"
    login: Mapping[str, str] = field(default_factory=dict)


class Watch:
    """Two small loops that publish to the hub.

    Attributes:
        scored: set once the first scores are on the page.
    """

    def __init__(self, sources: Sources, hub: Hub) -> None:
        self._sources, self._hub = sources, hub
        self._board = Board()
        self._parts: dict[int, Part] = {}
        self._worker = ""
        self.scored = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self._state("away")
        async with aiohttp.ClientSession(timeout=PATIENCE) as session, asyncio.TaskGroup() as both:
            both.create_task(self._scores(session))
            both.create_task(self._trends(session))

    async def _scores(self, session: aiohttp.ClientSession) -> None:
        workers = Workers(self._sources.workers, session)
        while True:
            try:
                self._take(await workers.ask())
            except _AWAY as fault:
                log.debug("the workers say nothing that can be read", extra={"fault": repr(fault)})
                self._state("away")
            await asyncio.sleep(SCORES_EVERY)

    def _take(self, told: Told | None) -> None:
        """Of a partition that nobody tells of just now the last scores stay; the state says that they are not live."""
        if told is None:
            self._state("away")
            return
        self._parts = {p: part for p, part in (self._parts | dict(told.parts)).items() if p < told.of}
        changed = self._board.take(row for part in self._parts.values() for row in part["scores"])
        if changed:
            whole = {"at": told.at, "full": True, "rows": list(self._board.rows.values())}
            self._hub.publish("scores", whole, {"at": told.at, "full": False, "rows": changed})
            self.scored.set()
        self._state("catching_up" if not told.ready else "live" if told.whole else "partly")

    def _state(self, worker: str) -> None:
        if worker != self._worker:
            self._worker = worker
            self._hub.publish("state", {"worker": worker})

    async def _trends(self, session: aiohttp.ClientSession) -> None:
        known: dict[str, Any] = {}
        while True:
            try:
                found = await self._lines(session)
                if found != known:
                    known = found
                    self._hub.publish("trends", found)
            except _AWAY as fault:
                log.debug("the store does not answer", extra={"fault": str(fault)})
            await asyncio.sleep(TRENDS_EVERY if known.get("lines") else TRENDS_RETRY)

    async def _lines(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        """The lines of the last 24 hours; where there are none, the span of what there is."""
        found = trends.lines(await self._ask(session, trends.QUESTION), int(time.time()))
        if found["lines"]:
            return found
        span = await self._ask(session, trends.SPAN)
        return {**found, "span": span[0] if span else None}

    async def _ask(self, session: aiohttp.ClientSession, question: str) -> list[dict[str, Any]]:
        asked = session.post(
            self._sources.store,
            params={"database": self._sources.database, "default_format": "JSONEachRow"},
            data=question.encode(),
            headers=self._sources.login,
            raise_for_status=True,
        )
        async with asked as answer:
            return [json.loads(line) async for line in answer.content if line.strip()]
