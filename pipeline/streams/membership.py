"""Two weak spots of aiokafka's clients that a broker finds which dies or starts at a bad moment."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.errors import NodeNotReadyError


async def begin(client: Any) -> None:
    """Start a consumer or producer.

    A broker that has just started names no brokers, not even itself. aiokafka takes that for a start, and if the
    connection breaks before it asks again it knows nobody to talk to, for ever.

    Raises:
        KafkaError: the broker is away, or not there yet: close the client, and try with a new one.
    """
    await client.start()
    inner = client.client if hasattr(client, "client") else client._client
    if not inner.cluster.brokers():
        msg = "the broker has only just started"
        raise NodeNotReadyError(msg)


def lost(consumer: Any) -> bool:
    """Whether a bug has ended its talk with the group: it looks alive, and will never be given a partition again."""
    task: asyncio.Task[None] = consumer._coordinator._coordination_task
    return task.done() and not task.cancelled() and task.exception() is not None
