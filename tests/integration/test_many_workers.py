"""Many workers: the sum over their /metrics is right, and no two show the same, while they come, go and freeze."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.embedded.process import free_port
from pipeline.events import wire
from pipeline.events.schemas import schema
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.traffic import produce

SHOWN = "feedback_csat_window_responses"
SCALES = {
    "csat_1_3": 3,
    "csat_1_4": 4,
    "csat_1_5": 5,
    "csat_1_7": 7,
    "csat_1_10": 10,
}  # on all partitions of deltas
LEAF = ("instrument", "touchpoint", "channel")
SESSION = 6.0  # seconds, the least that the broker allows


class Answers:
    """Answers to a few leaves, one in ten sent twice. `given` counts each once."""

    def __init__(self, seed):
        self.given = Counter()
        self._rng, self._last = random.Random(seed), None

    def next(self):
        rng = self._rng
        if self._last is None or rng.random() > 0.1:
            instrument = rng.choice(list(SCALES))
            record = {
                "response_id": f"{rng.getrandbits(128):032x}",
                "occurred_at": int(time.time() * 1000),
                "source": "test",
                "instrument": instrument,
                "score": rng.randint(1, SCALES[instrument]),
                "touchpoint": rng.choice(["checkout", "delivery"]),
                "channel": rng.choice(["web", "app"]),
                "revision": 0,
                "retracted": False,
            }
            self.given[tuple(record[name] for name in LEAF)] += 1
            self._last = record["response_id"].encode(), wire.encode(schema("SurveyResponse"), record)
        return self._last


class Process:
    """A worker."""

    def __init__(self, environment, log):
        self.listen, self.log = f"127.0.0.1:{free_port()}", log
        self._environment = environment | {"FEEDBACK_METRICS__LISTEN": self.listen}
        with log.open("wb") as out:
            command = [sys.executable, "-m", "pipeline", "worker", "--only", "tally,roll"]
            self.process = subprocess.Popen(command, env=self._environment, stdout=out, stderr=out)

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.listen}/{path}", timeout=20) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def leaves(self):
        """What it shows: leaf -> responses in the hour."""
        found = Counter()
        for family in text_string_to_metric_families(self.get("metrics")):
            for sample in family.samples if family.name == SHOWN else ():
                found[tuple(sample.labels[name] for name in LEAF)] += int(sample.value)
        return found

    async def ready(self):
        while await asyncio.to_thread(self.get, "readyz") != "ready\n":
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            await asyncio.sleep(0.1)

    async def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, 30) == 0, self.log.read_text()[-4000:]


class Watch:
    """Looks at all workers at once, again and again: nothing is shown twice, and never more than was given."""

    def __init__(self, given):
        self.workers = []
        self._given, self._twice = given, set()

    async def look(self):
        """What all of them show together."""
        await asyncio.sleep(0.1)
        shown = await asyncio.gather(*(asyncio.to_thread(one.leaves) for one in self.workers))
        by = Counter(leaf for leaves in shown for leaf in leaves)
        twice = {leaf for leaf, n in by.items() if n > 1}
        # one answer may be from just before a partition moved and the other from just after, but not two in a row
        assert not twice & self._twice, "two workers show the same"
        self._twice, total = twice, sum(shown, Counter())
        assert all(n <= self._given[leaf] for leaf, n in total.items() if leaf not in twice)
        return total

    async def until_all_are_shown(self):
        while await self.look() != self._given:
            pass

    async def during(self, something):
        """Look until it is done."""
        task = asyncio.ensure_future(something)
        while not task.done():
            await self.look()
        await task


@pytest.fixture
def start(variables, apache_kafka, tmp_path):
    started = []

    def one():
        kafka = {"bootstrap": apache_kafka, "session_timeout": f"{SESSION}s"}
        environment = variables(kafka=kafka, windows=["1h"])
        started.append(Process(environment, tmp_path / f"worker {len(started)}.log"))
        return started[-1]

    yield one
    for worker in started:
        worker.process.kill()
        worker.process.wait()
        print(worker.log.read_text()[-3000:])


async def test_the_sum_over_all_is_right_and_nothing_is_shown_twice(start, settings, apache_kafka, seed):
    configured, answers = settings(kafka={"bootstrap": apache_kafka}), Answers(seed)
    topic = Topics(configured.kafka.prefix).responses
    await ensure(configured)
    watch, enough = Watch(answers.given), asyncio.Event()
    async with asyncio.timeout(240):
        watch.workers = [start(), start()]
        await asyncio.gather(*(one.ready() for one in watch.workers))
        await produce(apache_kafka, topic, answers, 500, 2000)
        await watch.until_all_are_shown()
        sending = asyncio.create_task(produce(apache_kafka, topic, answers, 10**6, 100, until=enough))
        watch.workers.append(start())  # and all that goes on from here while answers come
        await watch.during(watch.workers[2].ready())
        leaving, frozen, _ = watch.workers
        await watch.during(leaving.end())
        watch.workers.remove(leaving)
        frozen.process.send_signal(signal.SIGSTOP)
        watch.workers.remove(frozen)
        await watch.during(asyncio.sleep(SESSION + 2))
        enough.set()
        await sending
        await watch.until_all_are_shown()  # the last one has everything, and alone
        frozen.process.send_signal(signal.SIGCONT)
        assert not frozen.leaves(), "it does not know yet that others have what it had"
        watch.workers.append(frozen)
        await watch.during(frozen.ready())
        await watch.until_all_are_shown()
