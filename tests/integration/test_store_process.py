"""`feedback store` as a process: one a folder, one a port, what it leaves behind, and the commands that ask it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from pipeline.embedded.process import InUse
from pipeline.embedded.store import EmbeddedStore, ensure_store, serve
from pipeline.errors import FeedbackError
from pipeline.stores.client import connect
from pipeline.stores.sink import AwayError, PoisonError, Sink
from tests.support.stores import ask, set_up


@pytest.fixture
def feedback(variables):
    """Runs a command with this test's configuration."""

    def run(*arguments, timeout=60, **more):
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            env=variables(**more),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def started(variables):
    """Starts a command; it is killed at the end if it still runs."""
    running = []

    def start(*arguments, **more):
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            env=variables(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def test_it_says_where_it_answers_and_ends_cleanly(started, settings):
    process = started("store")
    said = process.stdout.readline()
    built = settings()
    assert f"http://{built.store.http}" in said
    folder = built.store.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert "rror" not in process.stdout.read()


def test_ctrl_c_ends_it_cleanly_while_it_works(started, settings):
    process = started("store")
    process.stdout.readline()
    built = settings()
    slow = subprocess.Popen(
        [
            "curl",
            "-s",
            f"http://{built.store.http}/",
            "-d",
            "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)",
        ],
        stdout=subprocess.DEVNULL,
    )
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    slow.wait(10)


def test_a_second_one_on_the_folder_and_a_taken_port_are_one_sentence(store, feedback, settings):
    other = feedback("store", store={"http": f"127.0.0.1:{_free()}"})
    assert other.returncode == 1
    assert "is in use by process" in other.stderr
    assert other.stderr.count("\n") <= 2
    same_port = feedback("store", store={"dsn": f"chdb://{store.folder}-other"})
    assert same_port.returncode == 1
    assert "set store.http to another address" in same_port.stderr
    assert ask(store, b"SELECT 1")[2] == b"1\n"


def test_who_lost_the_race_for_folder_and_port_is_told_that_it_was_a_race(store):
    with pytest.raises(InUse):
        serve(store.folder, store.host, store.port, ready=pytest.fail)


def test_it_does_not_listen_where_others_could_read(feedback):
    refused = feedback("store", store={"http": f"0.0.0.0:{_free()}"})
    assert refused.returncode == 1
    assert "127.0.0.1 only" in refused.stderr


def test_a_server_in_the_dsn_leaves_nothing_to_run(feedback):
    refused = feedback("store", store={"dsn": "http://default@127.0.0.1:1/feedback"})
    assert refused.returncode == 1
    assert "ClickHouse server" in refused.stderr


def test_what_was_acknowledged_survives_a_kill(settings):
    built = settings()
    acknowledged = 0
    for turn in range(3):
        store = ensure_store(built)
        if not turn:
            set_up(built)
        with connect(built, write=True) as client:
            sink = Sink(client)
            for _ in range(5):
                frame = pl.DataFrame(
                    {
                        "stage": ["test"],
                        "topic": ["t"],
                        "partition": [acknowledged],
                        "offset": [1],
                        "time": [1],
                    }
                )
                sink.insert("progress", frame)
                acknowledged += 1
        os.kill(store._child.pid, signal.SIGKILL)
        store._child.stop()
    store = ensure_store(built)
    with connect(built, write=False) as client:
        assert client.command("SELECT count() FROM progress FINAL") == acknowledged
    store.stop()


def test_one_that_answers_is_used_and_one_that_does_not_is_started(settings):
    built = settings()
    first = ensure_store(built)
    try:
        assert ensure_store(built) is None
    finally:
        first.stop()
    again = ensure_store(built)
    assert again is not None
    again.stop()


def test_a_store_that_cannot_start_says_why(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        built = settings(store={"http": f"127.0.0.1:{taken.getsockname()[1]}"})
        with pytest.raises(FeedbackError, match=r"cannot listen on 127\.0\.0\.1"):
            ensure_store(built)


def test_a_token_of_the_configuration_replaces_the_one_in_the_folder(settings):
    built = settings(store={"token": "chosen-by-me"})
    store = ensure_store(built)
    try:
        assert ask(store, b"CREATE DATABASE x", user="writer", password="chosen-by-me")[0] == 200
        set_up(built)
    finally:
        store.stop()


def test_query_prints_a_table_or_json(store, feedback):
    table = feedback("query", "SELECT number AS n, {x:String} AS text FROM numbers(2)", "--param", "x=it's")
    assert (table.returncode, table.stdout.split()) == (0, ["n", "text", "0", "it's", "1", "it's"])
    rows = feedback("query", "SELECT 1 AS a, NULL AS b, [1] AS c, toDateTime(0) AS d", "--json")
    assert json.loads(rows.stdout) == [{"a": 1, "b": None, "c": [1], "d": "1970-01-01 00:00:00"}]
    assert json.loads(feedback("query", "SELECT 1 WHERE 0", "--json").stdout) == []
    pinned = feedback("query", "SELECT getSetting('session_timezone') AS zone", "--json")
    assert json.loads(pinned.stdout) == [{"zone": "UTC"}]


def test_query_without_a_store_starts_one_and_ends_it(feedback, settings):
    found = feedback("query", "SELECT 1 AS a", "--json")
    assert (found.returncode, json.loads(found.stdout)) == (0, [{"a": 1}])
    again = EmbeddedStore(settings().store.folder, port=_free())
    again.start().wait_ready()
    again.stop()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["SELECT nope"], "Unknown expression identifier"),
        (["DROP DATABASE feedback"], "readonly"),
        (["SELECT 1", "--param", "x"], "NAME=VALUE"),
        (["SELECT * FROM file('/etc/passwd')"], "outside the store"),
    ],
)
def test_query_fails_with_one_sentence(store, feedback, arguments, said):
    failed = feedback("query", *arguments)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stdout == ""


