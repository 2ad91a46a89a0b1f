"""Rows to events: conditions, values, times, and faults that name the column."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.client.message import Message, Rules
from pipeline.events.wire import decode
from pipeline.replay import Mapper, MappingError, Place, RowFault, load_mapping, parse_mapping
from pipeline.replay.places import line_of, placed

RULES = Rules(now=1_767_225_600_000)
BASE: dict[str, Any] = {
    "empty": ["?"],
    "fields": {"source": "log", "touchpoint": "support", "channel": {"column": "via"}},
    "event": [
        {
            "type": "touchpoint",
            "event_id": {"template": "{no}:{step}"},
            "occurred_at": {"column": "at"},
            "action": {"column": "what"},
        }
    ],
}
ROW = {"no": "7", "step": "1", "at": "2025-03-01T10:00:00Z", "what": "called", "via": "phone"}


def changed(**event: Any) -> dict[str, Any]:
    tree = deepcopy(BASE)
    tree["event"][0].update(event)
    return tree


def run(tree: dict[str, Any], *rows: dict[str, Any]) -> list[Message | RowFault]:
    mapper = Mapper(parse_mapping(tree), RULES)
    return [event for line, row in enumerate(rows, 2) for event in mapper.events(Place(line), row)]


def record(tree: dict[str, Any], **more: Any) -> dict[str, Any]:
    (event,) = run(tree, {**ROW, **more})
    assert isinstance(event, Message)
    return decode(event.value)[1]


def fault(tree: dict[str, Any], **more: Any) -> str:
    (event,) = run(tree, {**ROW, **more})
    assert isinstance(event, RowFault)
    return str(event)


def test_columns_constants_and_templates_make_a_record() -> None:
    (event,) = run(BASE, ROW)
    assert isinstance(event, Message)
    assert (event.id, event.key, event.line) == ("7:1", b"7:1", 2)
    out = decode(event.value)[1]
    assert (out["source"], out["channel"], out["action"]) == ("log", "phone", "called")
    assert out["occurred_at"] == datetime(2025, 3, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "count"),
    [
        ({"what": "called"}, 1),
        ({"what": ["mailed", "called"]}, 1),
        ({"what": "mailed"}, 0),
        ({"what": {"not": "mailed"}}, 1),
        ({"what": {"not": ["mailed", "called"]}}, 0),
        ({"what": "called", "step": 2}, 0),
        ({"step": 1}, 1),
        ({"extra": {"not": ""}}, 0),
        ({"extra": ""}, 1),
    ],
)
def test_all_conditions_must_hold(when: dict[str, Any], count: int) -> None:
    assert len(run(changed(when=when), {**ROW, "extra": "?"})) == count


def test_a_row_may_make_several_events_and_once_makes_only_the_first() -> None:
    tree = changed()
    opened = {"type": "touchpoint", "once": True, "event_id": {"template": "{no}:open"}}
    tree["event"].append({**opened, "occurred_at": {"column": "at"}, "action": "case_opened"})
    events = run(tree, ROW, {**ROW, "step": "2"}, {**ROW, "no": "8"})
    assert [event.id for event in events if isinstance(event, Message)] == [
        "7:1",
        "7:open",
        "7:2",
        "8:1",
        "8:open",
    ]


def test_values_translate_and_otherwise_catches_the_rest() -> None:
    tree = changed(channel={"column": "via", "values": {"phone": "voice"}, "otherwise": "other"})
    assert record(tree)["channel"] == "voice"
    assert record(tree, via="fax")["channel"] == "other"
    strict = changed(channel={"column": "via", "values": {"phone": "voice"}})
    assert fault(strict, via="fax") == (
        "line 2: column via (channel): 'fax' is not among values, and there is no otherwise"
    )


def test_empty_cells_are_null_and_a_required_one_is_a_fault_with_its_column() -> None:
    tree = changed(segment={"column": "group"}, attributes={"g": {"column": "group"}, "fix": "yes"})
    out = record(tree, group="?")
    assert (out["segment"], out["attributes"]) == (None, {"fix": "yes"})
    assert fault(BASE, via=" ") == "line 2: column via (channel): is missing"
    assert fault(BASE, what="?") == "line 2: column what (action): is missing"


def test_a_template_with_an_empty_column_is_no_id() -> None:
    (event,) = run(BASE, {**ROW, "step": ""})
    assert str(event) == "line 2: column no, step (event_id): is missing"


@pytest.mark.parametrize(
    ("spec", "cell", "hour"),
    [
        ({}, "2025-03-01T11:00:00+01:00", 10),
        ({}, "2025-03-01 10:00", 10),
        ({"zone": "Europe/Vienna"}, "2025-03-01 10:00", 9),
        ({"zone": "Europe/Vienna"}, "2025-03-01T10:00:00Z", 10),
        ({"formats": ["%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M"]}, "1/3/2025 10:00", 10),
        ({"formats": ["ms"]}, "1740823200000", 10),
        ({"formats": ["ms"]}, 1740823200000, 10),
        ({"formats": ["s"]}, "1740823200", 10),
        ({}, datetime(2025, 3, 1, 10, tzinfo=UTC), 10),
    ],
)
def test_times_in_their_formats_and_zones(spec: dict[str, Any], cell: Any, hour: int) -> None:
    out = record(changed(occurred_at={"column": "at", **spec}), at=cell)
    assert out["occurred_at"] == datetime(2025, 3, 1, hour, tzinfo=UTC)


def test_the_hour_that_a_clock_change_repeats_is_the_first() -> None:
    tree = changed(occurred_at={"column": "at", "zone": "Europe/Vienna"})
    assert record(tree, at="2025-10-26 02:30")["occurred_at"] == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)


def test_a_time_that_fits_no_format_is_told_with_the_formats() -> None:
    tree = changed(occurred_at={"column": "at", "formats": ["%d-%m-%Y"]})
    assert fault(tree, at="2025-31-31") == (
        "line 2: column at (occurred_at): '2025-31-31' fits none of the formats %d-%m-%Y"
    )


def test_numbers_and_booleans_are_read_from_text() -> None:
    response = {
        "type": "response",
        "response_id": {"column": "no"},
        "occurred_at": {"column": "at"},
        "instrument": "csat_1_5",
        "score": {"column": "score"},
        "retracted": {"column": "gone"},
    }
    tree = {**BASE, "event": [response]}
    out = record(tree, score=" 4", gone="TRUE")
    assert (out["score"], out["retracted"], out["revision"]) == (4, True, 0)
    assert fault(tree, score="4.5", gone="no") == "line 2: column score (score): '4.5' is not a whole number"
    assert "must be true or false" in fault(tree, score="4", gone="no")
    assert "must be 1 to 5 on csat_1_5" in fault(tree, score="9", gone="")


def test_numbers_in_json_may_be_ids() -> None:
    out = record(changed(event_id={"column": "no"}), no=17)
    assert out["event_id"] == "17"
    assert "must be a text, not a list" in fault(changed(event_id={"column": "no"}), no=[1])


def test_every_fault_of_a_mapping_is_told_with_its_place() -> None:
    with pytest.raises(MappingError) as caught:
        parse_mapping(
            {
                "event": [
                    {"type": "visit"},
                    {
                        "type": "touchpoint",
                        "once": "yes",
                        "when": {"a": {"is": 1}},
                        "event_id": {"template": "{a"},
                        "occurred_at": {"column": "t", "zone": "Mars/Base"},
                        "action": {"column": "x", "constant": "y"},
                        "channel": 1.5,
                        "segment": {"colum": "s"},
                    },
                ],
                "times": {},
                "csv": {"delimiter": "||", "encoding": "klingon"},
            }
        )
    assert set(caught.value.faults) == {
        "event 1, type: must be 'touchpoint' or 'response'",
        "event 2, once: must be a valid boolean",
        "event 2, when.a: must be a value, a list of values, or { not = ... }",
        "event 2, event_id.template: expected '}' before end of string",
        'event 2, occurred_at.zone: must be a zone of the IANA database, such as "Europe/Vienna"',
        "event 2, action: needs one of column, template, constant, or is a plain value itself",
        "event 2, channel.constant: must be a text, a whole number, true or false",
        "event 2, segment.colum: is not known here; did you mean column?",
        "times: is not known here; did you mean time?",
        "csv.delimiter: string should have at most 1 character",
        "csv.encoding: is not an encoding that Python knows",
    }


def test_a_mapping_that_does_not_fit_the_record_names_the_field() -> None:
    tree = changed(occured_at="x")
    del tree["event"][0]["occurred_at"]
    tree["fields"]["chanel"] = "web"
    with pytest.raises(MappingError) as caught:
        parse_mapping(tree)
    assert set(caught.value.faults) == {
        "fields.chanel: is not a field; did you mean channel?",
        "event 1, occured_at: is not a field; did you mean occurred_at?",
        "event 1, occurred_at: is missing",
    }


def test_an_empty_mapping_is_refused() -> None:
    with pytest.raises(MappingError, match="event: field required"):
        parse_mapping({})


def test_the_row_before_about_the_same_thing_is_known() -> None:
    tree = {**changed(when={"what": "waits", "previous.what": {"not": "waits"}}), "previous": "no"}
    steps = [("7", "waits"), ("8", "waits"), ("7", "waits"), ("7", "works"), ("8", "waits"), ("7", "waits")]
    rows = [{**ROW, "no": no, "what": what, "step": str(n)} for n, (no, what) in enumerate(steps)]
    assert [event.id for event in run(tree, *rows) if isinstance(event, Message)] == ["7:0", "8:1", "7:5"]


def test_an_empty_cell_of_the_row_before_is_empty() -> None:
    tree = {**changed(segment={"column": "previous.group"}), "previous": "no"}
    events = run(tree, {**ROW, "group": "a"}, {**ROW, "group": "?"}, {**ROW, "group": "b"})
    segments = [decode(event.value)[1]["segment"] for event in events if isinstance(event, Message)]
    assert segments == [None, "a", None]


def test_true_and_false_are_written_as_in_json() -> None:
    tree = changed(when={"public": True}, segment={"column": "public", "values": {"true": "seen"}})
    assert record(tree, public=True)["segment"] == record(tree, public="true")["segment"] == "seen"
    assert run(tree, {**ROW, "public": False}) == run(tree, {**ROW, "public": "yes"}) == []


def test_every_fault_of_a_row_is_told() -> None:
    events = run(BASE, {**ROW, "at": "soon", "step": ""})
    assert [str(event) for event in events] == [
        "line 2: column at (occurred_at): 'soon' fits none of the formats iso",
        "line 2: column no, step (event_id): is missing",
    ]


MAPPING = """
time.zone = "Mars/Base"
times = 1

