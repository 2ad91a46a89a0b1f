"""The worker's own HTTP server, asked by a bench."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.config import Settings

_SECONDS = 120.0


def get(settings: Settings, path: str) -> tuple[int, bytes]:
    """Status and body; status 0: it does not listen."""
    listen = settings.metrics.listen
    connection = http.client.HTTPConnection(listen.host, listen.port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def samples(body: bytes, name: str) -> Iterator[tuple[str, float]]:
    """The labels, as they are written, and values of one metric in an exposition."""
    start = name.encode()
    for line in body.splitlines():
        if line.startswith(start) and line[len(start) : len(start) + 1] in b"{ ":
            labels, _, value = line[len(start) :].decode().rpartition(" ")
            yield labels, float(value)


def wait(done: Callable[[], bool], log: Path, seconds: float = _SECONDS) -> None:
    """Until it is done.

    Raises:
        TimeoutError: it is not.
    """
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            msg = f"the worker is not there after {seconds:g} s; its log: {log}"
            raise TimeoutError(msg)
        time.sleep(0.1)
