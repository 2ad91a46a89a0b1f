"""After the store was restored: the archive reads again what Kafka still holds. Rows that are there stay."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, UnknownMemberIdError

from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.measures.instruments import bounds
from pipeline.streams.connection import client_options
from pipeline.streams.rows import sources
from pipeline.streams.topics import Topics


async def rewind(settings: Settings) -> int:
    """Set the archive's group back to the first record of every topic that it stores; how many records that is.

    Raises:
        FeedbackError: a worker runs, or the broker is away.
    """
    consumer = AIOKafkaConsumer(
        group_id=f"{settings.kafka.prefix}.archive", enable_auto_commit=False, **client_options(settings)
    )
    try:
        await consumer.start()
        return await _rewound(settings, consumer)
    except (CommitFailedError, UnknownMemberIdError) as error:
        wait = f"{settings.kafka.session_timeout:g} s"
        msg = f"a worker stores rows, or did less than {wait} ago: stop all workers, wait that long, run this again"
        raise FeedbackError(msg) from error
    except (KafkaError, OSError) as error:
        msg = f"the broker at {settings.kafka.bootstrap} does not answer ({error}): start it, then run this again"
        raise FeedbackError(msg) from error
    finally:
        await consumer.stop()


async def _rewound(settings: Settings, consumer: AIOKafkaConsumer) -> int:
    stored = sources(Topics(settings.kafka.prefix), bounds(settings.catalogue()))
    places = [TopicPartition(one.topic, p) for one in stored for p in range(settings.kafka.partitions)]
    consumer.assign(places)
    begin, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    await consumer.commit(begin)
    return sum(end[place] - begin[place] for place in places)
