"""The client of a schema registry, over real HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest

from pipeline.errors import FeedbackError
from pipeline.events.schemas import Unseen, all_schemas, schema, subject_of
from pipeline.events.wire import header
from pipeline.streams import registry as registries
from pipeline.streams.registry import Registry
from tests.support.registry import FakeRegistry

RESPONSE = schema("SurveyResponse")


class Told:
    def __init__(self):
        self.up = []

    def registry_up(self, *, up):
        self.up.append(up)


@pytest.fixture
async def fake():
    async with FakeRegistry() as one:
        yield one


@pytest.fixture
async def registry(fake):
    async with Registry(fake.url, Told(), answer_seconds=0.2) as one:
        yield one


async def test_an_id_is_asked_for_once(fake, registry):
    fake.schemas[77] = RESPONSE.text
    with pytest.raises(Unseen) as told:
        registry.lookup([77, 78])
    assert told.value.ids == (77, 78)
    await registry.learn([77, 78])
    (known,) = registry.lookup([77, 78]).values()
    assert (known.name, known.schema_id, known.avro) == ("SurveyResponse", 77, RESPONSE.avro)
    await asyncio.gather(registry.learn([77]), registry.learn([77, 78]))
    assert sorted(fake.asked) == [77, 78]


async def test_what_no_registry_would_give_is_not_asked_for(fake, registry):
    ids = [0, 1 << 31, (1 << 32) - 1]
    assert registry.lookup(ids) == {}
    assert fake.asked == []


async def test_an_id_it_does_not_have_means_what_ours_does(fake, registry):
    await registry.learn([RESPONSE.schema_id])
    assert registry.lookup([RESPONSE.schema_id])[RESPONSE.schema_id] is RESPONSE


async def test_its_meaning_goes_before_ours(fake, registry):
    fake.schemas[RESPONSE.schema_id] = schema("TouchpointEvent").text
    await registry.learn([RESPONSE.schema_id])
    assert registry.lookup([RESPONSE.schema_id])[RESPONSE.schema_id].name == "TouchpointEvent"


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": "message X {}", "schemaType": "PROTOBUF"},
        {"schema": '"string"'},
        {"schema": "{"},
        {"schema": '{"type": "record", "name": "X", "fields": [{"name": "y", "type": "acme.Other"}]}'},
    ],
)
async def test_what_is_no_avro_record_can_hold_nothing_of_ours(fake, registry, answer):
    fake.schemas[77] = answer
    await registry.learn([77])
    assert registry.lookup([77]) == {}


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("silent", "TimeoutError"),
        ("broken", "500"),
        ("lost", "check registry_url"),
        ("login", "check the login"),
    ],
)
async def test_a_registry_in_trouble_is_waited_for(fake, registry, caplog, trouble, words):
    fake.schemas[77], fake.trouble = RESPONSE.text, trouble
    learning = asyncio.create_task(registry.learn([77]))
    await asyncio.sleep(0.5)
    assert not learning.done()
    (line,) = [one for one in caplog.records if one.message == "waiting for the schema registry"]
    assert words in line.error
    assert registry._metrics.up == [False] * len(registry._metrics.up) != []
    fake.trouble = ""
    await learning
    assert 77 in registry.lookup([77])
    assert registry._metrics.up[-1]


async def test_a_registry_that_is_away_is_waited_for_and_no_login_is_logged(fake, caplog):
    fake.schemas[77] = RESPONSE.text
    await fake.__aexit__()
    url = fake.url.replace("//", "//me:secret@")
    async with Registry(url, Told()) as registry:
        learning = asyncio.create_task(registry.learn([77]))
        await asyncio.sleep(0.3)
        assert not learning.done()
        async with fake:
            await learning
    assert 77 in registry.lookup([77])
    assert "secret" not in json.dumps([vars(one) for one in caplog.records], default=str)


async def test_a_batch_of_strange_ids_is_asked_for_in_pieces(fake, registry):
    ids = list(range(1_000, 3_000))
    fake.schemas[2_999] = RESPONSE.text
    await registry.learn(ids)
    assert list(registry.lookup(ids)) == [2_999]


async def test_an_id_without_an_answer_keeps_nobody_waiting_who_needs_another(fake, registry):
    fake.schemas, fake.silent = {77: RESPONSE.text, 78: RESPONSE.text}, {78}
    waits = asyncio.create_task(registry.learn([77, 78]))
    gives_up = asyncio.create_task(registry.learn([78]))
    await asyncio.wait_for(registry.learn([77]), 10)
    gives_up.cancel()
    fake.silent = set()
    await asyncio.wait_for(waits, 10)
    assert list(registry.lookup([77, 78])) == [77, 78]
    assert fake.asked.count(77) == 1


async def test_a_no_is_asked_about_again_later(fake, registry, monkeypatch):
    await registry.learn([77])
    assert registry.lookup([77]) == {}
    fake.schemas[77] = RESPONSE.text
    await registry.learn([77])
    assert registry.lookup([77]) == {}
    monkeypatch.setattr(registries, "_NO_SECONDS", 0.0)
    await registry.learn([77])
    assert 77 in registry.lookup([77])


async def test_what_we_write_goes_under_its_ids(fake, registry):
    ours = all_schemas()
    for number, one in enumerate(ours, 500):
        fake.schemas[number], fake.subjects[subject_of(one, "p")] = one.text, [number]
    heads = await registry.heads("p")
    assert heads == {header(one.schema_id): header(number) for number, one in enumerate(ours, 500)}
    assert registry.lookup(range(500, 500 + len(ours)))[500] is ours[0]
    assert fake.asked == []


async def test_without_our_schemas_in_it_nothing_is_written(fake, registry):
    with pytest.raises(
        FeedbackError, match=r"does not have our schema of p\.touchpoints-value: run `feedback setup`"
    ):
        await registry.heads("p")


async def test_our_own_ids_are_waited_for(fake, monkeypatch):
    monkeypatch.setattr(registries, "_pause", lambda attempt: 0.01)
    for number, one in enumerate(all_schemas(), 500):
        fake.schemas[number], fake.subjects[subject_of(one, "p")] = one.text, [number]
    told, fake.trouble = Told(), "broken"
    async with Registry(fake.url, told, answer_seconds=0.2) as registry:
        asking = asyncio.create_task(registry.heads("p"))
        await asyncio.sleep(0.1)
        assert not any(told.up)
        fake.trouble = ""
        assert len(await asking) == len(all_schemas())
    assert told.up[-1]
