"""Definitions of instruments on Kafka, so that a name never gets another scale, whatever configuration comes along.

They stand in partition 0 of the topic `instruments`, one JSON object a record, in the order in which `feedback setup`
wrote them. The first one of a name fixes its scale (`measures.definitions`): of two at once, the log says which.
Kafka and not the store, because a worker must be able to refuse while the store is away.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict

from aiokafka.errors import KafkaError

from pipeline.config import Settings
from pipeline.errors import Away, FeedbackError
from pipeline.journal.log import OutOfRange, Unknown
from pipeline.measures.definitions import Comparison, compare, in_use
from pipeline.measures.instruments import Instrument
from pipeline.streams.connection import client_options
from pipeline.streams.kafka_log import Broker, KafkaLog
from pipeline.streams.topics import Topics


async def define(settings: Settings) -> Comparison:
    """Record what is new or mapped otherwise.

    Returns:
        What was recorded.

    Raises:
        FeedbackError: a name would get another scale; nothing was recorded.
    """
    async with _log(settings) as (broker, log):
        found = _accepted(settings, await _read(log))
        written = [*found.new, *(one.after for one in found.changed)]
        if written:
            await broker.start()
            for one in written:
                await log.append(json.dumps(asdict(one)).encode())
            _accepted(settings, await _read(log))  # somebody else may have been first
        return found


async def undefined(settings: Settings) -> Comparison:
    """What `define` would record.

    Raises:
        FeedbackError: a name would get another scale.
    """
    async with _log(settings) as (_, log):
        return _accepted(settings, await _read(log))


def _accepted(settings: Settings, known: Mapping[str, Instrument]) -> Comparison:
    found = compare(known, settings.catalogue().values())
    if found.refused:
        raise FeedbackError("\n".join(found.refused))
    return found


@asynccontextmanager
async def _log(settings: Settings) -> AsyncIterator[tuple[Broker, KafkaLog]]:
    broker = Broker(client_options(settings))
    try:
        yield broker, KafkaLog(broker, Topics(settings.kafka.prefix).instruments, 0)
    except (Unknown, OutOfRange, KafkaError) as error:
        msg = f"the broker does not tell which instruments are in use ({error}): look at it, then try again"
        raise Away(msg) from error
    finally:
        await broker.stop()


async def _read(log: KafkaLog) -> dict[str, Instrument]:
    position, end = await log.bounds()
    found: list[Instrument] = []
    while position < end:
        entries, position = await log.read(position, end)
        found += [_parsed(entry.value or b"") for entry in entries]
    return in_use(found)


def _parsed(value: bytes) -> Instrument:
    try:
        return Instrument(**json.loads(value))
    except (ValueError, TypeError) as error:
        msg = "the topic of instruments holds a definition that this version cannot read: upgrade it"
        raise FeedbackError(msg) from error
