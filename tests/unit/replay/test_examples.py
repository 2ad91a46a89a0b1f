"""The page about the mapping language does what it says, and so do the samples of two help desks."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from pipeline.client.message import Rules
from pipeline.events.wire import decode
from pipeline.replay import History, MappingError, load_mapping, read_history

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
CSV, TOML, EVENTS, FAULT, REFUSAL = (text for _, text in BLOCKS)
RULES = Rules(now=1_790_000_000_000)


def records(history: History) -> list[dict[str, Any]]:
    return [decode(message.value)[1] for message in history.messages]


def read(folder: Path, table: str, mapping: str = TOML) -> History:
    (folder / "tickets.csv").write_text(table, encoding="utf-8")
    (folder / "tickets.toml").write_text(mapping, encoding="utf-8")
    return read_history(folder / "tickets.csv", load_mapping(folder / "tickets.toml"), RULES)


def line(record: dict[str, Any]) -> str:
    what = ("instrument", "score") if "score" in record else ("action", "priority")
    cells = (record["case_id"], record["channel"], *(record[name] or "-" for name in what))
    return f"{record['occurred_at']:%Y-%m-%dT%H:%MZ} {' '.join(map(str, cells))}"


def test_the_worked_example_makes_the_events_that_the_page_shows(tmp_path: Path) -> None:
    history = read(tmp_path, CSV)
    assert [line(one) for one in records(history)] == EVENTS.splitlines()
    assert [str(fault) for fault in history.faults] == FAULT.splitlines()
    assert history.idle == ()


def test_the_refusal_of_the_worked_example_reads_as_on_the_page(tmp_path: Path) -> None:
    with pytest.raises(MappingError) as caught:
        read(tmp_path, CSV.replace("State", "Status"))
    assert str(caught.value) == REFUSAL.rstrip()


def test_a_condition_that_no_row_meets_is_told(tmp_path: Path) -> None:
    assert read(tmp_path, CSV, TOML.replace('when.State = "done"', 'when.State = "Done"')).idle == (4,)


# The clocks of the samples, in minutes, written down from the samples by hand.


def actions(history: History) -> dict[str, list[tuple[str, str]]]:
    by_case = sorted(records(history), key=lambda one: one["case_id"])
    return {
        case: [(f"{one['occurred_at']:%d %H:%M}", one["action"].removeprefix("case_")) for one in events]
        for case, events in groupby(by_case, key=lambda one: one["case_id"])
    }


@pytest.fixture(scope="module")
def zendesk() -> History:
    folder = EXAMPLES / "zendesk"
    return read_history(folder / "ticket_events.json", load_mapping(folder / "zendesk.toml"), RULES)


def test_the_zendesk_sample(zendesk: History) -> None:
    assert (zendesk.faults, zendesk.rows, zendesk.idle) == ((), 25, ())
    assert actions(zendesk) == {
        "4101": [
            ("02 09:30", "opened"),
            ("02 10:15", "replied"),
            ("02 10:15", "waiting"),
            ("03 10:00", "contacted"),
            ("03 10:00", "resumed"),
            ("03 11:00", "replied"),
            ("03 11:00", "resolved"),
            ("04 08:00", "contacted"),
            ("04 08:00", "reopened"),
            ("04 09:30", "resolved"),
        ],
        # An internal note is no reply, and "hold" is no waiting on the customer.
        "4102": [
            ("02 10:40", "opened"),
            ("03 14:00", "replied"),
            ("03 14:00", "resolved"),
            ("07 15:00", "closed"),
        ],
    }


def test_the_opening_in_the_zendesk_sample_has_what_its_other_child_events_say(zendesk: History) -> None:
    opened = [one for one in records(zendesk) if one["action"] == "case_opened"]
    assert [(one["channel"], one["customer_id"], one["priority"]) for one in opened] == [
        ("web", "9001", "high"),
        ("email", "9002", None),
    ]


def test_a_zendesk_page_twice_in_one_file_makes_the_same_ids(zendesk: History, tmp_path: Path) -> None:
    page = (EXAMPLES / "zendesk" / "ticket_events.json").read_text()
    (tmp_path / "pages.json").write_text(page + page)
    twice = read_history(tmp_path / "pages.json", load_mapping(EXAMPLES / "zendesk" / "zendesk.toml"), RULES)
    assert len(twice.messages) == 2 * len(zendesk.messages)
    assert {one.id for one in twice.messages} == {one.id for one in zendesk.messages}


def test_the_slice_of_the_incident_log_is_of_the_log_and_has_all_that_can_happen() -> None:
    folder = EXAMPLES / "incidents"
    mapping = load_mapping(folder / "incidents.toml")
    part = read_history(folder / "sample.csv", mapping, RULES)
    whole = read_history(folder / "incident_event_log.csv.gz", mapping, RULES)
    cases = {one["case_id"] for one in records(part)}
    assert records(part) == [one for one in records(whole) if one["case_id"] in cases]
    assert (part.rows, part.faults, part.idle, len(cases)) == (42, (), (), 5)
    assert actions(part)["INC0001068"] == [
        ("02 09:42", "opened"),
        ("07 10:17", "waiting"),
        ("09 14:01", "resolved"),
        ("17 16:28", "reopened"),
        ("17 16:29", "resolved"),
        ("24 18:59", "closed"),
    ]
