"""Reading files: every format, every kind of garbage; and the incident log against its recount."""

from __future__ import annotations

import gzip
import json
import re
import sys
from datetime import datetime
from importlib.util import module_from_spec, spec_from_file_location
from itertools import groupby
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipeline.client.message import Rules
from pipeline.errors import FeedbackError
from pipeline.events.wire import decode
from pipeline.replay import EventMap, History, MappingError, load_mapping, parse_mapping, read_history

INCIDENTS = Path(__file__).parents[3] / "examples" / "incidents"
RULES = Rules(now=1_767_225_600_000)
MAP = parse_mapping(
    {
        "fields": {"source": "log", "touchpoint": "support", "channel": "web"},
        "event": [
            {
                "type": "touchpoint",
                "event_id": {"column": "id"},
                "occurred_at": {"column": "at"},
                "action": {"column": "what"},
            }
        ],
    }
)
GOOD = [
    {"id": "b", "at": "2025-01-02T00:00:00Z", "what": "x"},
    {"id": "a", "at": "2025-01-01T00:00:00Z", "what": "y"},
    {"id": "c", "at": "2025-01-02T00:00:00Z", "what": "z"},
]


def read(path: Path, mapping: EventMap = MAP) -> History:
    return read_history(path, mapping, RULES)


def ids(history: History) -> list[str]:
    return [message.id for message in history.messages]


def csv_text() -> str:
    return "id,at,what\r\n" + "".join(",".join(row.values()) + "\r\n" for row in GOOD)


def test_csv_also_compressed_is_sorted_by_time_and_then_by_place(tmp_path: Path) -> None:
    plain, packed = tmp_path / "log.csv", tmp_path / "log.CSV.gz"
    plain.write_text("\ufeff" + csv_text())
    packed.write_bytes(gzip.compress(csv_text().encode()))
    for path in (plain, packed):
        history = read(path)
        assert (ids(history), history.faults, history.rows) == (["a", "b", "c"], (), 3)
    assert [message.line for message in read(plain).messages] == [3, 2, 4]


