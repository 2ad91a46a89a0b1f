"""What a reset does to Kafka: derived and internal topics go and come anew, and everybody reads from the beginning."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError, for_code

from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.journal.log import OutOfRange, Unknown
from pipeline.streams.connection import client_options
from pipeline.streams.kafka_log import Broker, KafkaLog
from pipeline.streams.setup import admin_client, partition_counts
from pipeline.streams.topics import Topics

GROUPS = ("worker", "archive")
_GONE_SECONDS = 60.0


class Bounds(NamedTuple):
    """The first offset kept of a partition and the one behind the last."""

    begin: int
    end: int


class Stored(NamedTuple):
    """The last row that the store holds of a partition: its offset and its time, milliseconds since 1970."""

    offset: int
    time: int


def sources(settings: Settings) -> tuple[str, str]:
    """Full names of the topics that apps write to; a reset leaves them alone."""
    topics = Topics(settings.kafka.prefix)
    return topics.responses, topics.touchpoints


def derived(settings: Settings) -> list[str]:
    """Full names of all other topics of ours."""
    return [
        one.name for one in Topics(settings.kafka.prefix).all_topics() if one.name not in sources(settings)
    ]


async def await_no_members(settings: Settings, say: Callable[[str], None]) -> None:
    """Return once nobody works with these topics.

    A worker that stopped a moment ago is remembered by the broker for a session timeout.

    Raises:
        FeedbackError: somebody still does.
    """
    deadline = time.monotonic() + settings.kafka.session_timeout + 5
    while members := await _members(settings):
        if time.monotonic() > deadline:
            msg = (
                f"workers are running ({', '.join(members)}): stop them first, then run feedback reset again"
            )
            raise FeedbackError(msg)
        say("waiting for the workers to be gone")
        await asyncio.sleep(1.0)


async def _members(settings: Settings) -> list[str]:
    found: set[str] = set()
    async with admin_client(settings) as admin:
        for group in GROUPS:
            # one at a time: aiokafka 0.14 reads the answer about several as one of another version
            answers = await admin.describe_consumer_groups([f"{settings.kafka.prefix}.{group}"])
            described = [one for answer in answers for one in answer.to_object()["groups"]]
            found |= {_name(member) for one in described for member in one["members"]}
    return sorted(found)


def _name(member: Mapping[str, Any]) -> str:
    return f"{member['member_id']} on {member['client_host'].lstrip('/')}"


async def source_bounds(settings: Settings) -> dict[str, dict[int, Bounds]]:
    """Of each source topic that is there, and of each partition of it.

    Raises:
        FeedbackError: they have not `kafka.partitions` partitions.
    """
    async with admin_client(settings) as admin:
        counts = await partition_counts(admin)
    present = {name: counts[name] for name in sources(settings) if name in counts}
    wanted = settings.kafka.partitions
    other = [f"{name} has {count}" for name, count in present.items() if count != wanted]
    if other:
        msg = (
            f"kafka.partitions is {wanted}, but {', '.join(other)}: give both source topics the same number of "
            "partitions, set kafka.partitions to it, then run feedback reset again"
        )
        raise FeedbackError(msg)
    found: dict[str, dict[int, Bounds]] = {name: {} for name in present}
    async with _reading(settings) as broker:
        for name, count in present.items():
            for p in range(count):
                found[name][p] = Bounds(*await KafkaLog(broker, name, p).bounds())
    return found


async def made_anew(
    settings: Settings, topic: str, bounds: Mapping[int, Bounds], stored: Mapping[int, Stored]
) -> bool:
    """Whether the store's rows are those of another topic of this name.

    Args:
        settings: the whole configuration.
        topic: full name.
        bounds: of its partitions.
        stored: partition -> the last row that the store holds of it.
    """
    overlapping: dict[int, Stored] = {}
    for p, last in stored.items():
        if p not in bounds or last.offset >= bounds[p].end:
            return True
        if last.offset >= bounds[p].begin:
            overlapping[p] = last
    times = await _times(settings, topic, {p: last.offset for p, last in overlapping.items()})
    return any(times.get(p) != last.time for p, last in overlapping.items())


async def _times(settings: Settings, topic: str, offsets: Mapping[int, int]) -> dict[int, int]:
    """Partition -> time of the record at an offset; missing if there is none."""
    found: dict[int, int] = {}
    async with _reading(settings) as broker:
        for p, offset in offsets.items():
            source = KafkaLog(broker, topic, p)
            entries, _ = await source.read(offset, offset + 1)
            await source.close()
            if entries:
                found[p] = entries[0].time
    return found


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[Broker]:
    broker = Broker(client_options(settings))
    try:
        yield broker
    except (Unknown, OutOfRange) as error:
        msg = f"the broker does not tell what it holds ({error}): look at it, then run feedback reset again"
        raise FeedbackError(msg) from error
    finally:
        await broker.stop()


async def delete(settings: Settings, names: Collection[str]) -> None:
    """Delete these topics; when it returns they are gone."""
    async with admin_client(settings) as admin:
        await _delete(admin, [name for name in names if name in await partition_counts(admin)])
        deadline = time.monotonic() + _GONE_SECONDS
        while left := set(names) & (await partition_counts(admin)).keys():
            if time.monotonic() > deadline:
                msg = f"the broker does not delete {min(left)}: set delete.topic.enable, then run feedback reset again"
                raise FeedbackError(msg)
            await asyncio.sleep(0.2)


async def _delete(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    if not names:
        return
    answer = (await admin.delete_topics(names)).to_object()
    for one in answer.get("topic_error_codes") or answer.get("responses") or []:
        code = one["error_code"]
        if code and for_code(code) is not UnknownTopicOrPartitionError:
            msg = (
                f"the broker does not delete {one.get('topic') or one.get('name')}: {for_code(code).__name__}"
            )
            raise FeedbackError(msg)