[csv]
delimiter = "||"

[fields]
chanel = "web"          # line 9
segment = { column = "s", zone = "Mars" }

[[event]]               # line 12
type = "visit"
event_id.template = "{a"
'occurred_at' = { column = "t", zone = "Mars" }
when.a = 1
when."b.c".is = 1

[[event]]  # line 19
type = "touchpoint"

  [event.when]          # line 22
  x = 1.5
  [event.attributes]    # line 24
  y = 1.5
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("time.zone", 2),
        ("times", 3),
        ("csv.delimiter", 6),
        ("fields.chanel", 9),
        ("event 1, type", 13),
        ("event 1, event_id.template", 14),
        ("event 1, occurred_at.zone", 15),
        ("event 1, when.b.c", 17),
        ("event 1, segment", 10),
        ("event 1, action", 12),
        ("event 2, when.x", 22),
        ("event 2, attributes.y.constant", 24),
        ("event 2, event_id", 19),
        ("event 3, type", None),
        ("nowhere", None),
    ],
)
def test_the_line_of_a_place_in_a_mapping(place: str, line: int | None) -> None:
    assert line_of(place, MAPPING) == line


def test_the_faults_of_a_mapping_file_have_its_lines(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(MAPPING)
    with pytest.raises(MappingError) as caught:
        load_mapping(tmp_path / "map.toml")
    assert {
        "line 3, times: is not known here; did you mean time?",
        "line 13, event 1, type: must be 'touchpoint' or 'response'",
        'line 15, event 1, occurred_at.zone: must be a zone of the IANA database, such as "Europe/Vienna"',
        "line 22, event 2, when.x: must be a value, a list of values, or { not = ... }",
    } <= set(caught.value.faults)


def test_events_in_a_list_have_no_line_but_are_named() -> None:
    assert placed("event 1, type: is wrong", 'event = [{ type = "visit" }]') == "event 1, type: is wrong"


CELLS = st.none() | st.text(max_size=12) | st.integers() | st.floats() | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from([*ROW, "score", "group"]), CELLS))
def test_any_row_makes_events_or_faults(row: dict[str, Any]) -> None:
    tree = changed(segment={"column": "group"}, attributes={"g": {"column": "score"}})
    tree["time"] = {"formats": ["iso", "ms", "s", "%d-%m-%Y"], "zone": "Asia/Tokyo"}
    for event in run(tree, row):
        assert isinstance(event, Message) or event.line == 2
