"""The store is gone for minutes under load: what else changes? Nothing, and this measures it.

python -m tests.chaos.outage --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaProducer
from rich.console import Console

from pipeline.embedded import apache
from pipeline.events import wire
from pipeline.events.partition import partition_of
from pipeline.events.schemas import schema
from pipeline.stores.client import connect
from tests.chaos.faults import Say
from tests.chaos.stage import Stage, Worker
from tests.chaos.truth import Compared, compare_tables, recount
from tests.support.traffic import Touchpoints, Traffic, produce

ROOT = Path(__file__).parents[2]
UP = "feedback_store_up"
MINUTE = 60.0


@dataclass
class Outage:
    """What was seen.

    Attributes:
        memory: megabytes of the worker: before the store went, the most while it was away, and of the one that then
            stores everything. What is counted grows meanwhile: ids, cases and cells.
        behind: seconds until a response sent just now stood in the windows of /metrics, again and again meanwhile.
        answered: seconds that /metrics took to answer, of the same looks.
        up: values of `feedback_store_up` before, during and after.
        compared: what was stored in the end.
    """

    memory: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    up: list[float] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)

    def __str__(self) -> str:
        """A few lines."""
        lost, doubled = (sum(getattr(one, what) for one in self.compared) for what in ("lost", "doubled"))
        before, most, after = self.memory
        return (
            f"memory of the worker: {before:.0f} MB before, at most {most:.0f} MB meanwhile, {after:.0f} MB after\n"
            f"responses stood in /metrics after {_p99(self.behind):.2f} s (p99 of {len(self.behind)} looks), "
            f"which answered within {_p99(self.answered):.2f} s\n"
            f"stored afterwards: {lost} lost, {doubled} doubled"
        )


async def outage(
    jars: Path, folder: Path, seconds: float, seed: int, say: Say, rate: float = 1500.0
) -> Outage:
    """One worker under load, `seconds` without a store, and then everything stored."""
    stage, seen = Stage(jars, folder, 1, kafka={"session_timeout": "10s"}), Outage()
    (worker,) = stage.workers
    async with stage.up():
        worker.start()
        await worker.ready()
        async with _loaded(stage, seed, rate):
            await _watched(stage, worker, min(10.0, seconds), Outage(), say)
            seen.memory.append(_resident(worker))
            seen.up.append(await _store_up(worker))
            say(f"the store goes for {seconds:g} s")
            stage.store.kill()
            seen.memory.append(await _watched(stage, worker, seconds, seen, say))
            seen.up.append(await _store_up(worker))
            stage.store.start()
            await stage.store.ready()
            say("the store is back")
        await worker.end()
        worker.start("--drain")
        while worker.running:
            seen.memory[2:] = [_resident(worker) or seen.memory[-1]]
            await asyncio.sleep(0.2)
        assert worker.code == 0, worker.log.read_text()[-4000:]
        truth = await recount(
            stage.settings.kafka.bootstrap, stage.topics, round(stage.settings.horizon * 1000)
        )
        with connect(stage.settings, write=False) as client:
            seen.compared = await asyncio.to_thread(compare_tables, client, stage.topics, truth)
    return seen


@asynccontextmanager
async def _loaded(stage: Stage, seed: int, rate: float) -> AsyncIterator[None]:
    """Traffic for as long as the block runs."""
    over, bootstrap = asyncio.Event(), stage.settings.kafka.bootstrap
    flows = [(stage.topics.responses, Traffic(seed)), (stage.topics.touchpoints, Touchpoints(seed))]
    sending = [
        asyncio.create_task(produce(bootstrap, topic, source, 1 << 40, rate / 2, until=over))
        for topic, source in flows
    ]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*sending)


async def _watched(stage: Stage, worker: Worker, seconds: float, seen: Outage, say: Say) -> float:
    """Send a response to a touchpoint of its own again and again, until /metrics has it; the most memory meanwhile."""
    most, until, said = 0.0, time.monotonic() + seconds, time.monotonic()
    producer = AIOKafkaProducer(bootstrap_servers=stage.settings.kafka.bootstrap)
    await producer.start()
    try:
        while time.monotonic() < until:
            name, began = f"probe {len(seen.behind)} {until:.0f}", time.monotonic()
            await _probe(producer, stage, name)
            while f'touchpoint="{name}"' not in await _page(worker, seen):
                assert time.monotonic() - began < 2 * MINUTE, "nothing is counted while the store is away"
                await asyncio.sleep(0.1)
            seen.behind.append(time.monotonic() - began)
            most = max(most, _resident(worker))
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(
                    f"{most:.0f} MB, /metrics behind by {seen.behind[-1]:.1f} s, {max(0, until - said):.0f} s to go"
                )
            await asyncio.sleep(max(0.0, 1 - (time.monotonic() - began)))
    finally:
        await producer.stop()
    return most


async def _probe(producer: AIOKafkaProducer, stage: Stage, touchpoint: str) -> None:
    record = {
        "response_id": touchpoint,
        "occurred_at": round(time.time() * 1000),
        "source": "test",
        "instrument": "nps_0_10",
        "score": 10,
        "touchpoint": touchpoint,
        "channel": "web",
    }
    key = touchpoint.encode()
    place = partition_of(key, stage.settings.kafka.partitions)
    value = wire.encode(schema("SurveyResponse"), record)
    await producer.send_and_wait(stage.topics.responses, value, key=key, partition=place)


async def _store_up(worker: Worker) -> float:
    page = await _page(worker)
    (value,) = re.findall(rf"^{UP} (\S+)$", page, re.MULTILINE)
    return float(value)


async def _page(worker: Worker, seen: Outage | None = None) -> str:
    began = time.monotonic()
    page = await asyncio.to_thread(_read, worker.url("metrics"))
    if seen is not None:
        seen.answered.append(time.monotonic() - began)
    return page


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as page:
        text: str = page.read().decode()
    return text


def _resident(worker: Worker) -> float:
    """Megabytes of memory; 0 for a process that is gone."""
    assert worker.child is not None
    try:
        pages = int(Path(f"/proc/{worker.child.pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] if values else float("nan")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10 * MINUTE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1500.0, help="records a second")
    given = parser.parse_args()
    out = Console(highlight=False, markup=False, soft_wrap=True)
    jars = apache.fetch(ROOT / apache.BUILD)
    with tempfile.TemporaryDirectory(prefix="feedback-outage-") as folder:
        seen = asyncio.run(
            outage(jars, Path(folder), given.seconds, given.seed, lambda text: out.print(text), given.rate)
        )
    out.print(str(seen))
    return 1 if any(one.lost or one.doubled for one in seen.compared) else 0


if __name__ == "__main__":
    sys.exit(main())
