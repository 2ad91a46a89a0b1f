"""`feedback schema` against a registry over real HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from pipeline.events.compatibility import faults
from pipeline.events.schemas import all_schemas, record_schema, schema
from tests.support.registry import FakeRegistry


async def feedback(environment, *arguments):
    command = [sys.executable, "-m", "pipeline", "schema", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def test_register_list_and_check(variables, kafka_prefix):
    async with FakeRegistry() as registry:
        environment = variables(registry_url=registry.url)
        missing = await feedback(environment, "register", "--check")
        assert missing.returncode == 1
        assert "is missing" in missing.stdout
        done = await feedback(environment, "register", "--json")
        assert done.returncode == 0, done.stderr
        ids = json.loads(done.stdout)
        assert len(ids) == len(all_schemas())
        assert registry.schemas[ids[f"{kafka_prefix}.responses-value"]] == schema("SurveyResponse").text
        assert json.loads((await feedback(environment, "register", "--json")).stdout) == ids
        assert (await feedback(environment, "register", "--check")).returncode == 0
        assert (await feedback(environment, "check")).returncode == 0
        registry.incompatible = True
        refused = await feedback(environment, "check")
        assert refused.returncode == 1
        assert "cannot read what the registry has" in refused.stdout
        assert "could not read" in (await feedback(environment, "register")).stderr
        registry.trouble = "lost"
        lost = await feedback(environment, "register")
        assert (lost.returncode, lost.stdout) == (1, "")
        assert "check registry_url" in lost.stderr


async def test_without_a_registry(variables):
    listed = await feedback(variables(), "list", "--json")
    assert {
        "subject": "feedback.responses-value",
        "version": 1,
        "id": 2,
        "record": "SurveyResponse",
    } in json.loads(listed.stdout)
    assert (await feedback(variables(), "check")).returncode == 0
    none = await feedback(variables(), "register")
    assert none.returncode == 1
    assert "schemas/registry.json" in none.stderr


RESPONSE = schema("SurveyResponse")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([*RESPONSE.avro["fields"], {"name": "mood", "type": "string", "default": ""}], None),
        ([*RESPONSE.avro["fields"], {"name": "mood", "type": "string"}], "mood is new and has no default"),
        (
            [{**f, "type": "string"} if f["name"] == "score" else f for f in RESPONSE.avro["fields"]],
            "score has another type",
        ),
        ([f for f in RESPONSE.avro["fields"] if f["name"] != "source"], None),
    ],
)
def test_what_a_later_version_must_be_able_to_read(fields, words):
    text = json.dumps({**RESPONSE.avro, "fields": fields})
    later = record_schema(text, subject=RESPONSE.subject, version=2, schema_id=99)
    found = list(faults([later, *all_schemas()]))
    assert ([words in one for one in found] == [True]) if words else not found
