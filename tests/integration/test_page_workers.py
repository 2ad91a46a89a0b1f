"""The page of several workers: every score once, whoever owns it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import ClientSession

from pipeline.client import Feedback
from pipeline.config import Listen
from pipeline.embedded.process import free_port
from pipeline.page.workers import Told, Workers, together
from pipeline.streams.setup import ensure

PARTITIONS = 4
ASKED = 40  # answers to each of two instruments, which different workers may own
EXPECTED = [("csat", ASKED), ("nps", ASKED)]


def test_two_workers_are_one_page(settings, variables, embedded_kafka):
    kafka = {"bootstrap": embedded_kafka, "partitions": PARTITIONS}
    configured = settings(kafka=kafka)
    asyncio.run(ensure(configured))
    ports = [free_port(), free_port()]
    counting = [variables(kafka=kafka, metrics={"listen": f"127.0.0.1:{port}"}) for port in ports]
    page = variables(page={"workers": ",".join(f"127.0.0.1:{port}" for port in ports)})
    started = [command(env, "worker", "--only", "tally,roll") for env in counting]
    started.append(command(page, "page"))
    try:
        send(embedded_kafka, configured.kafka.prefix)
        until(lambda: both_own_some_and_all_is_counted(ports))
        address = f"http://{configured.page.listen}/detail?window=1h&touchpoint=checkout"
        until(lambda: checkout(json.loads(get(address) or "{}").get("scores", ())) == EXPECTED)
    finally:
        for process in started:
            process.kill()
            process.wait()


def command(env: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments], env=env, stdout=quiet, stderr=quiet
    )


def send(bootstrap: str, prefix: str) -> None:
    with Feedback(bootstrap, source="test", prefix=prefix) as feedback:
        for k in range(ASKED):
            feedback.csat("checkout", 1 + k % 5, channel="web")
            feedback.nps("checkout", k % 11, channel="web")


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def get(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def both_own_some_and_all_is_counted(ports: list[int]) -> bool:
    each = asyncio.run(ask(ports))
    owned = [set(told.parts) for told in each if told is not None]
    if len(owned) < len(ports) or not all(owned) or owned[0] & owned[1]:
        return False
    every = together(told._asdict() | {"parts": told.parts.values()} for told in each if told is not None)
    return every is not None and every.whole and checkout(every.rows("scores")) == EXPECTED


def checkout(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    here = [row for row in rows if row["touchpoint"] == "checkout" and row["window"] == "1h"]
    return sorted((row["metric"], row["n"]) for row in here if not row["channel"] and not row["segment"])


async def ask(ports: list[int]) -> list[Told | None]:
    async with ClientSession() as session:
        return [await Workers([Listen("127.0.0.1", port)], session).ask() for port in ports]
