"""`feedback replay` and its functions, against real brokers: the incident log arrives whole and in order."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.client import Feedback
from pipeline.config import Settings
from pipeline.events.wire import decode
from pipeline.replay import Report, load_mapping, replay
from pipeline.streams.setup import ensure
from tests.support import topic_log

Build = Callable[..., Settings]
ROOT = Path(__file__).parents[2]
LOG = ROOT / "examples" / "incidents" / "incident_event_log.csv.gz"
MAP = LOG.with_name("incidents.toml")
EVENTS = 3129
ZENDESK = ROOT / "examples" / "zendesk" / "ticket_events.json"


@pytest.fixture
async def on_broker(settings: Build, kafka: str) -> Settings:
    made = settings(kafka={"bootstrap": kafka})
    await ensure(made)
    return made


def run(settings: Settings, path: Path = LOG, mapping: Path = MAP, **more: Any) -> Report:
    kafka = settings.kafka
    with Feedback(kafka.bootstrap, source="replay", prefix=kafka.prefix) as feedback:
        return replay(path, load_mapping(mapping), feedback, **more)


async def records(settings: Settings) -> list[Any]:
    return await topic_log.records(settings.kafka.bootstrap, f"{settings.kafka.prefix}.touchpoints")


async def test_the_incident_log_arrives_whole_and_sorted_and_twice_under_the_same_ids(
    on_broker: Settings,
) -> None:
    read: list[tuple[int, int]] = []
    sent: list[tuple[int, int]] = []
    report = await asyncio.to_thread(
        run, on_broker, on_read=lambda *step: read.append(step), on_sent=lambda *step: sent.append(step)
    )
    assert (report.rows, report.events, report.faults) == (5998, EVENTS, ())
    assert (report.first, report.last) == (
        datetime(2016, 2, 29, 1, 16, tzinfo=UTC),
        datetime(2017, 2, 4, 19, 0, tzinfo=UTC),
    )
    assert read[-1] == (LOG.stat().st_size,) * 2 and sent[-1] == (EVENTS, EVENTS)
    times = defaultdict(list)
    ids = []
    for record in await records(on_broker):
        event = decode(record.value)[1]
        times[record.partition].append(event["occurred_at"])
        ids.append(event["event_id"])
        assert record.key == event["case_id"].encode()
    assert len(set(ids)) == len(ids) == EVENTS
    assert all(partition == sorted(partition) for partition in times.values())
    await asyncio.to_thread(run, on_broker)
    again = [decode(record.value)[1]["event_id"] for record in await records(on_broker)]
    assert (len(again), set(again)) == (2 * EVENTS, set(ids))


async def test_shifted_to_now_the_last_event_is_now_and_the_spans_stay(on_broker: Settings) -> None:
    before = datetime.now(UTC)
    report = await asyncio.to_thread(run, on_broker, shift_to_now=True)
    assert report.first and report.last
    assert before - timedelta(seconds=1) <= report.last <= datetime.now(UTC)
    assert report.last - report.first == datetime(2017, 2, 4, 19) - datetime(2016, 2, 29, 1, 16)  # noqa: DTZ001 - only their distance counts
    events = [decode(record.value)[1] for record in await records(on_broker)]
    assert max(event["occurred_at"] for event in events) == report.last


async def test_speed_plays_history_at_a_multiple_of_its_own_pace(on_broker: Settings, tmp_path: Path) -> None:
    lines = LOG_HEAD.splitlines()
    (tmp_path / "log.csv").write_text("\n".join(lines))
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    began = time.monotonic()
    sent: list[tuple[int, int]] = []
    report = await asyncio.to_thread(
        run,
        on_broker,
        tmp_path / "log.csv",
        tmp_path / "map.toml",
        speed=3600,
        on_sent=lambda *step: sent.append(step),
    )
    # An hour and a half at 3600 times its pace cannot be over before 1.5 s are.
    assert time.monotonic() - began >= 1.5
    assert (report.events, sent) == (3, [(0, 3), (1, 3), (2, 3), (3, 3)])


LOG_HEAD = """id,at
a,2025-01-01 10:00
b,2025-01-01 10:30
c,2025-01-01 11:30"""
SMALL_MAP = """
[[event]]
type = "touchpoint"
event_id.column = "id"
occurred_at.column = "at"
source = "log"
touchpoint = "t"
action = "seen"
channel = "web"
"""


async def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pipeline", "replay", *arguments]
    return await asyncio.to_thread(
        subprocess.run, line, env=environment, capture_output=True, text=True, timeout=90, check=False
    )


async def test_the_command_reports_bad_rows_and_sends_the_rest(
    on_broker: Settings, variables: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text(LOG_HEAD + "\nd,soon\ne\nf,2025-01-01 09:00")
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    here = variables(kafka={"prefix": on_broker.kafka.prefix, "bootstrap": on_broker.kafka.bootstrap})
    done = await command(here, str(tmp_path / "log.csv"), "--map", str(tmp_path / "map.toml"))
    assert done.returncode == 1
    assert "line 5: column at (occurred_at): 'soon' fits none of the formats iso" in done.stderr
    assert "line 6: has 1 cells; the header has 2" in done.stderr
    assert "6 rows, 2 of them bad; 4 events acknowledged" in done.stderr
    assert "from 2025-01-01 09:00 to 2025-01-01 11:30 UTC" in done.stderr
    assert len(await records(on_broker)) == 4


async def test_the_command_tells_what_is_wrong_with_a_mapping_and_sends_nothing(
    on_broker: Settings, variables: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text(LOG_HEAD)
    (tmp_path / "map.toml").write_text(SMALL_MAP.replace('"at"', '"when_it_was"'))
    here = variables(kafka={"prefix": on_broker.kafka.prefix, "bootstrap": on_broker.kafka.bootstrap})
    done = await command(here, str(tmp_path / "log.csv"), "--map", str(tmp_path / "map.toml"))
    assert done.returncode == 1
    assert "line 5, event 1, occurred_at: log.csv has no column when_it_was" in done.stderr
    assert await records(on_broker) == []


@pytest.mark.parametrize(
    ("table", "mapping", "told"),
    [
        (LOG, MAP, "5,998 rows, 0 of them bad; 3,129 events acknowledged"),
        (ZENDESK, ZENDESK.with_name("zendesk.toml"), "25 rows, 0 of them bad; 14 events acknowledged"),
    ],
)
async def test_the_command_replays_the_examples_with_exit_code_0(
    on_broker: Settings, variables: Callable[..., dict[str, str]], table: Path, mapping: Path, told: str
) -> None:
    here = variables(kafka={"prefix": on_broker.kafka.prefix, "bootstrap": on_broker.kafka.bootstrap})
    done = await command(here, str(table), "--map", str(mapping))
    assert done.returncode == 0, done.stderr
    assert told in done.stderr
    assert "no row meets" not in done.stderr
