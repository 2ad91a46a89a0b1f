"""The demo from outside: started, looked at, ended, started again, and everything that can be in its way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pipeline.embedded.process import free_port
from tests.e2e import browser
from tests.e2e.running_demo import WORKS, RunningDemo, ask, demo, until_stored
from tests.support.needs import need

EXAMPLE = Path(__file__).parents[2] / "examples" / "incidents"
REPLAY = ("--replay", str(EXAMPLE / "incident_event_log.csv.gz"), "--map", str(EXAMPLE / "incidents.toml"))
EVENT = {"source": "test", "touchpoint": "checkout", "channel": "web"}


def outcomes(own: dict[str, str]) -> dict[str, int]:
    found = ask(own, "SELECT outcome, toInt64(sum(n)) FROM outcomes GROUP BY outcome")
    return {outcome: int(n) for outcome, n in found}


def settled(own: dict[str, str], known: int) -> dict[str, int]:
    """The outcomes once at least so many records are accounted for."""
    end = time.monotonic() + 60
    while sum((found := outcomes(own)).values()) < known:
        assert time.monotonic() < end, found
        time.sleep(0.5)
    return found


def post(own: dict[str, str], token: str, event: dict[str, Any]) -> int:
    request = urllib.request.Request(
        f"http://{own['FEEDBACK_GATEWAY__LISTEN']}/v1/events",
        json.dumps(event).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


def adds_up(detail: dict[str, Any]) -> None:
    """What the page is told of a touchpoint: its channels, its segments and its answers each make the whole."""
    here = [row for row in detail["scores"] if row["metric"] == "csat" and row["window"] == "1h"]
    whole = next(row["n"] for row in here if not row["channel"] and not row["segment"])
    assert sum(row["n"] for row in here if row["channel"]) == whole
    assert sum(row["n"] for row in here if row["segment"]) == whole
    answers = next(each["counts"] for each in detail["answers"] if each["metric"] == "csat")
    assert sum(n for _, n in answers) == whole


async def test_one_command_to_scores_on_the_page(own: dict[str, str], tmp_path: Path) -> None:
    need(None if browser.path() else "no chromium on this machine: apt-get install chromium")
    with demo(tmp_path / "data", own) as running:
        running.until(WORKS)
        async with browser.tab(tmp_path / "profile") as tab:
            await tab.open(f"http://{own['FEEDBACK_PAGE__LISTEN']}/")
            await tab.until("document.getElementById('lead').textContent === 'Payment is below its target.'")
            assert await tab.ask("document.querySelector('#table tbody tr').dataset.touchpoint") == "payment"
            assert await tab.ask("document.querySelectorAll('#table tbody tr').length") == 12
            await tab.until(
                "document.querySelector('#table tbody .csat .line').getAttribute('d')?.length > 40", 60
            )
            tiles = "[...document.querySelectorAll('.tile .number')].map((it) => it.textContent)"
            first = await tab.ask(tiles)
            assert not any(text.startswith("no ") for text in first)
            n = "document.querySelector('.tile.csat .n').textContent"
            before = await tab.ask(n)
            await tab.until(f"{n} !== {before!r}")
            await tab.ask("document.querySelector('[data-touchpoint=payment] a').click()")
            rows = "document.querySelectorAll('#by-{} tbody tr').length > 1"
            await tab.until(f"{rows.format('channel')} && {rows.format('segment')}")
            assert tab.problems == []
            adds_up(await tab.ask("fetch('/detail?window=1h&touchpoint=payment').then((it) => it.json())"))
            refused = "fetch('/detail?window=2y&touchpoint=payment').then(async (it) => [it.status, await it.text()])"
            assert await tab.ask(refused) == [
                400,
                "there is no such window: ask for one of 15m, 1h, 24h, 7d, 30d\n",
            ]
        token = running.until(r"token (\S+)")[1]
        assert post(own, token, {"type": "response", "instrument": "csat_1_5", "score": 5, **EVENT}) == 202
        assert running.end() == 0
        assert running.left == []


def test_a_second_start_goes_on_with_the_same_data(own: dict[str, str], tmp_path: Path) -> None:
    with demo(tmp_path / "data", own, "--rate", "20") as running:
        running.until(WORKS)
        sent = int(running.until(r"([\d,]+) events, up to now")[1].replace(",", ""))
        first = settled(own, sent)
        token = running.until(r"token (\S+)")[1]
        assert running.end(signal.SIGTERM) == 0
    with demo(tmp_path / "data", own, "--rate", "20") as running:
        assert running.until(r"token (\S+)")[1] == token
        missed = int(running.until(r"([\d,]+) events, up to now")[1].replace(",", ""))
        assert missed < 1000
        second = settled(own, sent + missed)
        assert second["counted"] >= first["counted"] > 25_000
        assert set(second) == {"counted"}
        assert running.end() == 0
        assert running.left == []


def test_it_ends_by_itself_after_the_duration(own: dict[str, str], tmp_path: Path) -> None:
    with demo(tmp_path / "data", own, "--duration", "1", "--rate", "0") as running:
        assert running.process.wait(120) == 0
        assert "up to now" not in running.text
        assert running.left == []


@pytest.mark.parametrize("said", ["starting", "broker"])
def test_ctrl_c_while_it_starts(own: dict[str, str], tmp_path: Path, said: str) -> None:
    with demo(tmp_path / "data", own) as running:
        running.until("data in" if said == "starting" else said)
        code = running.end()
        assert code == 0 or (said == "starting" and code in (130, -signal.SIGINT))
        assert running.left == []


def test_a_child_that_hangs_does_not_keep_it(own: dict[str, str], tmp_path: Path) -> None:
    with demo(tmp_path / "data", own, "--rate", "0") as running:
        running.until(WORKS)
        for part in (" worker ", "pipeline.embedded.store"):
            stop(running, part, signal.SIGSTOP)
        assert running.end() == 0
        assert running.left == []


@pytest.mark.parametrize("part", [" worker ", "noida-db"])
def test_a_part_that_dies_ends_it_with_a_sentence(own: dict[str, str], tmp_path: Path, part: str) -> None:
    with demo(tmp_path / "data", own, "--rate", "0") as running:
        running.until(WORKS)
        stop(running, part, signal.SIGKILL)
        assert running.process.wait(60) == 1
        assert "ended by itself, so the demo ends too. Its log, " in running.text
        assert "Traceback" not in running.text
        assert running.left == []


def stop(running: RunningDemo, part: str, number: int) -> None:
    os.kill(running.pid_of(part), number)


def test_a_second_instance_on_the_same_data_is_refused(own: dict[str, str], tmp_path: Path) -> None:
    with demo(tmp_path / "data", own, "--rate", "0") as running:
        running.until(WORKS)
        with demo(tmp_path / "data", own) as second:
            assert second.process.wait(60) == 1
            assert f"is in use by process {running.process.pid}: stop that one" in second.text
        assert running.process.poll() is None
        assert running.end() == 0


def test_every_address_in_use_is_named(own: dict[str, str], tmp_path: Path) -> None:
    keys = {"page.listen": "FEEDBACK_PAGE__LISTEN", "store.http": "FEEDBACK_STORE__HTTP"}
    with socket.socket() as one, socket.socket() as other:
        for held, variable in zip((one, other), keys.values(), strict=True):
            host, port = own[variable].split(":")
            held.bind((host, int(port)))
            held.listen()
        with demo(tmp_path / "data", own) as running:
            assert running.process.wait(60) == 1
            for key, variable in keys.items():
                assert f"cannot listen on {own[variable]}" in running.text
                assert f"set {key} to another address" in running.text
            assert running.left == []


def test_no_broker_at_the_address_given(own: dict[str, str], tmp_path: Path) -> None:
    with demo(tmp_path / "data", own, "--kafka", f"127.0.0.1:{free_port()}") as running:
        assert running.process.wait(120) == 1
        assert "no Kafka broker answers at 127.0.0.1:" in running.text
        assert running.left == []


def test_a_history_of_its_own_and_only_once(own: dict[str, str], tmp_path: Path) -> None:
    counted = "SELECT sum(n), round(sum(seconds_sum)) FROM resolution_times WHERE clock = 'first_resolution'"
    own = {**own, "FEEDBACK_CASES__FORGET_AFTER": "400d"}  # some of these cases wait for ten months
    with demo(tmp_path / "data", own, *REPLAY) as running:
        running.until(r"5,998 rows, 0 of them bad; 3,129 events acknowledged")
        running.until(WORKS)
        assert settled(own, 3129) == {"counted": 3129}
        assert [int(value) for value in until_stored(own, counted, 890)] == [890, 964_508_580]
        assert running.end() == 0
    assert (tmp_path / "data-incident_event_log" / "demo.json").exists()
    assert not (tmp_path / "data").exists()
    with demo(tmp_path / "data", own, *REPLAY) as running:
        running.until("was replayed at an earlier start")
        running.until(WORKS)
        assert outcomes(own) == {"counted": 3129}
        assert running.end() == 0
    with demo(tmp_path / "data", own, "--data", str(tmp_path / "data-incident_event_log")) as running:
        running.until(WORKS)
        assert "up to now" not in running.text  # no sample traffic into the history of others
        assert running.end() == 0
        assert running.left == []


def test_replay_needs_its_map(own: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("id\n")
    with demo(tmp_path / "data", own, "--replay", str(file)) as running:
        assert running.process.wait(60) == 1
        assert "--replay FILE and --map MAP belong together" in running.text


WITHOUT = """
import sys
from importlib import util
there = util.find_spec
util.find_spec = lambda name: None if name == "chdb" else there(name)
from pipeline.cli import main
sys.argv = ["feedback", "demo"]
main()
"""


def test_a_missing_extra_is_named(own: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT]
    ended = subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "the demo needs chdb: pip install 'feedback-pipeline[embedded]'" in ended.stderr
