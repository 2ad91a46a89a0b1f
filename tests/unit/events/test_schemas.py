"""The schemas that other people's producers are written against."""

from __future__ import annotations

import json

import pytest

from pipeline.events.layout import Kind, fields, id_field
from pipeline.events.schemas import all_schemas, by_id, folder, schema

# Part A of the design: name, type, "?" for nullable, "@" for a time; order is part of the wire format.
TOUCHPOINT_EVENT = (
    "event_id string; occurred_at @; source string; touchpoint string; action string; channel string; "
    "customer_id string?; case_id string?; segment string?; priority string?; attributes map"
)
SURVEY_RESPONSE = (
    "response_id string; occurred_at @; source string; instrument string; score int; touchpoint string; "
    "channel string; customer_id string?; case_id string?; segment string?; language string?; "
    "comment string?; touchpoint_at @?; revision int; retracted boolean"
)
RESOLUTION = (
    "case_id string; occurred_at @; touchpoint string; channel string; segment string?; priority string?; "
    "opened_at @; first_reply_seconds double?; first_resolution_seconds double?; "
    "full_resolution_seconds double?; agent_seconds double?; business_seconds double?; "
    "replies int; contacts int; reopens int; sla_target_seconds double?; sla_breached boolean?; "
    "one_contact boolean?; revision int; retracted boolean"
)


def described(name: str) -> str:
    parts = []
    for field in fields(schema(name)):
        kind = "@" if field.time else field.kind.value
        parts.append(f"{field.name} {kind}{'' if field.null is None else '?'}")
    return "; ".join(parts)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TouchpointEvent", TOUCHPOINT_EVENT),
        ("SurveyResponse", SURVEY_RESPONSE),
        ("Resolution", RESOLUTION),
    ],
)
def test_the_contract(name: str, expected: str) -> None:
    assert described(name) == expected
    assert schema(name).avro["namespace"] == "feedback.v1"


def test_every_file_is_registered_once_and_found_by_name_and_id() -> None:
    known = all_schemas()
    files = {entry["file"] for entry in json.loads((folder() / "registry.json").read_text())["schemas"]}
    assert files == {path.name for path in folder().iterdir() if path.name.endswith(".avsc")}
    assert len({one.schema_id for one in known}) == len(known) == 9
    for one in known:
        assert by_id(one.schema_id) is one
        assert schema(one.name) is one
    assert by_id(4711) is None
    with pytest.raises(KeyError, match="Unknown"):
        schema("Unknown")


def test_defaults_of_the_contract() -> None:
    defaults = {field["name"]: field.get("default") for field in schema("SurveyResponse").avro["fields"]}
    assert defaults["revision"] == 0
    assert defaults["retracted"] is False


def test_only_records_with_an_id_have_an_id() -> None:
    with_id = {one.name: id_field(one) for one in all_schemas() if id_field(one)}
    assert with_id == {
        "TouchpointEvent": "event_id",
        "SurveyResponse": "response_id",
        "Resolution": "case_id",
        "FollowUp": "follow_up_id",
    }


def test_all_types_can_be_walked() -> None:
    kinds = {field.kind for one in all_schemas() for field in fields(one)}
    assert kinds == set(Kind)
