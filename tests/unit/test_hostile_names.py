"""Names are what somebody out there sent: a terminal must neither obey them nor lose them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.text import Text

from pipeline.cli import follow_ups, query, report, trace, verify
from pipeline.cli.common import plain
from pipeline.logs import printable
from pipeline.measures.scores import Score
from pipeline.stores.report import Line
from pipeline.verify.result import Result
from pipeline.verify.trace import Event, Trace

NAMES = [
    "[/]",
    "[red]x[/red]",
    "[link=http://x]y",
    "\x1b[31mx",
    "\x1b]0;x\x07",
    "\r\x1b[2Kx",
    "a\x9b31mb",
    "x\\",
    "\u202ex",
]
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is_and_does_nothing(name):
    shown = Text.from_markup(f"[bold]{plain(name)}[/]").plain
    assert shown.isprintable()
    assert shown == name or "\\" in shown


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")


def seen(capsys) -> str:
    told = "".join(capsys.readouterr())
    assert all(character.isprintable() or character == "\n" for character in told)
    return told


def kept(name: str, told: str) -> None:
    assert printable(name) in told


@pytest.mark.parametrize("name", NAMES)
def test_report(name, capsys):
    score = Score(0.5, 0.4, 0.6, 10)
    report._print([Line("csat", "csat_1_5", "1h", name, name, name, score, AT, None, None)])
    kept(name, seen(capsys))


@pytest.mark.parametrize("name", NAMES)
def test_query(name, capsys):
    query._print([name], [[name]])
    assert [line.strip() for line in seen(capsys).splitlines()] == [printable(name).strip()] * 2


@pytest.mark.parametrize("name", NAMES)
def test_trace(name, capsys):
    cell = {"metric": "csat", "instrument": "csat_1_5", "touchpoint": name, "channel": name, "segment": name}
    cell |= {"bucket": "2026-01-01", "bin": 5}
    event = Event("t", 0, 1, name, name, "now", "then", name, 0, False, "counted", True, cell, False, None)
    letter = {"topic": "t", "partition": 0, "offset": 1, "time": "now", "reason": "r", "detail": name}
    trace._print(Trace(name, [event], [letter]))
    kept(name, seen(capsys))


@pytest.mark.parametrize("name", NAMES)
def test_follow_ups(name, capsys):
    row = {"due_at": AT, "contacted_at": None, "overdue": True, "score": 1}
    row |= {"kind": "detractor", "instrument": "nps_0_10"}
    row |= dict.fromkeys(("customer_id", "case_id", "response_id", "touchpoint"), name)
    follow_ups._print([row], {name: name})
    kept(name, seen(capsys))


@pytest.mark.parametrize("name", NAMES)
def test_verify(name, capsys):
    checked = {
        "partitions": [],
        "from": None,
        "cells": 1,
        "raw_rows": 1,
        "rebuilt": None,
        "still_moving": 0,
        "rules_told": True,
    }
    detail = {"kind": "cell", "touchpoint": name, "recounted": 1, "stored": 2}
    verify._print(Result(1, checked | {"not_covered": [name]}, [detail]))
    kept(name, seen(capsys))


def test_places_that_read_alike_are_two_rows(capsys):
    """A name may hold what stands between names."""
    score = Score(0.5, 0.4, 0.6, 10)
    lines = [
        Line("csat", "csat_1_5", "1h", *place, score, AT, None, None)
        for place in (("a / b", "", ""), ("a", "b", ""))
    ]
    report._print(lines)
    assert seen(capsys).count("a / b") == 2
