"""One connection to the broker: an idempotent aiokafka producer that knows where the topics are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from pipeline.client.fields import KINDS, Kind
from pipeline.client.message import Message
from pipeline.client.registry import RegistryError
from pipeline.events.partition import partition_of

# A batch holds one partition's share of a chunk. Far below the least message.max.bytes that a broker has.
_BATCH_BYTES = 256 * 1024
_REQUEST_SECONDS = 15.0
_CONNECT_SECONDS = 30.0
# aiokafka warns four times a try while the broker is away, in the log of the app: forty lines a second by its default.
_RETRY_MS = 500


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, and how much to hold.

    Attributes:
        bootstrap: host:port, several separated by commas.
        prefix: of the topics.
        buffer_bytes: of messages accepted and not yet acknowledged.
        security: further arguments of AIOKafkaProducer (security_protocol, ssl_context, sasl_...).
        registry_url: of a schema registry whose ids to send under; empty: those of schemas/registry.json.
    """

    bootstrap: str
    prefix: str = "feedback"
    buffer_bytes: int = 32 * 1024 * 1024
    security: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    registry_url: str = ""

    def topic(self, kind: Kind) -> str:
        """The topic of events of this kind."""
        return f"{self.prefix}.{kind}s"


@dataclass(frozen=True, slots=True)
class Link:
    """A producer that is connected, and the partition counts of the topics."""

    target: Target
    producer: AIOKafkaProducer
    partitions: Mapping[Kind, int]

    def place(self, message: Message) -> tuple[str, int]:
        """Topic and partition: murmur2 of the key, as the Java client places it."""
        return self.target.topic(message.kind), partition_of(message.key, self.partitions[message.kind])


class MissingTopicError(Exception):
    """A topic that `feedback setup` makes is not there."""


@contextlib.asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Link]:
    """A link; any exception means that there is none, or none any more."""
    producer = AIOKafkaProducer(
        bootstrap_servers=target.bootstrap,
        acks="all",
        enable_idempotence=True,
        max_batch_size=_BATCH_BYTES,
        request_timeout_ms=int(_REQUEST_SECONDS * 1000),
        retry_backoff_ms=_RETRY_MS,
        **target.security,
    )
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await producer.start()
            yielded = Link(target, producer, await _partitions(target, producer))
        yield yielded
    finally:
        await _let_go(producer)


async def _partitions(target: Target, producer: AIOKafkaProducer) -> Mapping[Kind, int]:
    """Look among all topics first: a broker creates what is asked for by name, with one partition."""
    known = (await producer.client.fetch_all_metadata()).topics()
    for topic in map(target.topic, KINDS):
        if topic not in known:
            raise MissingTopicError(topic)
    return {kind: len(await producer.partitions_for(target.topic(kind))) for kind in KINDS}


async def _let_go(producer: AIOKafkaProducer) -> None:
    """End the producer without waiting for what it cannot send: its `stop` waits for that for ever.

    What it still holds is in the buffer as well.
    """
    sender = producer._sender.sender_task  # nothing public ends it
    await producer.client.close()
    if sender is not None:
        sender.cancel()
        await asyncio.wait([sender], timeout=1.0)
    with contextlib.suppress(Exception):
        await asyncio.wait_for(producer.stop(), 1.0)


def sentence(target: Target, fault: BaseException) -> str:
    """Why there is no link, for people."""
    if isinstance(fault, MissingTopicError):
        return f"there is no topic {fault} at {target.bootstrap}: run `feedback setup`, or check the prefix"
    if isinstance(fault, RegistryError):
        return str(fault)
    if isinstance(fault, KafkaConnectionError):
        return f"no broker answers at {target.bootstrap}"
    return f"the broker at {target.bootstrap} cannot be used: {str(fault) or type(fault).__name__}"
