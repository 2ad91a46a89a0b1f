"""`feedback emit` as a command, against real brokers."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings
from pipeline.embedded.process import free_port
from pipeline.streams.setup import ensure
from tests.support import topic_log

Build = Callable[..., Settings]
Environment = Callable[..., dict[str, str]]
PAID = {"type": "touchpoint", "source": "s", "touchpoint": "checkout", "action": "paid", "channel": "web"}
RATED = {
    "type": "response",
    "source": "s",
    "instrument": "nps_0_10",
    "score": 9,
    "touchpoint": "checkout",
    "channel": "web",
}


@pytest.fixture
async def on_broker(settings: Build, kafka: str) -> Settings:
    made = settings(kafka={"bootstrap": kafka})
    await ensure(made)
    return made


async def emit(
    environment: dict[str, str], *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run the command; it may take a minute on a busy machine, no more."""
    command = [sys.executable, "-m", "pipeline", "emit", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, command, input=stdin, env=environment, capture_output=True, timeout=90, check=False
    )
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


async def found(settings: Settings, kind: str) -> list[dict[str, Any]]:
    return await topic_log.events(settings.kafka.bootstrap, f"{settings.kafka.prefix}.{kind}")


async def test_every_line_of_a_file_is_sent(
    on_broker: Settings, variables: Environment, tmp_path: Path
) -> None:
    lines = [{**RATED, "score": number % 11, "response_id": f"r-{number}"} for number in range(3000)]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))
    here = variables(kafka={"prefix": on_broker.kafka.prefix})
    bootstrap = on_broker.kafka.bootstrap
    done = await emit(here, str(tmp_path / "events.jsonl"), "--bootstrap", bootstrap)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^3,000 of 3,000 lines acknowledged in .* s \([\d,]+/s\)$", done.stderr, re.MULTILINE)
    responses = {one["response_id"]: one["score"] for one in await found(on_broker, "responses")}
    assert responses == {one["response_id"]: one["score"] for one in lines}


async def test_bad_lines_of_stdin_are_told_with_their_number_and_the_rest_goes_on(
    on_broker: Settings, variables: Environment
) -> None:
    lines = [
        b"\xef\xbb\xbf" + json.dumps({**PAID, "event_id": "first"}).encode(),
        b"",
        b"{not json",
        json.dumps({**RATED, "score": 11, "chanel": "x"}).encode(),
        b"\xff\xff",
        b"\r",
        json.dumps({**RATED, "occurred_at": "2026-01-01"}).encode(),
        json.dumps({**RATED, "instrument": "unheard_of"}).encode(),
        b"[" * 100_000,
        json.dumps({**PAID, "event_id": "last", "occurred_at": 1_767_225_600_000}).encode(),
    ]
    here = variables(kafka={"prefix": on_broker.kafka.prefix, "bootstrap": on_broker.kafka.bootstrap})
    done = await emit(here, stdin=b"\n".join(lines))
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("line ")]
    assert [line.partition(":")[0] for line in told] == [f"line {n}" for n in (3, 4, 5, 7, 8, 9)]
    assert "chanel is not a field; did you mean channel?" in told[1]
    assert "score must be 0 to 10 on nps_0_10, not 11" in told[1]
    assert "2 of 8 lines acknowledged" in done.stderr
    assert {one["event_id"] for one in await found(on_broker, "touchpoints")} == {"first", "last"}
    assert await found(on_broker, "responses") == []


async def test_what_is_not_acknowledged_is_told_line_by_line(variables: Environment) -> None:
    away = variables(kafka={"bootstrap": f"127.0.0.1:{free_port()}"})
    lines = [json.dumps(PAID), "{", json.dumps(RATED)]
    done = await emit(away, "-", "--wait", "2", stdin="\n".join(lines).encode())
    assert done.returncode == 1
    assert re.search(r"^line 1: not acknowledged: .*no broker answers at", done.stderr, re.MULTILINE)
    assert re.search(r"^line 2: is not JSON", done.stderr, re.MULTILINE)
    assert re.search(r"^line 3: not acknowledged", done.stderr, re.MULTILINE)
    assert "0 of 3 lines acknowledged" in done.stderr


async def test_a_missing_file_is_told(variables: Environment) -> None:
    done = await emit(variables(), "none.jsonl")
    assert done.returncode != 0
    assert "none.jsonl" in done.stderr and "Traceback" not in done.stderr
