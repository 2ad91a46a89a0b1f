"""A port for a server to come."""

from __future__ import annotations

import random
import socket
from itertools import count

import pytest

from pipeline.embedded.process import free_port

CONNECTIONS = 32_768  # what Linux gives to outgoing connections begins here


def test_no_connection_is_given_it_before_the_server_takes_it() -> None:
    assert max(free_port() for _ in range(200)) < CONNECTIONS


def test_processes_with_the_same_seed_do_not_agree_on_ports() -> None:
    def five() -> list[int]:
        random.seed(1)
        return [free_port() for _ in range(5)]

    assert five() != five()


def test_one_that_is_taken_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        numbers = count()
        monkeypatch.setattr("pipeline.embedded.process._FIRST_PORT", first)
        monkeypatch.setattr("pipeline.embedded.process.secrets.randbelow", lambda _: next(numbers))
        assert free_port() > first


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        free_port("192.0.2.1")
