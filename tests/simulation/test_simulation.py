"""Thousands of runs of the product's own pieces in which everything goes wrong that may.

SIMULATION_SEEDS sets how many, SIMULATION_FIRST the first one; FIRST and COUNT as in `tests.simulation.run`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.controls import CONTROLS
from tests.simulation.run import again, many, simulate
from tests.simulation.test_stories import STORIES

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "2000"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
CHUNK = 200
WITHIN = 600  # seeds of which one must fail without a rule


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_seed_comes_to_the_recount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")  # there is a process for each core
    firsts = range(FIRST, FIRST + SEEDS, CHUNK)
    counts = [min(CHUNK, FIRST + SEEDS - first) for first in firsts]
    failed: list[tuple[int, str]] = []
    total: Counter[str] = Counter()
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for wrong, happened in pool.map(many, firsts, counts):
            failed += wrong
            total += happened
    print(f"{SEEDS} seeds from {FIRST}: {dict(total)}")
    lines = [f"seed {seed}: {wrong}\n    {again(seed)}" for seed, wrong in failed]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)
    assert min(total[name] for name in ("crash", "pause", "rebalance", "broker", "ignored", "snapshots")) > 0


def test_a_seed_always_gives_the_same_run() -> None:
    def run() -> object:
        world, wrong = simulate(4)
        return wrong, world.now, world.counts, world.cells, [s.journal.values for s in world.sources]

    assert run() == run()


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(CONTROLS.keys() - set(STORIES.values())))
def test_without_a_rule_a_seed_fails(rule: str) -> None:
    failed, _ = many(0, WITHIN, rule, stop=1)
    assert failed, f"{WITHIN} seeds do not miss the rule {rule}"
    print(failed)