@pytest.mark.parametrize("name", ["log.jsonl", "log.ndjson", "log.json", "log.json.gz"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    text = "\n\n".join(map(json.dumps, GOOD)).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert ids(read(tmp_path / name)) == ["a", "b", "c"]


def test_a_json_list(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text("\n " + json.dumps([*GOOD, 5]))
    history = read(tmp_path / "log.json")
    assert ids(history) == ["a", "b", "c"]
    assert [str(fault) for fault in history.faults] == ["line 2, row 4: is not a JSON object"]


def test_avro_with_its_own_types(tmp_path: Path) -> None:
    time = {"type": "long", "logicalType": "timestamp-millis"}
    fields = [{"name": "id", "type": "int"}, {"name": "at", "type": time}, {"name": "what", "type": "string"}]
    schema = fastavro.parse_schema({"type": "record", "name": "Row", "fields": fields})
    rows = [{"id": n, "at": datetime.fromisoformat(row["at"]), "what": "x"} for n, row in enumerate(GOOD)]
    with (tmp_path / "log.avro").open("wb") as file:
        fastavro.writer(file, schema, rows)
    assert ids(read(tmp_path / "log.avro")) == ["1", "0", "2"]


def test_a_spoiled_avro_file_tells_where_and_keeps_what_came_before(tmp_path: Path) -> None:
    fields = [{"name": name, "type": "string"} for name in GOOD[0]]
    schema = fastavro.parse_schema({"type": "record", "name": "Row", "fields": fields})
    path = tmp_path / "log.avro"
    with path.open("wb") as file:
        fastavro.writer(file, schema, GOOD, sync_interval=1)
    path.write_bytes(path.read_bytes()[:-30])
    history = read(path)
    assert len(history.messages) == 2
    (fault,) = history.faults
    assert str(fault).startswith("line 3: the file cannot be read from here on")


def test_bad_csv_rows_are_told_with_their_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    lines = [
        b"id,at,what",
        b'1,2025-01-01T00:00:00Z,"two\nlines"',
        b"2,2025-01-01T00:00:00Z",
        b"3,2025-01-01T00:00:00Z,x,y",
        b"4,2025-01-01T00:00:00Z,\xff\xfe",
        b"5,yesterday,x",
        b"",
        b"6,2025-01-01T00:00:00Z,%s" % (b"x" * 200_000),
        b"7,2025-01-01T00:00:00Z,x\0y",
        b"8,2025-01-01T00:00:00Z,x",
    ]
    (tmp_path / "log.csv").write_bytes(b"\n".join(lines))
    history = read(tmp_path / "log.csv")
    assert ids(history) == ["1", "7", "8"]
    assert [(fault.line, fault.reason[:30]) for fault in history.faults] == [
        (4, "has 2 cells; the header has 3"),
        (5, "has 4 cells; the header has 3"),
        (6, "is not text in the file's enco"),
        (7, "column at (occurred_at): 'yest"),
        (9, "field larger than field limit "),
    ]


def test_bad_json_lines_are_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    lines = [b"{", b"[1]", b'{"id": "\xff"}', b"[" * 100_000, json.dumps(GOOD[0]).encode(), b"NaN"]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines))
    history = read(tmp_path / "log.jsonl")
    assert (ids(history), [fault.line for fault in history.faults]) == (["b"], [1, 2, 3, 4, 6])


def test_other_encodings_and_delimiters(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes("id;at;what\n1;2025-01-01T00:00:00Z;gelöst".encode("latin-1"))
    mapping = EventMap(MAP.events, delimiter=";", encoding="latin-1")
    (message,) = read(tmp_path / "log.csv", mapping).messages
    assert decode(message.value)[1]["action"] == "gelöst"


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_column_that_the_file_does_not_have_is_named(tmp_path: Path, name: str) -> None:
    row = {"id": "1", "att": "2025-01-01T00:00:00Z", "what": "x"}
    text = json.dumps(row) if name.endswith("jsonl") else f"{','.join(row)}\n{','.join(row.values())}\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(MappingError) as caught:
        read(tmp_path / name)
    assert caught.value.faults == (f"event 1, occurred_at: {name} has no column at; did you mean att?",)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("log.xlsx", b"", "the name must end in .csv"),
        ("log.csv.gz", b"not gzip", "cannot be read"),
        ("log.csv.gz", gzip.compress(csv_text().encode() * 9000)[:-900], "cannot be read"),
        ("log.avro", b"not avro", "not an Avro object container"),
        ("log.json", b"[{},", "the file is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FeedbackError, match=reason):
        read(tmp_path / name)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FeedbackError, match="cannot be read"):
        read(tmp_path / "none.csv")


def test_progress_ends_at_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(csv_text() + "d,2025-01-01T00:00:00Z,x\n" * 5000)
    steps: list[tuple[int, int]] = []
    read_history(tmp_path / "log.csv", MAP, RULES, lambda *step: steps.append(step))
    size = (tmp_path / "log.csv").stat().st_size
    assert len(steps) > 3 and steps == sorted(steps) and steps[-1] == (size, size)


# Rows within JSON

NESTED: dict[str, Any] = {
    "fields": {"source": "log", "touchpoint": "support", "channel": {"column": "via.channel"}},
    "json": {"rows": "changes", "each": "did"},
    "event": [
        {
            "type": "touchpoint",
            "when": {"did.done": True},
            "event_id": {"template": "{id}:{did.no}"},
            "occurred_at": {"column": "at"},
            "action": {"column": "did.what"},
            "priority": {"column": "did[].level"},
        }
    ],
}
PAGE = """{"count": 2, "changes": [
  {"id": 1, "at": "2025-01-01T00:00:00Z", "via": {"channel": "web"}, "did": [
    {"no": 1, "done": true, "what": "x"},
    {"no": 2, "done": false, "what": "y"}, {"no": 3, "level": "high"}]},
  {"id": 2, "at": "2025-01-02T00:00:00Z", "via": {}, "did": [{"no": 1, "done": true, "what": "x"}, 5]},
  {"id": 3, "did": null}, [],
  {"id": 4, "at": "soon", "via": {"channel": "web"}, "did": [{"no": 1, "done": true, "what": "x"}]}
], "next": null}"""


def read_nested(tmp_path: Path, text: str, **more: Any) -> History:
    (tmp_path / "pages.json").write_text(text)
    return read(tmp_path / "pages.json", parse_mapping({**NESTED, **more}))


def test_rows_within_pages_and_lists_within_rows(tmp_path: Path) -> None:
    history = read_nested(tmp_path, PAGE)
    (message,) = history.messages
    record = decode(message.value)[1]
    assert (message.id, record["channel"], record["priority"], message.line) == ("1:1", "web", "high", 2)
    assert [str(fault) for fault in history.faults] == [
        "line 5, row 2, did 1: column via.channel (channel): is missing",
        "line 5, row 2, did 2: is not a JSON object",
        "line 6, row 3: has no list did, which json.each of the mapping names",
        "line 6, row 4: is not a JSON object",
        "line 7, row 5, did 1: column at (occurred_at): 'soon' fits none of the formats iso",
    ]


def test_pages_behind_each_other_are_one_history(tmp_path: Path) -> None:
    history = read_nested(tmp_path, PAGE + PAGE.replace('"id": 1', '"id": 7') + '\n{"changes": []}')
    assert ids(history) == ["1:1", "7:1"]
    assert str(history.faults[5]).startswith("line 12, row 7, did 1: ")


def test_a_path_that_no_row_has_is_named_with_what_was_meant(tmp_path: Path) -> None:
    event = {**NESTED["event"][0], "segment": {"column": "did.levle"}, "customer_id": {"column": "who"}}
    with pytest.raises(MappingError) as caught:
        read_nested(tmp_path, PAGE, event=[event])
    first, second = caught.value.faults
    assert first == "event 1, segment: pages.json has no column did.levle; did you mean did.level?"
    assert second.startswith("event 1, customer_id: pages.json has no column who; it has id, at, via, ")
    assert ids(read_nested(tmp_path, PAGE, event=[event], optional=["did.levle", "who"])) == ["1:1"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"count": 0}', 'line 1 has no list "changes"'),
        ('{"changes": {}}', 'line 1 has no list "changes"'),
        ('{"changes": [],\n "b" 1}', "line 2: : was expected"),
        ('{"changes": [{"did": []}\n\n {}]}', "line 3: , or ] was expected"),
        ('{"changes": [', "is not JSON"),
        ("[]", "line 1: { was expected"),
        ('{"changes": []} x', "line 1: { was expected"),
        ("{changes: []}", "is not JSON"),
    ],
)
def test_pages_that_are_none_are_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(FeedbackError, match=re.escape(reason)):
        read_nested(tmp_path, text)


