"""`Mandate`: whether what a worker owns is its alone; and two weak spots of aiokafka's clients.

They are found by a broker that dies or starts at a bad moment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    NodeNotReadyError,
)

from pipeline.errors import FeedbackError

log = logging.getLogger(__name__)
_AGAIN = 0.2  # seconds

# A group that answers so will never have us, however often it is asked.
REFUSALS: Mapping[type[Exception], str] = MappingProxyType(
    {
        InvalidSessionTimeoutError: "the brokers refuse kafka.session_timeout: set it between their "
        "group.min.session.timeout.ms and group.max.session.timeout.ms, 6s and 30m unless somebody changed them",
        GroupAuthorizationFailedError: "the brokers do not let kafka.security.username into the consumer group: "
        "allow it to READ the groups that begin with kafka.prefix",
        InconsistentGroupProtocolError: "another program is a member of the consumer group: stop it, or set another "
        "kafka.prefix",
    }
)


class Mandate:
    """Whether the group lets this worker speak for its partitions: others may show them too, where it does not.

    Everybody gives up what it has before the group shares anything out again, so two workers never hold the same. Who
    hears nothing for the session timeout, cut off or frozen, may have been left out of the group meanwhile.

    Args:
        patience: the session timeout in seconds.
        clock: seconds, never backwards.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._heard = 0.0
        self._held = False
        self.ever = False  # something was shared out, perhaps nothing to us
        self.refused: FeedbackError | None = None  # the group will never have us

    @property
    def holds(self) -> bool:
        """What was given is still ours."""
        return self._held and self._clock() - self._heard < self._patience

    def give(self) -> None:
        """The group has said what is ours."""
        self._held = self.ever = True
        self._heard = self._clock()

    def take(self) -> None:
        """The group shares out anew."""
        self._held = False

    def follow(self, consumer: Any) -> None:
        """Listen to the heartbeats of a consumer that has begun, each counts from when it was sent, and to refusals.

        Faust waits for the group and hears no refusal. Of trouble that passes it would end: brokers that are just
        starting answer a join with an error that they cannot name. So it is not told, and the group is asked again.
        """
        coordinator = consumer._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> bool:
            sent = self._clock()
            alive = bool(await beat())
            if alive:
                self._heard = max(self._heard, sent)
            return alive

        coordinator._do_heartbeat = noted
        push = coordinator._push_error_to_user

        async def told(fault: Exception) -> None:
            self.refused = self.refused or refusal(fault)
            if _passes(fault):
                log.warning("the group cannot be joined now, asking again", extra={"error": str(fault)})
                await asyncio.sleep(_AGAIN)
                coordinator.request_rejoin()
            else:
                await push(fault)

        coordinator._push_error_to_user = told


def _passes(fault: Exception) -> bool:
    return type(fault) is KafkaError or (isinstance(fault, KafkaError) and bool(fault.retriable))


def refusal(fault: Exception) -> FeedbackError | None:
    """What to say where a group will never have us; None of a fault that may pass."""
    text = REFUSALS.get(type(fault))
    return None if text is None else FeedbackError(text)


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
