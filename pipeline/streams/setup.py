"""`ensure`: the topics as they have to be. Run as often as you like; it never changes a partition count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from pipeline.config.settings import Settings
from pipeline.config.tables import Kafka
from pipeline.errors import Away, FeedbackError
from pipeline.streams.connection import client_options
from pipeline.streams.definitions import define, undefined
from pipeline.streams.topics import Topics, TopicSpec

_SET_ON_TOPIC = 1  # Kafka's code for a setting of the topic itself, not a default of the broker
_LEADER_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_SAFE_REPLICATION = 3


@dataclass(frozen=True, slots=True)
class Report:
    """What `ensure` found.

    Attributes:
        missing: topics that were created, or would be.
        changed: "topic: setting old -> new" that were set, or would be.
        instruments: "name: definition" of those that were recorded, or would be.
    """

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    instruments: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Nothing was to do."""
        return not self.missing and not self.changed and not self.instruments

    @property
    def lack(self) -> str:
        """Why nobody can count yet, in a sentence; "" if one can."""
        if self.missing:
            return (
                f"{len(self.missing)} topics are missing ({self.missing[0]} ...): run `feedback setup` first"
            )
        if self.instruments:
            return f"an instrument is not what was set up ({self.instruments[0]}): run `feedback setup` first"
        return ""


async def ensure(settings: Settings, *, check: bool = False) -> Report:
    """Create the missing topics, correct the settings of the others, and record the instruments.

    Args:
        settings: the whole configuration.
        check: only report.

    Raises:
        Away: no broker answers.
        FeedbackError: it refuses, a topic has another partition count, or an instrument another scale than before.
    """
    kafka, topics = settings.kafka, Topics(settings.kafka.prefix)
    specs = [_with_copies(spec, kafka) for spec in topics.all_topics()]
    async with admin_client(settings) as admin:
        present = await partition_counts(admin)
        _refuse_other_counts({s.name: present[s.name] for s in specs if s.name in present}, kafka.partitions)
        missing = [spec for spec in specs if spec.name not in present]
        wrong = await _wrong_configs(admin, [spec for spec in specs if spec.name in present])
        if not check:
            await _create(admin, missing, kafka)
            await _set_configs(admin, wrong)
    changed = (
        f"{name}: {key} {old} -> {new}" for name, keys in wrong.items() for key, (old, new) in keys.items()
    )
    names = tuple(spec.name for spec in missing)
    if check and topics.instruments in names:
        return Report(names, tuple(changed))
    instruments = await (undefined if check else define)(settings)
    return Report(names, tuple(changed), instruments.told)


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected one; what it raises is a sentence (FeedbackError)."""
    address = settings.kafka.bootstrap
    away = f"no Kafka broker answers at {address}: start one (for a try: make kafka), or set kafka.bootstrap"
    if not any([await _listens(one) for one in address.split(",")]):
        raise Away(away)
    try:
        admin = AIOKafkaAdminClient(**client_options(settings))
        await admin.start()
    except (KafkaConnectionError, OSError) as error:
        raise Away(away) from error
    try:
        yield admin
    except KafkaError as error:
        msg = f"the Kafka broker at {address} refuses: {error}"
        raise (Away if error.retriable else FeedbackError)(msg) from error  # it may have gone in the middle
    finally:
        await admin.close()


async def _listens(address: str) -> bool:
    """Whether anything is there. The admin client would find out too, and log its own errors about it."""
    host, _, port = address.rpartition(":")
    try:
        connecting = asyncio.open_connection(host.strip("[]"), int(port))
        _, writer = await asyncio.wait_for(connecting, _CONNECT_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _with_copies(spec: TopicSpec, kafka: Kafka) -> TopicSpec:
    """With three copies an acknowledged record must be on two, or a broker that dies loses it."""
    if kafka.replication < _SAFE_REPLICATION:
        return spec
    return TopicSpec(spec.name, {**spec.configs, "min.insync.replicas": "2"})


async def partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Of every topic of the cluster."""
    # All topics: to ask for one by its name creates it where the broker allows that.
    return {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}


def _refuse_other_counts(present: Mapping[str, int], wanted: int) -> None:
    other = {name: count for name, count in present.items() if count != wanted}
    if not other:
        return
    found = ", ".join(f"{name} has {count}" for name, count in sorted(other.items()))
    msg = (
        f"kafka.partitions is {wanted}, but {found}: the count is fixed for good, since records would move "
        "away from what is known about them. Set it to what is there, or choose another kafka.prefix; where the source "
        "topics were resized or made anew, run `feedback reset`"
    )
    raise FeedbackError(msg)


async def _wrong_configs(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]
) -> dict[str, dict[str, tuple[str, str]]]:
    """By topic: the settings that differ, as (old, new)."""
    if not specs:
        return {}
    present = await _configs(admin, [spec.name for spec in specs])
    wrong = {
        spec.name: {
            key: (present[spec.name].get(key, ("", 0))[0], value)
            for key, value in spec.configs.items()
            if present[spec.name].get(key, ("", 0))[0] != value
        }
        for spec in specs
    }
    return {name: keys for name, keys in wrong.items() if keys}


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, tuple[str, int]]]:
    """By topic: the value of each setting and where it comes from."""
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    found = {}
    for answer in answers:
        for code, text, _, name, entries in (tuple(resource)[:5] for resource in answer.resources):
            _raise_for(code, text)
            found[name] = {entry[0]: (entry[1], entry[3]) for entry in entries}
    return found


async def _set_configs(
    admin: AIOKafkaAdminClient, wrong: Mapping[str, Mapping[str, tuple[str, str]]]
) -> None:
    if not wrong:
        return
    present = await _configs(admin, list(wrong))
    resources = []
    for name, keys in wrong.items():
        # This request replaces all settings of a topic: what somebody else has set there goes along.
        kept = {key: value for key, (value, source) in present[name].items() if source == _SET_ON_TOPIC}
        new = {key: value for key, (_, value) in keys.items()}
        resources.append(ConfigResource(ConfigResourceType.TOPIC, name, {**kept, **new}))
    for answer in await admin.alter_configs(resources):
        for code, text, *_ in (tuple(resource) for resource in answer.resources):
            _raise_for(code, text)


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], kafka: Kafka) -> None:
    if not specs:
        return
    wanted = [
        NewTopic(spec.name, kafka.partitions, kafka.replication, topic_configs=dict(spec.configs))
        for spec in specs
    ]
    answer = await admin.create_topics(wanted)
    for name, code, text, *_ in (tuple(one) for one in answer.topic_errors):
        if for_code(code) is not TopicAlreadyExistsError:  # another worker was quicker
            _raise_for(code, f"{name}: {text}")
    await _wait_for_leaders(admin, {spec.name for spec in specs})


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """A topic is usable only when each partition has a leader, a moment after the answer."""
    for _ in range(int(_LEADER_SECONDS / 0.1)):
        described = [one for one in await admin.describe_topics() if one["topic"] in names]
        if len(described) == len(names) and all(
            p["leader"] >= 0 for one in described for p in one["partitions"]
        ):
            return
        await asyncio.sleep(0.1)
    msg = "the new topics have no leader yet: look at the brokers, then run feedback setup again"
    raise FeedbackError(msg)


def _raise_for(code: int, text: str) -> None:
    if code:
        raise for_code(code)(text)
