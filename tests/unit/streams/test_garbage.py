"""Searches for garbage happen at times of our own, and find what is young and what is old."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from pipeline.streams import garbage


class Knot:
    """Keeps itself alive."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def _never_by_itself():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_never_by_itself")
@pytest.mark.parametrize(("after", "old"), [(3600.0, False), (0.0, True)])
async def test_what_keeps_itself_alive_is_found(monkeypatch, after, old):
    monkeypatch.setattr(garbage, "_YOUNG", 0.001)
    monkeypatch.setattr(garbage, "_ALL", after)
    knot = Knot()
    if old:
        gc.collect()
    gone, stop = asyncio.Event(), asyncio.Event()
    weakref.finalize(knot, gone.set)
    del knot
    assert not gone.is_set()
    searching = asyncio.create_task(garbage.search(stop))
    await asyncio.wait_for(gone.wait(), 10)
    stop.set()
    await searching
