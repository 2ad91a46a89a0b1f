"""Runs one seed, made cheap and watched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from pipeline.cases import case
from pipeline.events.schemas import schema
from pipeline.journal import celltable, deltas_partition, journal, outbox, roll_snapshot, segments, snapshot
from pipeline.journal.effect import Effect
from pipeline.journal.state import State
from pipeline.measures import rolling, windows
from tests.simulation.checks import recount, rolled
from tests.simulation.rebuilds import ONE_OF, Rebuilds
from tests.simulation.remembered import Remembered
from tests.simulation.world import DECIDE, World

SCHEMAS = {"responses": "SurveyResponse", "touchpoints": "TouchpointEvent"}
REMEMBERED = {name: Remembered(decider, schema(SCHEMAS[name])) for name, decider in DECIDE.items()}


def simulate(seed: int, control: Callable[[], Any] = contextlib.nullcontext) -> tuple[World, str]:
    """A world at its end, and what went wrong in it; nothing else may escape."""
    world = World(seed, REMEMBERED if control is contextlib.nullcontext else DECIDE)
    rebuilds = Rebuilds(world, seed) if seed % ONE_OF == 0 else None
    with prepared(seed), control(), watched(world):
        try:
            world.run()
            if rebuilds:
                rebuilds.check()
            rolled(world)
        except Exception as error:  # noqa: BLE001  whatever it is, this seed shows it
            return world, f"{type(error).__name__}: {error}"
    with prepared(seed):
        try:
            recount(world)
        except Exception as error:  # noqa: BLE001  the same
            return world, f"{type(error).__name__}: {error}"
    return world, ""


@contextlib.contextmanager
def watched(world: World) -> Iterator[None]:
    """Every effect that a state takes is told to the world; while a journal is read, once the reading stands."""
    fold, load_index = State.fold, State.load_index

    def watching_fold(self: Any, effect: Effect) -> bool:
        if not fold(self, effect):
            return False
        if self._indexing:
            world.accepted(effect)
        else:
            self.__dict__.setdefault("read", []).append((world.place, effect))
        return True

    def watching_load(self: Any) -> None:
        load_index(self)
        assert world.task is not None
        for place, effect in self.__dict__.pop("read", []):
            world.taken(world.task.tenure.key[1], place, effect)

    with patch.object(State, "fold", watching_fold), patch.object(State, "load_index", watching_load):
        yield


SMALL = (
    (segments, "_ROWS", 4),
    (outbox, "_AT_ONCE", 3),
    (deltas_partition, "CELLS_AT_ONCE", 4),
    (celltable, "_FIRST_ROWS", 4),
    (windows, "DAY", 3600),
    (rolling, "DAY", 3600),
    (rolling, "_AHEAD", 0),
    (case, "_DAY_MS", 30 * 60_000),  # a case is forgotten within a day here
)


@contextlib.contextmanager
def prepared(seed: int) -> Iterator[None]:
    """Sizes so small that there are several of everything."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(journal, "MOST_BYTES", 2400 if seed % 3 else 7 << 20))
        for module in (snapshot, roll_snapshot):
            stack.enter_context(patch.object(module, "_CHUNK", 700 if seed % 2 else 4 << 20))
        for module, name, size in SMALL:
            stack.enter_context(patch.object(module, name, size))
        yield
