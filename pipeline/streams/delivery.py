"""`Delivery`: rows to the store, however long it is away."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.stores.client import connect
from pipeline.stores.sink import PoisonError, Sink, SinkError
from pipeline.streams.patience import Stopped

log = logging.getLogger(__name__)
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_NOT_MADE = (60, 81)  # ClickHouse's codes of a table and a database that are not there
_TROUBLE = (SinkError, FeedbackError)


class DeliveryMetrics(Protocol):
    """What Prometheus is told about storing."""

    def sink_rows(self, table: str, n: int) -> None:
        """So many rows were stored."""
        ...

    def sink_flush(self, table: str, seconds: float) -> None:
        """One batch was stored."""
        ...

    def sink_retry(self, code: str) -> None:
        """A batch has to be tried again: the store's error code, "connection" without an answer."""
        ...

    def store_up(self, *, up: bool) -> None:
        """Whether the store takes rows."""
        ...

    def latency(self, stage: str, seconds: npt.ArrayLike) -> None:
        """From the broker's time of records to the end of the stage."""
        ...


class Delivery:
    """Inserts frames, one batch of tables at a time."""

    def __init__(
        self, settings: Settings, metrics: DeliveryMetrics, on_away: Callable[[], None] | None = None
    ) -> None:
        """To the store of the configuration; `on_away` is called on the event loop after each failed attempt."""
        self._settings = settings
        self._metrics = metrics
        self._on_away = on_away
        self._sink: Sink | None = None
        self._reader: Client | None = None

    async def write(
        self, tables: Mapping[str, pl.DataFrame], stop: asyncio.Event, wanted: Callable[[], bool]
    ) -> bool:
        """Write all tables in their order.

        Args:
            tables: the rows by table.
            stop: once set, a failed attempt is the last one.
            wanted: whether the rows are still ours to write; asked before every attempt.

        Returns:
            Whether everything is stored.
        """
        for table, frame in tables.items():
            attempt = 0
            while not await self._once(table, frame, attempt):
                await pause(attempt, stop)
                attempt += 1
                if stop.is_set() or not wanted():
                    return False
            if attempt:
                log.info("the store is back", extra={"attempts": attempt})
        return True

    async def times(
        self, table: str, partition: int, first: int, last: int, stop: asyncio.Event
    ) -> Mapping[int, int]:
        """What a table of raw records holds of a partition in [first, last]: offset -> kafka_time, milliseconds.

        Raises:
            Stopped: the store is away, and `stop` is set.
        """
        attempt = 0
        while True:
            try:
                return await asyncio.to_thread(self._held, table, partition, first, last)
            except (*_TROUBLE, ClickHouseError, OSError) as fault:
                if getattr(fault, "code", None) in _NOT_MADE:
                    return {}  # to insert into it will say what is to be done
                self._complain(fault, attempt)
            await pause(attempt, stop)
            attempt += 1
            if stop.is_set():
                raise Stopped

    def _held(self, table: str, partition: int, first: int, last: int) -> Mapping[int, int]:
        if self._reader is None:
            # kept: it is asked of every partition at a start, and to connect costs the store three queries
            self._reader = connect(self._settings, write=False)
        rows = self._reader.query(
            "SELECT kafka_offset, toUnixTimestamp64Milli(kafka_time) FROM {table:Identifier} "
            "WHERE kafka_partition = {partition:Int32} AND kafka_offset BETWEEN {first:Int64} AND {last:Int64}",
            parameters={"table": table, "partition": partition, "first": first, "last": last},
        )
        return {int(offset): int(time) for offset, time in rows.result_rows}

    def close(self) -> None:
        """Let the connections go."""
        for client in (self._sink, self._reader):
            if client is not None:
                client.close()

    async def _once(self, table: str, frame: pl.DataFrame, attempt: int) -> bool:
        try:
            await asyncio.to_thread(self._insert, table, frame)
        except _TROUBLE as fault:
            self._complain(fault, attempt)
            return False
        self._metrics.store_up(up=True)
        return True

    def _insert(self, table: str, frame: pl.DataFrame) -> None:
        started = time.monotonic()
        if self._sink is None:
            self._sink = Sink(
                connect(self._settings, write=True), compress=self._settings.store.folder is None
            )
        self._sink.insert(table, frame)
        self._metrics.sink_flush(table, time.monotonic() - started)
        self._metrics.sink_rows(table, len(frame))
        if "kafka_time" in frame.columns:
            took = time.time() - frame["kafka_time"].to_numpy() / 1000
            self._metrics.latency("stored", np.maximum(took, 0.0))

    def _complain(self, fault: Exception, attempt: int) -> None:
        self._metrics.store_up(up=False)
        code = fault.code if isinstance(fault, SinkError) else 0
        self._metrics.sink_retry(str(code) if code else "connection")
        if attempt in (0, 3) or attempt % 20 == 19:
            # Rows that it refuses for good are tried again too: nothing is lost until somebody has looked.
            say = log.error if isinstance(fault, PoisonError) else log.warning
            say("the store does not take rows", extra={"error": str(fault)[:500], "attempt": attempt})
        if self._on_away is not None and not isinstance(fault, PoisonError):
            self._on_away()


async def pause(attempt: int, stop: asyncio.Event) -> None:
    """Wait longer with each attempt, but no longer than until `stop`.

    Full jitter, so that workers who lost the store together do not come back at the same instant.
    """
    most = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 20))
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), random.uniform(0.0, most))  # noqa: S311 - jitter
