"""`reset`: make everything that was derived anew, from what Kafka and the raw tables still hold.

Broken off in the middle it is run again: what is to be done is written down first, topics are deleted before and made
after the store is cleaned, so that no worker starts in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from pipeline.config import Settings
from pipeline.reset import tables, topics
from pipeline.reset.tables import DONE, PLANNED, Plan
from pipeline.streams.rewind import rewind
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from pipeline.verify.ask import frame

_DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_HOUR = 60  # minutes by which an app's clock may run ahead
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Intent:
    """What a reset is going to do.

    Attributes:
        plan: as it is written down.
        again: an earlier one was broken off, and this goes on with it.
        bounds: what the source topics still hold, by topic and partition.
    """

    plan: Plan
    again: bool
    bounds: Mapping[str, Mapping[int, topics.Bounds]]

    @property
    def records(self) -> int:
        """How many records will be counted anew."""
        return sum(one.end - one.begin for parts in self.bounds.values() for one in parts.values())


async def intend(settings: Settings, client: Client, say: Say) -> Intent:
    """Look what has to be done; nothing is changed.

    Raises:
        FeedbackError: workers are running, or the source topics do not fit the configuration.
    """
    await topics.await_no_members(settings, say)
    say("looking at topics and tables")
    bounds = await topics.source_bounds(settings)
    before = tables.newest(client)
    again = before is not None and before.step != DONE
    aside = set(before.aside) if before is not None and again else set()
    for topic, parts in bounds.items():
        stored = tables.last_rows(client, topic.removeprefix(f"{settings.kafka.prefix}."), topic)
        if await topics.made_anew(settings, topic, parts, stored):
            aside.add(topic)
    names = Topics(settings.kafka.prefix)
    aside |= {names.resolutions, names.follow_ups}
    begins = {f"{topic}/{p}": one.begin for topic, parts in bounds.items() for p, one in parts.items()}
    if before is not None and again:
        return Intent(_replaced(before, aside, begins), again, bounds)
    number = 1 if before is None else before.number + 1
    earliest = min(tables.earliest(client), before.earliest if before else 1 << 60)
    kept = max(_kept_before(settings, client, earliest), before.kept_before if before else 0)
    return Intent(Plan(number, PLANNED, tuple(sorted(aside)), begins, kept, earliest), again, bounds)


def reset(settings: Settings, client: Client, intent: Intent, say: Say) -> None:
    """Do it."""
    plan = intent.plan
    tables.save(client, plan)
    say("deleting topics")
    asyncio.run(topics.delete(settings, topics.derived(settings)))
    plan = tables.clean(client, plan, settings.kafka.prefix, say)
    say("making topics")
    asyncio.run(_made(settings))
    tables.save(client, Plan(plan.number, DONE, plan.aside, plan.begins, plan.kept_before, plan.earliest))


async def _made(settings: Settings) -> None:
    await ensure(settings)
    names = [one.name for one in Topics(settings.kafka.prefix).all_topics()]
    for group in topics.GROUPS:
        await rewind(settings, group, names)


def _replaced(before: Plan, aside: set[str], begins: Mapping[str, int]) -> Plan:
    return Plan(before.number, before.step, tuple(sorted(aside)), begins, before.kept_before, before.earliest)


def _kept_before(settings: Settings, client: Client, earliest: int) -> int:
    """The first minute of which all raw rows are held; 0 if none were ever dropped."""
    told = frame(client, "SELECT min(toInt64(toUInt16(day))) AS day, count() AS n FROM outcome_counts FINAL")
    first = min(earliest, told["day"].item() * _DAY_MS if told["n"].item() else earliest)
    oldest = round((time.time() - settings.raw_retention) * 1000)
    return oldest // _MINUTE_MS + _HOUR + 1 if first < oldest - _DAY_MS else 0
