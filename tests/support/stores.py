"""A store for tests: clients of the shared one, and a whole one of a test's own."""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlencode

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from pipeline.config import Settings
from pipeline.embedded.store import EmbeddedStore
from pipeline.stores.client import connect
from pipeline.stores.door.access import WRITER, read_token
from pipeline.stores.migrate import bring_up, migrate


def reader(store: EmbeddedStore, **options) -> Client:
    """As anybody."""
    return clickhouse_connect.get_client(host=store.host, port=store.port, **options)


def writer(store: EmbeddedStore, **options) -> Client:
    """As user `writer`."""
    return reader(store, username=WRITER, password=read_token(store.folder), **options)


def new_database(store: EmbeddedStore) -> str:
    """The name of a new one, with all tables and views."""
    name = f"t{secrets.token_hex(5)}"
    with writer(store) as client:
        migrate(client, name)
    return name


def set_up(settings: Settings) -> None:
    """Make the tables of a store that runs."""
    with connect(settings, write=True, database="default") as client:
        bring_up(client, settings)


def ask(
    store: EmbeddedStore,
    body: bytes = b"",
    *,
    method: str = "POST",
    path: str = "/",
    headers: Mapping[str, str] = MappingProxyType({}),
    **arguments: object,
) -> tuple[int, Mapping[str, str], bytes]:
    """A request without a client library: status, headers, body."""
    connection = http.client.HTTPConnection(store.host, store.port, timeout=60)
    try:
        connection.request(method, f"{path}?{urlencode(arguments)}", body or None, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()
