"""What random seeds meet too seldom, by hand: truncated records that come back, and snapshots of others."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from pipeline.journal import snapshot as journal_snapshot
from pipeline.journal.deltas import CellChanges, Delta, pack_delta
from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.effect import Effect, pack_effect
from pipeline.journal.index import Ids
from pipeline.journal.journal import Journal, JournalBroken
from pipeline.journal.log import OutOfRange
from pipeline.journal.roll_snapshot import RollSnapshots
from pipeline.journal.segments import seal
from pipeline.journal.snapshot import chunks_of
from pipeline.journal.state import State
from tests.simulation.checks import at_once
from tests.simulation.controls import CONTROLS
from tests.simulation.disk import Connection, Disk
from tests.simulation.world import NoBoard

FOR_EVER = 1 << 40


class Calm:
    """A world in which nothing goes wrong."""

    rng = random.Random(0)
    trouble, down, most, place = 0.0, False, 8, -1

    def later(self, act: Callable[[], object]) -> None:
        raise NotImplementedError


class Partition:
    """A journal partition and the ids beside it."""

    def __init__(self) -> None:
        self.journal, self.ids = Disk(), Disk()
        self._owners = 0

    def owner(self) -> Journal:
        """One more of them, recovered."""
        self._owners += 1
        journal, ids = Connection(Calm(), self.journal), Connection(Calm(), self.ids)
        owner = Journal(journal, ids, "journal/0", f"writer {self._owners}")
        at_once(owner.catch_up())
        return owner

    def snapshot(self, state: State) -> None:
        """One whose acknowledgement nobody waits for."""
        self._owners += 1
        for chunk in chunks_of(state, (), f"writer {self._owners}"):
            self.journal.append(chunk)


def effect(sequence: int, last: int, *ids: int) -> Effect:
    """The next one of a state at `sequence` - 1."""
    a = np.array(ids, np.uint64)
    known = Ids.unknown(a, a)
    known.until[:] = 0
    return Effect(sequence, last, 0, 0, 0, {}, known)


def append(owner: Journal, last: int, *ids: int) -> None:
    """As `SourcePartition` does: decide again until it counts."""

    async def until_it_counts() -> None:
        while not await owner.append(effect(owner.state.sequence + 1, last, *ids)):
            pass

    at_once(until_it_counts())


def snapshot(owner: Journal) -> None:
    async def run() -> None:
        await owner.snapshot(FOR_EVER)

    at_once(run())


def a_zombies_snapshot_comes_first() -> None:
    """A killed broker forgets a truncation; what comes back begins with a snapshot of long ago."""
    world, state = Partition(), State()
    old = State()
    assert state.fold(effect(1, 5)) and old.fold(effect(1, 5)) and state.fold(effect(2, 6))
    world.snapshot(old)
    world.snapshot(state)
    world.journal.append(pack_effect(effect(3, 9)))
    world.journal.values.insert(0, b"truncated")
    world.journal.times.insert(0, 0)
    world.journal.start = 1
    assert world.owner().state.applied == 9


def an_impostor_stands_behind_it() -> None:
    """The same, and behind it stands a record of the zombie, of the next number, that everybody rejected."""
    world, state = Partition(), State()
    old = State()
    assert state.fold(effect(1, 5)) and old.fold(effect(1, 5)) and state.fold(effect(2, 9))
    world.journal.append(b"truncated")
    world.journal.start = 1
    world.snapshot(old)
    world.journal.append(pack_effect(effect(2, 7)))
    world.snapshot(state)
    assert world.owner().state.applied == 9


def two_owners_seal_in_turn() -> None:
    """Each truncates what its own snapshot does not name."""
    world = Partition()
    one, two = world.owner(), world.owner()
    append(one, 1, 11)
    at_once(two.catch_up())
    snapshot(one)
    append(two, 2, 12)
    at_once(one.catch_up())
    snapshot(two)
    append(one, 3, 13)
    snapshot(one)
    index = world.owner().state.index
    a = np.array([11, 12, 13], np.uint64)
    assert (index.get(a, a).until == 0).all()


def a_snapshot_comes_late() -> None:
    """Its writer gave it up, and another of the same number stands: what it names is truncated already."""
    world = Partition()
    one, zombie = world.owner(), world.owner()
    append(one, 1, 11)
    at_once(zombie.catch_up())
    found: list[Any] = []

    async def sealed() -> None:
        found.append(await seal(Connection(Calm(), world.ids), zombie.state.changed_ids(), "zombie"))

    at_once(sealed())
    late = chunks_of(zombie.state, tuple(found), "zombie")
    snapshot(one)
    for chunk in late:
        world.journal.append(chunk)
    a = np.array([11], np.uint64)
    assert (world.owner().state.index.get(a, a).until == 0).all()


def its_writer_gives_it_up_but_it_is_complete() -> None:
    """Something lands between its chunks. For whoever reads from the beginning it is the first of its number."""
    world = Partition()
    one = world.owner()
    append(one, 1, 11)
    half = len(journal_snapshot._dump(one.state)) // 2 + 1  # the second chunk is the last
    with patch.object(journal_snapshot, "_CHUNK", half):
        run = one.snapshot(FOR_EVER)
        before = len(world.journal.values)
        while len(world.journal.values) == before:
            run.send(None)
        world.journal.append(pack_effect(effect(1, 1)))
        at_once(run)
    two = world.owner()
    snapshot(one)
    append(two, 2, 12)
    snapshot(two)
    a = np.array([11, 12], np.uint64)
    assert (world.owner().state.index.get(a, a).until == 0).all()


def its_second_half_comes_late() -> None:
    """Who began to read in between has to know the first half."""
    world = Partition()
    one = world.owner()
    append(one, 1, 11)
    found: list[Any] = []

    async def sealed() -> None:
        found.append(await seal(Connection(Calm(), world.ids), one.state.changed_ids(), "one"))

    at_once(sealed())
    with patch.object(journal_snapshot, "_CHUNK", 80):
        first, *others = chunks_of(one.state, tuple(found), "one")
    world.journal.append(first)
    two = world.owner()
    for chunk in others:
        world.journal.append(chunk)
    three = world.owner()
    at_once(two.catch_up())
    snapshot(two)
    append(three, 2, 12)
    snapshot(three)
    a = np.array([11, 12], np.uint64)
    assert (world.owner().state.index.get(a, a).until == 0).all()


class Deltas:
    """A deltas partition and the snapshots beside it."""

    def __init__(self) -> None:
        self.deltas, self.roll = Disk(), Disk()
        self._owners = 0

    def more(self, count: int) -> None:
        """So many deltas that change nothing."""
        none = CellChanges((), *(np.zeros(0, kind) for kind in ("u4", "i4", "i4", "i8", "i8")))
        for _ in range(count):
            number = len(self.deltas.values) + 1
            self.deltas.append(pack_delta(Delta("responses", 0, number, 0, none)))

    def owner(self) -> DeltasPartition[Any]:
        """One more of them, recovered."""
        self._owners += 1

        async def send(*_: Any) -> None:
            raise NotImplementedError

        owner = DeltasPartition(
            "deltas/0",
            deltas=Connection(Calm(), self.deltas),
            snapshots=RollSnapshots(Connection(Calm(), self.roll), f"owner {self._owners}"),
            new_board=NoBoard,
            send=send,
            stranger=send,  # type: ignore[arg-type]  # not called
        )
        at_once(owner.recover())
        return owner


def a_zombies_snapshot_of_the_roll_comes_last() -> None:
    """What it is folded up to is cut off already."""
    world = Deltas()
    world.more(2)
    zombie = world.owner()
    world.more(3)
    owner = world.owner()
    at_once(owner.snapshot())  # type: ignore[arg-type]  # its result is not asked for
    at_once(zombie.snapshot())  # type: ignore[arg-type]  # the same
    world.more(1)
    assert world.deltas.start == 5
    assert world.owner().position == 6


def a_killed_broker_brings_old_snapshots_of_the_roll_back() -> None:
    """And not the deltas behind them."""
    world = Deltas()
    owner = world.owner()
    for _ in range(3):
        world.more(2)
        at_once(owner.recover())
        at_once(owner.snapshot())  # type: ignore[arg-type]  # its result is not asked for
    assert world.roll.start == 2
    world.roll.start = 0
    assert world.owner().position == 6


STORIES = {
    a_zombies_snapshot_of_the_roll_comes_last: "roll: the last snapshot counts",
    a_killed_broker_brings_old_snapshots_of_the_roll_back: "roll: the lowest snapshot counts",
    its_writer_gives_it_up_but_it_is_complete: "snapshot: one that was given up is none",
    its_second_half_comes_late: "snapshot: half a one is forgotten",
    a_zombies_snapshot_comes_first: "snapshot: only the first counts",
    an_impostor_stands_behind_it: "snapshot: only the first counts",
    two_owners_seal_in_turn: "snapshot: others' are ignored",
    a_snapshot_comes_late: "snapshot: equal ones replace",
}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(story: Callable[[], None]) -> None:
    story()


@pytest.mark.parametrize(("story", "rule"), STORIES.items(), ids=lambda x: getattr(x, "__name__", x))
def test_without_the_rule_it_ends_badly(story: Callable[[], None], rule: str) -> None:
    with CONTROLS[rule](), pytest.raises((AssertionError, JournalBroken, OutOfRange)):
        story()
