"""The ids that a registry gives what the client sends, over real HTTP."""

from __future__ import annotations

import base64

import pytest
from aiohttp import web

from pipeline.client.registry import RegistryError, heads_of
from pipeline.events.schemas import schema
from pipeline.events.wire import header, under
from tests.support.registry import FakeRegistry

OURS = {"p.touchpoints-value": schema("TouchpointEvent"), "p.responses-value": schema("SurveyResponse")}


@pytest.fixture
async def registry():
    async with FakeRegistry() as one:
        for number, (subject, known) in enumerate(OURS.items(), 500):
            one.schemas[number], one.subjects[subject] = known.text, [number]
        yield one


async def test_values_go_under_the_ids_of_the_registry(registry):
    heads = await heads_of(registry.url + "/", "p")
    assert under(header(OURS["p.responses-value"].schema_id) + b"body", heads) == header(501) + b"body"
    assert under(header(OURS["p.touchpoints-value"].schema_id), heads) == header(500)
    assert under(header(77) + b"others'", heads) == header(77) + b"others'"
    assert under(b"odd", heads) == b"odd"


async def test_without_a_registry_nothing_is_asked():
    assert await heads_of("", "p") == {}


async def test_schemas_that_nobody_registered(registry):
    with pytest.raises(
        RegistryError, match=r"does not have our schema of q\.touchpoints-value: run `feedback setup`"
    ):
        await heads_of(registry.url, "q")


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("broken", r"refuses \(500\)"),
        ("lost", r"refuses \(404\): check registry_url"),
        ("login", r"refuses \(401\)"),
    ],
)
async def test_a_registry_in_trouble_is_told(registry, trouble, told):
    registry.trouble = trouble
    with pytest.raises(RegistryError, match=told):
        await heads_of(registry.url, "p")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "file:///etc/passwd", "http://[", "http://127.0.0.1:x"]
)
async def test_an_address_where_none_is(url):
    with pytest.raises(RegistryError, match="registry"):
        await heads_of(url, "p")


async def test_a_login_is_sent_and_never_told():
    seen = []

    async def answer(request):
        seen.append(request.headers["Authorization"])
        return web.json_response({"id": 7})

    app = web.Application()
    app.add_routes([web.post("/subjects/{subject}", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    assert len(await heads_of(f"http://me:p%40ss@127.0.0.1:{port}", "p")) == 2
    await runner.cleanup()
    assert [base64.b64decode(one.removeprefix("Basic ")) for one in seen] == [b"me:p@ss"] * 2
    with pytest.raises(RegistryError) as fault:
        await heads_of(f"http://me:secret@127.0.0.1:{port}", "p")
    assert "secret" not in str(fault.value)
