"""The ids that a schema registry gives what we send. HTTP of the standard library, so that apps install no more."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

from pipeline.client.fields import KINDS, schema_of
from pipeline.errors import FeedbackError
from pipeline.events.schemas import RecordSchema, subject_of
from pipeline.events.wire import Heads, header

_SECONDS = 5.0


class RegistryError(FeedbackError):
    """It gives no ids; the text says why."""


async def heads_of(url: str, prefix: str) -> Heads:
    """The headers to send under, for each kind of event.

    Args:
        url: of a Confluent-compatible registry; a login may stand in it. Empty: there is none.
        prefix: of the topics.

    Raises:
        RegistryError: it is away, or does not have our schemas.
    """
    if not url:
        return {}
    ours = [schema_of(kind) for kind in KINDS]
    ids = [await asyncio.to_thread(_look_up, url, subject_of(one, prefix), one) for one in ours]
    return {header(one.schema_id): header(number) for one, number in zip(ours, ids, strict=True)}


def _look_up(url: str, subject: str, schema: RecordSchema) -> int:
    address, headers = _split(url.rstrip("/"))
    body = json.dumps({"schema": schema.text}).encode()
    request = Request(f"{address}/subjects/{subject}", body, headers)  # noqa: S310 - http or https, see `_split`
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=_SECONDS) as answer:
            number = json.load(answer)["id"]
    except HTTPError as fault:
        raise RegistryError(_sentence(address, subject, fault)) from None
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as fault:
        msg = f"the schema registry at {address} does not answer as one ({type(fault).__name__})"
        raise RegistryError(msg) from None
    return int(number)


def _sentence(address: str, subject: str, fault: HTTPError) -> str:
    if fault.code == 404 and _means_no(fault):
        return f"the schema registry at {address} does not have our schema of {subject}: run `feedback setup`"
    return f"the schema registry at {address} refuses ({fault.code}): check registry_url and its login"


def _means_no(fault: HTTPError) -> bool:
    """Whether the registry itself says so: a wrong address and a proxy answer 404, too."""
    try:
        return "error_code" in json.load(fault)
    except (ValueError, TypeError, OSError):
        return False


def _split(url: str) -> tuple[str, Mapping[str, Any]]:
    """The address without its login, and the headers to send.

    Raises:
        RegistryError: it is no http or https address.
    """
    try:
        parts = urlsplit(url)
    except ValueError as fault:
        msg = f"registry_url is no address: {fault}"
        raise RegistryError(msg) from None
    if parts.scheme not in ("http", "https"):
        msg = "registry_url must begin with http:// or https://"
        raise RegistryError(msg)
    headers = {"Content-Type": "application/json"}
    login, at, host = parts.netloc.rpartition("@")
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(login).encode()).decode()}"
    return urlunsplit(parts._replace(netloc=host)), headers
