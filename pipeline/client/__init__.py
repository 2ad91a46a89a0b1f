"""What apps import to send events. Needs nothing but aiokafka and fastavro.

Example:
    >>> from pipeline.client import Feedback
    >>> with Feedback("localhost:9092", source="checkout") as feedback:
    ...     feedback.touchpoint("checkout", "order_paid", channel="web", customer_id="c-1")
    ...     feedback.csat("checkout", 5, channel="web", comment="fast!")
"""

from pipeline.client.errors import BufferFullError, ClosedError, DeliveryError
from pipeline.client.feedback import AsyncFeedback, Feedback
from pipeline.client.message import EventError, Fault, Message
from pipeline.client.scales import SCALES
from pipeline.client.transport import Delivery

__all__ = [
    "SCALES",
    "AsyncFeedback",
    "BufferFullError",
    "ClosedError",
    "Delivery",
    "DeliveryError",
    "EventError",
    "Fault",
    "Feedback",
    "Message",
]
