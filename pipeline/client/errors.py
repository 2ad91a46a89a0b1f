"""What the client raises about delivery. Bad arguments are `EventError`, a ValueError, at the call."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.client.message import Message
from pipeline.errors import FeedbackError


class DeliveryError(FeedbackError):
    """Events that were accepted and not acknowledged.

    They may have reached the log all the same. Send them again with the ids in `ids`: an id counts once.

    Attributes:
        messages: the events, oldest first.
    """

    def __init__(self, messages: Sequence[Message], reason: str) -> None:
        noun = "event was" if len(messages) == 1 else "events were"
        super().__init__(
            f"{len(messages):,} {noun} not acknowledged: {reason}. "
            "They may have arrived; to send them again is safe under the same ids."
        )
        self.messages = tuple(messages)
        self.reason = reason

    @property
    def ids(self) -> tuple[str, ...]:
        """Their event or response ids."""
        return tuple(message.id for message in self.messages)


class BufferFullError(FeedbackError):
    """The event was not accepted: the buffer is full of events that wait for the broker."""

    def __init__(self, seconds: float, trouble: str | None) -> None:
        because = trouble or "the broker takes events more slowly than they come"
        waited = f" and no room came free within {seconds:g} s" if seconds else ""
        super().__init__(f"the buffer is full{waited}: {because}. This event was not taken; try again later.")


class ClosedError(FeedbackError):
    """The client takes nothing, since it is closed."""

    def __init__(self, because: str = "is closed: make a new one, or send inside the with block") -> None:
        super().__init__(f"this client {because}")
