"""`StoreKeeper`: the embedded store as a child of whoever needs it and finds none; started again when it dies."""

from __future__ import annotations

import asyncio
import logging

from pipeline.config import Settings
from pipeline.embedded.store import EmbeddedStore, ensure_store
from pipeline.errors import FeedbackError

log = logging.getLogger(__name__)


class StoreKeeper:
    """Starts the store of the configuration where none answers. A server's store is none of its business."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started: list[EmbeddedStore] = []
        self._starting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make sure that a store answers; raises FeedbackError if it cannot."""
        store = await asyncio.to_thread(ensure_store, self._settings)
        if store is not None:
            log.info("started the store", extra={"address": str(self._settings.store.http)})
            self._started.append(store)

    def away(self) -> None:
        """The store did not answer: look after it, in the background."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._again())

    async def close(self) -> None:
        """End what was started here."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        for store in self._started:
            await asyncio.to_thread(store.stop)

    async def _again(self) -> None:
        try:
            await self.open()
        except FeedbackError as error:
            log.warning("the store cannot be started", extra={"error": str(error)})
