"""Thousands of runs of the product's own pieces in which everything goes wrong that may.

SIMULATION_SEEDS sets how many, SIMULATION_FIRST the first one; FIRST and COUNT as in `python -m tests.simulation`.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.controls import CONTROLS
from tests.simulation.run import simulate
from tests.simulation.seeds import on_all_cores, one_after_another
from tests.simulation.test_stories import STORIES

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "10000"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
WITHIN = 600  # seeds of which one must fail without a rule
MISTAKES = ("AttributeError", "NameError", "TypeError")
MUST_HAPPEN = (
    "broker crashes",
    "conflicts",
    "crashes",
    "effects ignored",
    "gaps filled",
    "pauses",
    "rebalances",
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_seed_comes_to_the_recount(capsys: pytest.CaptureFixture[str]) -> None:
    def tell(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    tell("")
    report = on_all_cores(FIRST, SEEDS, tell)
    tell(report.table())
    if report.failed:
        pytest.fail(report.failures(), pytrace=False)
    assert min(report.counts[name] for name in MUST_HAPPEN) > 0


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
