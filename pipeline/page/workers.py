"""`Workers`: asks every worker at once, and makes one answer of theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp

from pipeline.config import Listen

log = logging.getLogger(__name__)
PATIENCE = aiohttp.ClientTimeout(total=2)  # one that hangs must not hold up what the others say
_SAID = ("at", "ready", "of", "parts")
Part = Mapping[str, Any]  # partition, position, scores; answers where a selection was asked for


class Refused(Exception):
    """A worker answers that the question is wrong; `args[0]` says why."""


class Told(NamedTuple):
    """What all workers together say.

    Attributes:
        at: when, ISO 8601.
        ready: everybody who answered has recovered what it owns.
        of: how many partitions there are.
        parts: by partition, of each what the worker says who is furthest. A partition of a worker that does not answer
            is not in it.
    """

    at: str
    ready: bool
    of: int
    parts: Mapping[int, Part]

    @property
    def whole(self) -> bool:
        """Nothing is missing."""
        return len(self.parts) >= self.of

    def rows(self, what: str) -> list[Mapping[str, Any]]:
        """All rows of "scores" or "answers"."""
        return [row for _, part in sorted(self.parts.items()) for row in part[what]]


class Workers:
    """All workers.

    Args:
        addresses: of their HTTP servers. A host name with several addresses stands for a worker at each.
        session: to ask with.
    """

    def __init__(self, addresses: Sequence[Listen], session: aiohttp.ClientSession) -> None:
        self._addresses, self._session = addresses, session

    async def ask(self, query: Mapping[str, str] | None = None) -> Told | None:
        """Their scores now, or what stands around a selection; None if nobody answers.

        Raises:
            Refused: the question is wrong.
        """
        places = await asyncio.gather(*(_resolved(one) for one in self._addresses))
        every = {place for some in places for place in some}
        said = await asyncio.gather(*(self._get(place, query or {}) for place in sorted(every)))
        return together(one for one in said if one is not None)

    async def _get(self, place: tuple[str, int], query: Mapping[str, str]) -> Mapping[str, Any] | None:
        url = f"http://{Listen(*place)}/scores"
        try:
            async with self._session.get(url, params=query, timeout=PATIENCE) as answer:
                if answer.status == HTTPStatus.BAD_REQUEST:
                    raise Refused(await answer.text())
                answer.raise_for_status()
                said: Mapping[str, Any] = await answer.json()
                return {name: said[name] for name in _SAID}
        except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError) as fault:
            log.debug("a worker does not answer", extra={"address": url, "fault": str(fault)})
            return None


def together(said: Iterable[Mapping[str, Any]]) -> Told | None:
    """One answer of many; None of none. A partition that two tell of is taken from the one that is further."""
    every = list(said)
    if not every:
        return None
    parts: dict[int, Part] = {}
    for part in (part for one in every for part in one["parts"]):
        known = parts.get(part["partition"])
        if known is None or part["position"] > known["position"]:
            parts[part["partition"]] = part
    of = max(one["of"] for one in every)
    return Told(max(one["at"] for one in every), all(one["ready"] for one in every), of, parts)


async def _resolved(listen: Listen) -> list[tuple[str, int]]:
    """The addresses of a name; none of one that nobody knows (yet)."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(listen.host, listen.port, type=1)
    except OSError as fault:
        log.debug("no such host", extra={"host": listen.host, "fault": str(fault)})
        return []
    return [(str(address[0]), listen.port) for *_, address in found]
