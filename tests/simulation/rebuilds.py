"""`feedback rebuild` in a world: what is missing from the live cells, at some moments and at the end.

The store and its questions are left out; the arithmetic and the rule that a rebuild replaces the one before are not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import polars as pl

from pipeline.rebuild.difference import CELL, RECOUNTED, STORED, difference
from tests.simulation.disk import MARKER
from tests.simulation.oracle import full_recount_of_touchpoints
from tests.simulation.world import STEPS, Broken, Source, World
from tests.support.recount import full_recount

ONE_OF = 5  # seeds has rebuilds
Amounts = dict[Any, tuple[int, int]]  # cell -> count and total in thousandths


class Rebuilds:
    """Cells of origin 'rebuild' beside the live ones of a world.

    Args:
        world: rebuilds happen at some of its steps, whatever its workers are in the middle of.
        seed: of the world.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._cells: Amounts = {}
        steps = random.Random(seed)
        for _ in range(2):
            world.later(self.again, steps.randrange(STEPS))

    def again(self) -> int:
        """One rebuild of all that the tally has told of; how many cells it changed."""
        return self._rebuild(_recounted(self._world.sources))

    def _rebuild(self, recounted: pl.DataFrame) -> int:
        changed = difference(recounted, self._stored())
        for row in changed.iter_rows(named=True):
            self._cells[tuple(row[name] for name in CELL)] = row["wanted_n"], row["wanted_total"]
        self._world.counts["rebuilt cells"] += len(changed)
        return len(changed)

    def check(self) -> None:
        """After one at the end, live and rebuilt cells are the full recount; a second one changes nothing."""
        recounted = _recounted(self._world.sources)
        self._rebuild(recounted)
        want = Counter({tuple(row[:7]): row[7] for row in recounted.iter_rows()})
        got = Counter({cell: n for cell, (n, _) in self._cells.items()})
        for cell, (n, _) in _live(self._world).items():
            got[cell] += n
        if wrong := {cell: (got[cell], want[cell]) for cell in got | want if got[cell] != want[cell]}:
            msg = f"live and rebuilt cells, and what they must be: {wrong}"
            raise Broken(msg)
        if self._rebuild(recounted):
            raise Broken("a second rebuild changes something")

    def _stored(self) -> pl.DataFrame:
        live = _live(self._world)
        rows = [
            (*cell, *live.get(cell, (0, 0)), *self._cells.get(cell, (0, 0))) for cell in {*live, *self._cells}
        ]
        return pl.DataFrame(rows, STORED, orient="row")


def _live(world: World) -> Amounts:
    """What readers of the live cells see: the newest version of each part, added up."""
    total: Amounts = {}
    for (cell, part), (version, _) in world.cells.items():
        n, amount = world.versions[(cell, part), version]
        before = total.get(cell, (0, 0))
        total[cell] = before[0] + n, before[1] + amount
    return total


def _recounted(sources: Iterable[Source]) -> pl.DataFrame:
    """Everything that the tally has told of, late records too, by id."""
    responses, touchpoints = [], []
    for source in sources:
        told = max(source.outcomes, default=-1)
        rows = zip(source.history.times, range(told + 1), source.history.values, strict=False)
        kept = [(time, source.partition, k, value) for time, k, value in rows if value is not MARKER]
        (responses if source.name == "responses" else touchpoints).extend(kept)
    cells = [(*cell, n, cell[-1] * n * 1000) for cell, n in full_recount(responses).items()]
    cells += [(*cell, n, total) for cell, (n, total) in full_recount_of_touchpoints(touchpoints).items()]
    return pl.DataFrame(cells, RECOUNTED, orient="row")
