"""`Registry`: schemas by their ids from a Confluent-compatible schema registry, however long it is away.

A record whose id nobody has asked about yet waits for the answer: a registry that is away, silent or confused says
nothing about the record. Only its own "there is no such schema" makes dead letters.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import aiohttp
from yarl import URL

from pipeline.errors import FeedbackError
from pipeline.events.schemas import RecordSchema, Unseen, by_id, newest, record_schema, subject_of
from pipeline.events.wire import Heads, header

log = logging.getLogger(__name__)
T = TypeVar("T")
_ANSWER_SECONDS = 5.0
_LONGEST_PAUSE = 5.0
_AT_ONCE = 16
_IDS = range(
    1, 1 << 31
)  # a registry gives positive 32-bit numbers; whatever else stands in a header is noise
# A "no" is asked about again after so long, in case somebody registers the schema late; and they are not kept for ever.
_NO_SECONDS = 600.0
_MOST_NOES = 200_000
_NOT_FOUND = range(40_400, 40_500)  # Confluent's error codes; a plain 404 is a wrong address


class RegistryAway(Exception):
    """The registry gave no answer that says anything about a schema."""


class RegistryMetrics(Protocol):
    """What Prometheus is told about the registry."""

    def registry_up(self, *, up: bool) -> None:
        """Whether it answers."""
        ...


class Registry:
    """Looks schemas up and remembers them. A context manager; used from one event loop, looked up in from any thread.

    Args:
        url: of the registry; a login may stand in it.
        metrics: Prometheus.
        answer_seconds: how long an answer may take.
    """

    def __init__(
        self, url: str, metrics: RegistryMetrics, *, answer_seconds: float = _ANSWER_SECONDS
    ) -> None:
        self._url = URL(url.rstrip("/"))
        self._metrics = metrics
        self._seconds = answer_seconds
        self._known: dict[int, RecordSchema | None] = {}
        self._noes: dict[int, float] = {}
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """Its address without a login, for messages."""
        return str(self._url.with_user(None))

    async def __aenter__(self) -> Self:
        """Open nothing yet: connections are made when something is asked."""
        timeout = aiohttp.ClientTimeout(total=self._seconds)
        self._session = aiohttp.ClientSession(timeout=timeout, raise_for_status=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask no more, and close the connections."""
        for asking in self._asking.values():
            asking.cancel()
        if self._session is not None:
            await self._session.close()

    def lookup(self, ids: Sequence[int]) -> Mapping[int, RecordSchema]:
        """See `events.schemas.Lookup`."""
        known = self._known
        unseen = [one for one in ids if one in _IDS and one not in known]
        if unseen:
            raise Unseen(unseen)
        return {one: schema for one in ids if (schema := known.get(one)) is not None}

    async def learn(self, ids: Sequence[int]) -> None:
        """Ask what these ids are, for as long as it takes; `lookup` knows afterwards.

        One that gets no answer keeps nobody waiting who needs others, and is asked for once, whoever waits for it.
        """
        self._forget_noes()
        left = [one for one in ids if one not in self._known]
        for start in range(0, len(left), _AT_ONCE):
            await asyncio.gather(*map(self._learn, left[start : start + _AT_ONCE]))
        refused = [one for one in ids if self._known.get(one) is None]
        if refused:
            extra = {"registry": self.name, "ids": refused[:5], "n": len(refused)}
            log.warning("schema ids that the registry does not have: dead letters", extra=extra)

    async def heads(self, prefix: str) -> Heads:
        """The headers under which others know what we write, however long the registry is away.

        Args:
            prefix: of the topics.

        Raises:
            FeedbackError: it does not have all of our schemas.
        """
        ids = {one: await self._patiently(self._find, subject_of(one, prefix), one) for one in newest()}
        self._known |= {number: one for one, number in ids.items()}
        return {header(one.schema_id): header(number) for one, number in ids.items()}

    async def _patiently(self, call: Callable[..., Awaitable[T]], *args: Any) -> T:
        attempt = 0
        while True:
            try:
                result = await call(*args)
            except RegistryAway as away:
                self._metrics.registry_up(up=False)
                if attempt in (0, 5) or attempt % 20 == 19:
                    extra = {"registry": self.name, "error": str(away), "attempt": attempt}
                    log.warning("waiting for the schema registry", extra=extra)
                await asyncio.sleep(_pause(attempt))
                attempt += 1
            else:
                self._metrics.registry_up(up=True)
                return result

    async def _find(self, subject: str, schema: RecordSchema) -> int:
        status, body = await self._ask_for("POST", f"subjects/{subject}", {"schema": schema.text})
        if status == 200 and isinstance(body, dict) and body.get("id") in _IDS:
            return int(body["id"])
        if status == 404 and _means_no(body):
            msg = f"the schema registry at {self.name} does not have our schema of {subject}: run `feedback setup`"
            raise FeedbackError(msg)
        raise RegistryAway(_why(status))

    async def _learn(self, schema_id: int) -> None:
        if schema_id in self._known:
            return
        if schema_id not in self._asking:
            asking = asyncio.create_task(self._ask_until_known(schema_id))
            asking.add_done_callback(lambda _: self._asking.pop(schema_id))
            self._asking[schema_id] = asking
        await asyncio.shield(self._asking[schema_id])  # others may wait for it, too

    async def _ask_until_known(self, schema_id: int) -> None:
        self._remember(schema_id, await self._patiently(self._ask, schema_id))

    def _remember(self, schema_id: int, schema: RecordSchema | None) -> None:
        self._known[schema_id] = schema
        if schema is None:
            self._noes[schema_id] = time.monotonic()
        else:
            extra = {"registry": self.name, "id": schema_id, "record": schema.name}
            log.info("learned a schema", extra=extra)

    def _forget_noes(self) -> None:
        """Only before something is asked, and seldom: whoever was told to decode again asks again otherwise."""
        limit = time.monotonic() - (_NO_SECONDS if len(self._noes) < _MOST_NOES else 0.0)
        for one in [one for one, since in self._noes.items() if since < limit]:
            del self._noes[one], self._known[one]

    async def _ask(self, schema_id: int) -> RecordSchema | None:
        """The schema; what it does not have may be one of ours from before there was a registry."""
        status, body = await self._ask_for("GET", f"schemas/ids/{schema_id}")
        if status == 200:
            return _schema_of(schema_id, body)
        if status == 404 and _means_no(body):
            return by_id(schema_id)
        raise RegistryAway(_why(status))

    async def _ask_for(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer; None where it is no JSON."""
        assert self._session is not None, "use it as a context manager"  # noqa: S101 - a caller's mistake, for mypy
        try:
            async with self._session.request(method, self._url / path, json=body) as answer:
                text = await answer.text(errors="replace")
                return answer.status, _json(text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RegistryAway(f"{type(error).__name__} {error}".strip()) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _means_no(body: Any) -> bool:
    """Whether a 404 is about the schema: a proxy's page and a wrong path are 404, too."""
    return isinstance(body, dict) and body.get("error_code", _NOT_FOUND[0]) in _NOT_FOUND


def _why(status: int) -> str:
    if status in (401, 403):
        return f"it refuses us ({status}): check the login in registry_url"
    if status == 404:
        return "there is no schema registry at this address (404): check registry_url"
    return f"it answers {status}"


def _schema_of(schema_id: int, body: Any) -> RecordSchema | None:
    """None for what is registered and no Avro record: nothing of ours can be in it."""
    if not isinstance(body, dict) or not isinstance(body.get("schema"), str):
        msg = "its answer holds no schema: check registry_url"
        raise RegistryAway(msg)
    if body.get("schemaType", "AVRO") != "AVRO":
        return None
    try:
        return record_schema(body["schema"], subject="", version=0, schema_id=schema_id)
    except ValueError:
        return None


def _pause(attempt: int) -> float:
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    return min(_LONGEST_PAUSE, 0.1 * 2.0 ** min(attempt, 10)) * jitter
