"""Set a group of consumers back, so that its next member reads from the first record that is left."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, UnknownMemberIdError

from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.measures.instruments import bounds
from pipeline.streams.connection import client_options
from pipeline.streams.rows import sources
from pipeline.streams.topics import Topics


def stored(settings: Settings) -> list[str]:
    """Full names of the topics that the archive stores."""
    return [one.topic for one in sources(Topics(settings.kafka.prefix), bounds(settings.catalogue()))]


async def rewind(settings: Settings, group: str, names: Iterable[str]) -> int:
    """Have a group read these topics from the first record that is left; how many records that is.

    Args:
        settings: the whole configuration.
        group: "worker" or "archive".
        names: full names of topics.

    Raises:
        FeedbackError: a worker runs, or the broker is away.
    """
    consumer = AIOKafkaConsumer(
        group_id=f"{settings.kafka.prefix}.{group}", enable_auto_commit=False, **client_options(settings)
    )
    try:
        await consumer.start()
        places = [TopicPartition(name, p) for name in names for p in range(settings.kafka.partitions)]
        return await _rewound(consumer, places)
    except (CommitFailedError, UnknownMemberIdError) as error:
        wait = f"{settings.kafka.session_timeout:g} s"
        msg = f"a worker runs, or did less than {wait} ago: stop all workers, wait that long, run this again"
        raise FeedbackError(msg) from error
    except (KafkaError, OSError) as error:
        msg = f"the broker at {settings.kafka.bootstrap} does not answer ({error}): start it, then run this again"
        raise FeedbackError(msg) from error
    finally:
        await consumer.stop()


async def _rewound(consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> int:
    consumer.assign(places)
    begin, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    await consumer.commit(begin)
    return sum(end[place] - begin[place] for place in places)