def test_text_behind_a_list_is_not_ignored(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD))
    with pytest.raises(FeedbackError, match="line 2: the end was expected"):
        read(tmp_path / "log.json")


# The incident log


def recount() -> Any:
    spec = spec_from_file_location("recount", INCIDENTS / "recount.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def first_resolutions(history: History) -> dict[str, float]:
    """Seconds by case, from the events alone."""
    records = sorted(
        (decode(message.value)[1] for message in history.messages), key=lambda one: one["case_id"]
    )
    seconds = {}
    for case, group in groupby(records, key=lambda one: one["case_id"]):
        events = list(group)
        opened = [one["occurred_at"] for one in events if one["action"] == "case_opened"]
        resolved = [one["occurred_at"] for one in events if one["action"] == "case_resolved"]
        assert len(opened) == 1
        seconds[case] = (min(resolved) - opened[0]).total_seconds()
    return seconds


@pytest.fixture(scope="module")
def incidents() -> History:
    return read(INCIDENTS / "incident_event_log.csv.gz", load_mapping(INCIDENTS / "incidents.toml"))


def test_the_incident_log_maps_to_what_the_recount_counts(incidents: History) -> None:
    plain = recount()
    assert (incidents.rows, incidents.faults) == (5998, ())
    assert len({message.id for message in incidents.messages}) == len(incidents.messages)
    assert first_resolutions(incidents) == plain.first_resolutions()
    figures = plain.figures()
    assert (figures["incidents"], figures["resolved"], figures["reopened"]) == (890, 890, 10)
    assert (figures["sum"], figures["p50"]) == (964_508_580.0, 191_760.0)


def test_the_incident_log_says_channel_segment_and_priority(incidents: History) -> None:
    records = [decode(message.value)[1] for message in incidents.messages]
    actions = [one["action"] for one in records]
    assert {name: actions.count(name) for name in set(actions)} == {
        "case_opened": 890,
        "case_resolved": 929,
        "case_reopened": 11,
        "case_waiting": 324,
        "case_resumed": 78,
        "case_closed": 897,
    }
    assert {one["channel"] for one in records} == {"phone"}
    assert {one["priority"] for one in records} == {"critical", "high", "moderate", "low"}
    assert len({one["segment"] for one in records}) > 50


def test_the_log_with_slashes_in_its_dates_is_the_same_history(incidents: History, tmp_path: Path) -> None:
    text = gzip.decompress((INCIDENTS / "incident_event_log.csv.gz").read_bytes()).decode()
    slashed = tmp_path / "log.csv"
    with slashed.open("w", newline="") as file:
        for line in text.splitlines(keepends=True):
            cells = line.split(",")
            file.write(",".join(c.replace("-", "/") if c[2:3] == "-" and ":" in c else c for c in cells))
    assert "29/02/2016 01:16" in slashed.read_text()
    history = read(slashed, load_mapping(INCIDENTS / "incidents.toml"))
    assert [(one.id, one.occurred_at) for one in history.messages] == [
        (one.id, one.occurred_at) for one in incidents.messages
    ]
