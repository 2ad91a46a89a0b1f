"""A schema registry for tests: Confluent's HTTP interface over real HTTP, as much of it as is used."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web


class FakeRegistry:
    """Serves on a free port of loopback while it is entered.

    Attributes:
        schemas: id -> schema text, or a whole answer.
        subjects: subject -> ids of its versions.
        asked: the ids asked for, in order.
        silent: ids about which it never answers.
        trouble: "silent" (never answers), "broken" (500), "lost" (a proxy's 404 page), "login" (401); "" for none.
    """

    def __init__(self) -> None:
        self.schemas: dict[int, Any] = {}
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[int] = []
        self.silent: set[int] = set()
        self.trouble = ""
        self.port = 0
        self.incompatible = False
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> FakeRegistry:
        app = web.Application(middlewares=[self._troubled])
        app.add_routes(
            [
                web.get("/schemas/ids/{id}", self._by_id),
                web.post("/subjects/{subject}/versions", self._register),
                web.post("/subjects/{subject}", self._find),
                web.post("/compatibility/subjects/{subject}/versions/latest", self._compatible),
                web.put("/config/{subject}", self._config),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @web.middleware
    async def _troubled(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.trouble == "silent":
            await asyncio.sleep(3600)
        if self.trouble == "broken":
            return web.Response(status=500, text="<html>oops</html>")
        if self.trouble == "lost":
            return web.Response(status=404, text="<html>no such page</html>")
        if self.trouble == "login":
            return web.json_response({"error_code": 40101, "message": "Unauthorized"}, status=401)
        return await handler(request)

    async def _by_id(self, request: web.Request) -> web.Response:
        number = int(request.match_info["id"])
        self.asked.append(number)
        if number in self.silent:
            await asyncio.sleep(3600)
        found = self.schemas.get(number)
        if found is None:
            return web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)
        return web.json_response(found if isinstance(found, dict) else {"schema": found})

    async def _register(self, request: web.Request) -> web.Response:
        if self.incompatible:
            return web.json_response({"error_code": 409, "message": "incompatible"}, status=409)
        text, subject = (await request.json())["schema"], request.match_info["subject"]
        number = self._id_of(text) or max([100, *self.schemas]) + 1
        self.schemas[number] = text
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return web.json_response({"id": number})

    async def _find(self, request: web.Request) -> web.Response:
        text, subject = (await request.json())["schema"], request.match_info["subject"]
        number = self._id_of(text)
        if number not in self.subjects.get(subject, []):
            return web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)
        return web.json_response({"id": number, "subject": subject, "version": 1, "schema": text})

    async def _compatible(self, request: web.Request) -> web.Response:
        if request.match_info["subject"] not in self.subjects:
            return web.json_response({"error_code": 40401, "message": "Subject not found"}, status=404)
        return web.json_response({"is_compatible": not self.incompatible})

    async def _config(self, request: web.Request) -> web.Response:
        return web.json_response(await request.json())

    def _id_of(self, text: str) -> int | None:
        wanted = json.loads(text)
        for number, known in self.schemas.items():
            if isinstance(known, str) and json.loads(known) == wanted:
                return number
        return None