def test_report_of_nothing_and_of_something(store, settings, feedback):
    built = settings()
    missing = feedback("report")
    assert missing.returncode == 1
    assert "feedback setup" in missing.stderr
    set_up(built)
    nothing = feedback("report")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "No answers" in nothing.stderr
    assert json.loads(feedback("report", "--json").stdout) == []
    minute = 1_777_636_800_000
    cells = [
        {"metric": "csat", "instrument": "csat_1_5", "touchpoint": touchpoint, "channel": "web", "segment": "none",
         "bucket": minute, "bin": score, "origin": "live", "part": 1, "n": n, "total": 1.0 * score * n, "version": 1}
        for touchpoint, score, n in (("checkout", 5, 3), ("checkout", 1, 1), ("search", 4, 2))
    ]  # fmt: skip
    with connect(built, write=True) as client:
        Sink(client).insert("cells", pl.DataFrame(cells))
    at = "2026-05-01T12:01:30Z"
    found = feedback("report", "--json", "--at", at, "--window", "1h", "--by", "touchpoint")
    lines = {line["touchpoint"]: line for line in json.loads(found.stdout)}
    assert lines.keys() == {"", "checkout", "search"}
    assert lines["checkout"].keys() == {
        "metric", "instrument", "window", "touchpoint", "channel", "segment", "value", "lower", "upper", "n", "at",
        "change", "significant",
    }  # fmt: skip
    assert (lines["checkout"]["value"], lines["checkout"]["n"], lines["checkout"]["window"]) == (
        0.75,
        4,
        "1h",
    )
    assert lines[""]["value"] == pytest.approx(5 / 6)
    assert lines[""]["at"] == "2026-05-01T12:01:30+00:00"
    assert json.loads(feedback("report", "--json", "--at", "2026-05-01T12:00", "--window", "1h").stdout) == []
    table = feedback("report", "--at", at).stdout
    assert "75.0%" in table
    assert "checkout" in table
    for wrong in (["--at", "yesterday"], ["--window", "1 hour"], ["--by", "country"]):
        failed = feedback("report", *wrong)
        assert (failed.returncode, "Traceback" in failed.stderr) == (1, False)


def test_report_warns_of_effort_that_runs_against_csat(store, settings, feedback):
    built = settings()
    set_up(built)
    cells = [
        {"metric": metric, "instrument": instrument, "touchpoint": "checkout", "channel": "web", "segment": "none",
         "bucket": 1_777_636_800_000, "bin": score, "origin": "live", "part": 1, "n": 100, "total": 100.0 * score,
         "version": 1}
        for metric, instrument, score in (("csat", "csat_1_5", 5), ("ces", "ces_1_7", 1), ("ces", "ces_1_7_hard", 1))
    ]  # fmt: skip
    with connect(built, write=True) as client:
        Sink(client).insert("cells", pl.DataFrame(cells))
    at = ["--at", "2026-05-01T12:01:30Z"]
    configured = {"touchpoints": {"check_out": {"owner": "ada"}}}
    for found in (feedback("report", *at, **configured), feedback("report", *at, "--json", **configured)):
        assert found.stderr.count("warning:") == 1
        assert "not in the configuration: checkout (did you mean check_out?). They count" in found.stderr
        assert (
            "checkout, 30d: effort runs against CSAT. By ces_1_7 it was hard (ease 0 of 100, n 100)"
            in found.stderr
        )
    assert len(json.loads(feedback("report", *at, "--json", "--window", "1h").stdout)) == 14


def test_the_sink_tells_an_outage_from_rows_that_do_not_fit(settings):
    built = settings()
    store = ensure_store(built)
    try:
        set_up(built)
        with connect(built, write=True) as client:
            sink = Sink(client)
            sink.insert("cells", pl.DataFrame())
            with pytest.raises(PoisonError, match="other columns") as poison:
                sink.insert("progress", pl.DataFrame({"nonsense": [1]}))
            assert poison.value.code == 16
            with pytest.raises(PoisonError, match="do not fit"):
                sink.insert("progress", pl.DataFrame({"partition": ["no number"]}))
            with pytest.raises(PoisonError, match="do not fit") as poison:
                sink.insert("progress", pl.DataFrame({"partition": [1, None]}))
            assert poison.value.code == 349
            with pytest.raises(AwayError) as away:
                sink.insert("no_such_table", pl.DataFrame({"a": [1]}))
            assert away.value.code == 60
            store.stop()
            with pytest.raises(AwayError) as away:
                sink.insert("progress", pl.DataFrame({"stage": ["x"]}))
            assert away.value.code == 0
    finally:
        store.stop()


def _free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_workers_that_start_together_share_the_store_that_one_of_them_starts(settings):
    with ThreadPoolExecutor(3) as pool:  # a child ends with the thread that started it
        stores = list(pool.map(lambda _: ensure_store(settings()), range(3)))
        try:
            with connect(settings(), write=True, database="default") as client:
                assert client.command("SELECT 1") == 1
        finally:
            for store in filter(None, stores):
                store.stop()
