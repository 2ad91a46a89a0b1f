"""Thousands of runs of the product's own pieces in which everything goes wrong that may."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.controls import CONTROLS
from tests.simulation.run import simulate
from tests.simulation.seeds import one_after_another
from tests.simulation.test_stories import STORIES

ROOT = Path(__file__).parents[2]
WITHIN = 600  # seeds of which one must fail without a rule
MISTAKES = ("AttributeError", "NameError", "TypeError")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_seed_comes_to_the_recount() -> None:
    """SIMULATION_SEEDS sets how many, SIMULATION_FIRST the first one. Polite, since other tests have patience."""
    first, seeds = os.environ.get("SIMULATION_FIRST", "0"), os.environ.get("SIMULATION_SEEDS", "10000")
    polite = [found, "-n", "19"] if (found := shutil.which("nice")) else []
    command = [*polite, sys.executable, "-m", "tests.simulation", first, seeds]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_seed_always_gives_the_same_run() -> None:
    def run() -> object:
        world, wrong = simulate(4)
        return wrong, world.now, world.counts, world.cells, [s.journal.values for s in world.sources]

    assert run() == run()


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(CONTROLS.keys() - set(STORIES.values())))
def test_without_a_rule_a_seed_fails(rule: str) -> None:
    report = one_after_another(0, WITHIN, rule, stop=1)
    assert report.failed, f"{WITHIN} seeds do not miss the rule {rule}"
    assert not report.failed[0][1].startswith(MISTAKES), "the control itself is wrong"
    print(report.failures(rule))
