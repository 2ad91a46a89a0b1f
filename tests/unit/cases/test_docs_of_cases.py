"""docs/cases.md: its configuration is one, and its tables are what comes out of it."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime
from pathlib import Path

from pipeline.cases.case import MOST_OPENINGS, MOST_TIMES
from pipeline.config.load import build

PAGE = (Path(__file__).parents[3] / "docs" / "cases.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (\w+) \| (\S+) \| (\S+) \| ([\d.]+) \| ([\d.]+) \|", re.MULTILINE)
_DUE = re.compile(r"priority `(\w+)` opened on (\S+) is due on (\S+)\.\n")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_the_hours_of_its_table_are_those_of_its_configuration():
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    rules = build(tomllib.loads(block), {}, "docs/cases.md").rules()
    rows = _ROW.findall(PAGE)
    hours = [
        ((ms(end) - ms(start)) / 3.6e6, (rules.schedules[name].between(ms(start), ms(end)) or 0) / 3.6e6)
        for name, start, end, *_ in rows
    ]
    assert hours == [(float(elapsed), float(worked)) for *_, elapsed, worked in rows]
    assert len(rows) == 7
    ((priority, opened, due),) = _DUE.findall(PAGE)
    assert rules.due_at(ms(opened), priority) == ms(due)
    assert rules.schedule_of("outage") is rules.schedules["hotline"]


def test_the_limits_it_names_are_those_of_the_code():
    assert f"more than {MOST_TIMES} times of one action ({MOST_OPENINGS} openings)" in PAGE
