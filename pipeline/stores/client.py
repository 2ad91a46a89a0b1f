"""`connect`: a clickhouse-connect client for the store of the configuration, embedded or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from pipeline.errors import FeedbackError
from pipeline.stores.door.access import WRITER, read_token

if TYPE_CHECKING:
    from pipeline.config import Settings

# Of batches: rows must be stored when the insert returns, and not wait in a buffer of the server. Tables are parted by
# months: a batch of replayed history may reach over more of them than the server lets by (100), for ever refused.
_WRITING = {"async_insert": 0, "wait_end_of_query": 1, "max_partitions_per_insert_block": 0}
UNKNOWN_DATABASE = 81


def connect(settings: Settings, *, write: bool, database: str | None = None, timeout: float = 60.0) -> Client:
    """A client of the store.

    Args:
        settings: `store.dsn` says which; the embedded one is asked at `store.http`.
        write: as the user who may; else it can only read, in the embedded store.
        database: the one of the configuration if not given.
        timeout: seconds to wait for an answer.

    Raises:
        FeedbackError: nothing answers, it does not let us in, or there is no such database yet.
    """
    wanted = database if database is not None else settings.store.database
    try:
        return clickhouse_connect.get_client(
            **_address(settings, write=write),
            database=wanted,
            connect_timeout=5,
            send_receive_timeout=timeout,
            query_retries=0,  # who retries, and for how long, is for the caller to say
            autogenerate_session_id=False,  # a session would allow one query at a time
            settings=dict(_WRITING) if write else None,
            client_name="feedback",
        )
    except ClickHouseError as fault:
        raise _explained(settings, fault) from fault


def place(settings: Settings) -> str:
    """Where the store is, for messages; without a password."""
    if settings.store.folder is not None:
        return f"http://{settings.store.http}"
    parts = urlsplit(settings.store.dsn)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _port(parts.scheme)}"


def _address(settings: Settings, *, write: bool) -> dict[str, Any]:
    folder = settings.store.folder
    if folder is None:
        parts = urlsplit(settings.store.dsn)
        return {
            "interface": parts.scheme,
            "host": parts.hostname,
            "port": parts.port or _port(parts.scheme),
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "compress": True,
        }
    http = settings.store.http
    address: dict[str, Any] = {"interface": "http", "host": http.host, "port": http.port, "compress": False}
    if write:
        token = settings.store.token
        address["username"] = WRITER
        address["password"] = token.get_secret_value() if token else read_token(folder)
    return address


def _port(scheme: str) -> int:
    return 8443 if scheme == "https" else 8123


def _explained(settings: Settings, fault: ClickHouseError) -> FeedbackError:
    where = place(settings)
    code = getattr(fault, "code", None)
    if code == UNKNOWN_DATABASE:
        return FeedbackError(
            f"the store at {where} has no database {settings.store.database}: run `feedback setup`"
        )
    if code is None and settings.store.folder is not None:
        return FeedbackError(
            f"the store does not answer at {where}: start `feedback store`, or set store.http"
        )
    if code is None and isinstance(fault, OperationalError):
        # the innermost of urllib3's four layers
        reason = str(getattr(fault.__cause__, "reason", fault)).rpartition("): ")[2]
        return FeedbackError(f"the store does not answer at {where} ({reason}): start it, or set store.dsn")
    return FeedbackError(f"the store at {where} does not let us in: {fault}")
