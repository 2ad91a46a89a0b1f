"""What a failed batch or recovery does to the worker."""

from __future__ import annotations

import os

import pytest

from pipeline.journal.journal import JournalBroken
from pipeline.streams.app import BROKEN, _or_die


class Died(Exception):
    """Instead of the end of the tests."""


@pytest.fixture(autouse=True)
def codes(monkeypatch):
    found = []

    def die(code):
        found.append(code)
        raise Died

    monkeypatch.setattr(os, "_exit", die)
    return found


async def fails(error):
    raise error


async def works(value):
    return value == 1


async def test_what_works_may_be_acknowledged(codes):
    assert await _or_die("a batch", lambda: False, works, 1)
    assert not await _or_die("a batch of others", lambda: False, works, 2)
    assert codes == []


@pytest.mark.parametrize("error", [RuntimeError("a bug"), JournalBroken("a hole")])
async def test_a_worker_that_cannot_go_on_dies(codes, error):
    with pytest.raises(Died):
        await _or_die("a batch", lambda: False, fails, error)
    assert codes == [BROKEN]


async def test_connections_that_close_while_we_end_are_no_failure_and_nothing_is_acknowledged(codes):
    assert not await _or_die("a recovery", lambda: True, fails, RuntimeError("the consumer is stopped"))
    assert codes == []


async def test_a_broken_journal_is_told_of_while_we_end_too(codes):
    with pytest.raises(Died):
        await _or_die("a recovery", lambda: True, fails, JournalBroken("a hole"))
    assert codes == [BROKEN]
