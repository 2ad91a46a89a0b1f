"""Our own schemas in a Confluent-compatible registry, for `feedback schema`. A command does not wait, a worker does."""

from __future__ import annotations

from typing import Any

import aiohttp
from yarl import URL

from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.events.schemas import RecordSchema, all_schemas, subject_of

_SECONDS = 10.0
_MISSING = 404
_CONFLICT = 409


async def put(settings: Settings) -> dict[str, int | None]:
    """Register every schema; its id by subject.

    Raises:
        FeedbackError: the registry is away, refuses, or holds what the new version could not read.
    """
    ids: dict[str, int | None] = {}
    async with _Calls(settings) as calls:
        for one in all_schemas():
            subject = calls.subject(one)
            if one.version == 1:
                await calls.ask("PUT", f"config/{subject}", {"compatibility": "BACKWARD_TRANSITIVE"})
            status, body = await calls.ask("POST", f"subjects/{subject}/versions", {"schema": one.text})
            if status == _CONFLICT:
                msg = f"the registry holds a version of {subject} that ours could not read: look at its versions there"
                raise FeedbackError(msg)
            ids[subject] = calls.expect(status, body, "id")
    return ids


async def find(settings: Settings) -> dict[str, int | None]:
    """The id of every schema by subject; None where the registry does not have it."""
    ids: dict[str, int | None] = {}
    async with _Calls(settings) as calls:
        for one in all_schemas():
            status, body = await calls.ask("POST", f"subjects/{calls.subject(one)}", {"schema": one.text})
            ids[calls.subject(one)] = None if status == _MISSING else calls.expect(status, body, "id")
    return ids


async def incompatible(settings: Settings) -> list[str]:
    """A sentence for each of our schemas that could not read what the registry has under its subject."""
    found = []
    async with _Calls(settings) as calls:
        for one in all_schemas():
            subject = calls.subject(one)
            path = f"compatibility/subjects/{subject}/versions/latest"
            status, body = await calls.ask("POST", path, {"schema": one.text})
            if status != _MISSING and not calls.expect(status, body, "is_compatible"):
                found.append(f"{subject}: version {one.version} cannot read what the registry has")
    return found


class _Calls:
    """Requests to the registry of the configuration; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._url = URL(settings.registry_url.rstrip("/"))
        self._prefix = settings.kafka.prefix
        self._name = str(self._url.with_user(None))

    async def __aenter__(self) -> _Calls:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def subject(self, schema: RecordSchema) -> str:
        """The subject under the prefix of our topics."""
        return subject_of(schema, self._prefix)

    async def ask(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body of an answer."""
        try:
            async with self._session.request(method, self._url / path, json=body) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = type(error).__name__
            msg = f"the schema registry at {self._name} does not answer as one ({why}): check registry_url"
            raise FeedbackError(msg) from error

    def expect(self, status: int, body: Any, key: str) -> Any:
        """What the answer says under `key`."""
        if status == 200 and isinstance(body, dict) and key in body:
            return body[key]
        msg = f"the schema registry at {self._name} refuses ({status}): check registry_url and its login"
        raise FeedbackError(msg)
