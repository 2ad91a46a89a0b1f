"""How soon an answer is seen: `python -m bench.freshness --rate 2000 10000`, on Apache Kafka, with everything on.

While answers come at the rate, probes with a touchpoint of their own are emitted by the Python client at random
instants. One is seen in /metrics when an answer of the worker that holds it has come in whole, and in ClickHouse when a
query of the view `csat` returns it; both are asked again and again, so what is told includes the asking. Worker, store,
broker, sender and whoever asks share this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.progress import Progress

from bench import report, topics
from bench.contenders import FEEDBACK
from bench.door import get, wait
from bench.live import Load, cut
from bench.meter import Meter
from bench.place import Broker, Place, broker, place
from bench.responses import responses
from bench.running import finish, start, stored
from pipeline.client import AsyncFeedback
from pipeline.stores.client import connect

PROBE = "probe"
# looked for and not parsed: whoever asks has one of two cores, too
_PROBES = re.compile(
    rb'\nfeedback_csat_window_responses{[^}]*window="1h"[^}]*touchpoint="probe"[^}]*} (\d+)(?=\n)'
)
ASKED = "SELECT sum(n) FROM csat WHERE touchpoint = 'probe'"
# reference/peers: p99 at 10,000/s from emit to the output topic, as shipped and (tuned)
PEERS = "Kafka Streams 298 ms (141), Flink 1,026 ms (131), quixstreams 10 s (355 ms)"
_PATIENCE = 30  # seconds after the last probe
SHARES = ("worker", "store", "broker")
out = Console(width=132, highlight=False, markup=False)
Count = Callable[[], Awaitable[int]]


@dataclass(slots=True)
class Told:
    """What a run came to; seconds.

    Attributes:
        rate: answers a second that were sent.
        behind: that the sender was late at most.
        cores: CPU seconds a second, by process.
        seen: by place, from emit to being seen, of each probe.
        asking: by place, how long each answer took.
    """

    rate: float = 0.0
    behind: float = 0.0
    cores: dict[str, float] = field(default_factory=dict)
    seen: dict[str, list[float]] = field(default_factory=dict)
    asking: dict[str, list[float]] = field(default_factory=dict)


async def emit(at: Place, seconds: float, emitted: list[float]) -> None:
    """A probe or so a second; `emitted` are the times of all so far."""
    kafka, chance = at.settings.kafka, random.Random(7)
    async with AsyncFeedback(kafka.bootstrap, source="bench", prefix=kafka.prefix) as feedback:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            emitted.append(time.monotonic())
            await feedback.response("csat_1_5", 5, touchpoint=PROBE, channel="web")


async def look(
    count: Count, every: float, emitted: list[float], seen: list[float], asking: list[float]
) -> None:
    """Ask how many probes there are until it is cancelled; probes of one partition are seen in their order."""
    while True:
        began = time.monotonic()
        n, now = await count(), time.monotonic()
        asking.append(now - began)
        seen += [now - at for at in emitted[len(seen) : n]]
        await asyncio.sleep(every)


def in_metrics(at: Place) -> Count:
    """Probes in /metrics."""

    def count() -> int:
        return sum(map(int, _PROBES.findall(get(at.settings, "/metrics")[1])))

    return lambda: asyncio.to_thread(count)


def in_view(client: Client) -> Count:
    """Probes in the view."""
    return lambda: asyncio.to_thread(lambda: int(str(client.command(ASKED))))


async def watch(
    at: Place, client: Client, load: Load, given: argparse.Namespace, told: Told
) -> tuple[float, float]:
    """Load, probes and whoever asks, until every probe is seen; from when to when the load was on."""
    stop, emitted = asyncio.Event(), list[float]()
    sending = asyncio.create_task(load.run(stop))
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"sending {given.rate}", total=given.warm + given.seconds)
        for _ in range(round(given.warm)):
            await asyncio.sleep(1)
            progress.advance(task)
        first, sent, load.behind = time.time(), load.sent, 0.0
        looking = []
        for name, count, every in (("metrics", in_metrics(at), 0.1), ("csat", in_view(client), 0.2)):
            seen, asking = told.seen.setdefault(name, []), told.asking.setdefault(name, [])
            looking.append(asyncio.create_task(look(count, every, emitted, seen, asking)))
        await emit(at, given.seconds, emitted)
        end, told.behind = time.time(), load.behind
        told.rate = (load.sent - sent) / (end - first)
        for _ in range(_PATIENCE):
            if min(map(len, told.seen.values())) == len(emitted):
                break
            await asyncio.sleep(1)
    for one in looking:
        one.cancel()
    await asyncio.gather(*looking, return_exceptions=True)
    stop.set()
    await sending
    short = {name: len(seen) for name, seen in told.seen.items() if len(seen) != len(emitted)}
    if short:
        out.print(f"WRONG: of {len(emitted)} probes these were seen: {short}")
    return first, end


def measure(kafka: Broker, rate: float, given: argparse.Namespace) -> Told:
    """One run."""
    at, told = place(kafka, "freshness"), Told()
    at.environment["FEEDBACK_HORIZON"] = given.horizon
    tails = cut(responses(20_000).values)
    load, log = Load(at.settings, tails, [1.0] * len(tails), rate), at.folder / "log"
    try:
        with stored(at) as store:
            process = start([FEEDBACK, "--log-json", "worker"], at, {}, log)
            try:
                with Meter(dict(zip(SHARES, (process.pid, store.pid, kafka.pid), strict=True))) as meter:
                    wait(lambda: get(at.settings, "/readyz")[0] == 200, log)
                    with connect(at.settings, write=False) as client:
                        first, end = asyncio.run(watch(at, client, load, given, told))
                    told.cores = {name: meter.cpu(name, first, end) / (end - first) for name in SHARES}
            finally:
                process.send_signal(signal.SIGTERM)
                finish(process, log)
    finally:
        asyncio.run(topics.drop(at.settings))
    return told


def show(told: Told) -> None:
    """As text."""
    cores = ", ".join(f"{name} {n:.2f}" for name, n in told.cores.items())
    out.print(f"\n{told.rate:,.0f} answers/s (sender at most {told.behind:.2f} s late); cores: {cores}")
    for name, what in (("metrics", "emit to /metrics"), ("csat", "emit to view csat")):
        p50, p99, most = np.percentile(told.seen[name], [50, 99, 100]) * 1e3
        asking = np.median(told.asking[name]) * 1e3
        spread = f"p50 {p50:6,.0f} ms, p99 {p99:6,.0f} ms, at most {most:6,.0f} ms"
        out.print(f"{what:18} {spread}  ({len(told.seen[name])} probes, asking took {asking:,.0f} ms)")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.freshness", description=__doc__)
    parser.add_argument("--rate", type=float, nargs="+", default=[2_000, 10_000], help="answers a second")
    parser.add_argument("--warm", type=float, default=10, help="seconds before the first probe")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--horizon", default="1h", help="of the ids")
    given = parser.parse_args()
    on = report.machine()
    out.print(
        f"{on['processor']}, {on['cores']} cores, load before {on['load_before']:.1f}, commit {on['commit']}"
    )
    with broker() as kafka:
        for rate in given.rate:
            show(measure(kafka, rate, given))
    out.print(f"\nothers, p99 from emit to their output topic at 10,000/s as shipped (tuned): {PEERS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
