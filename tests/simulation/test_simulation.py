"""Thousands of runs of the product's own pieces in which everything goes wrong that may."""

from __future__ import annotations

import time

import pytest

from pipeline.embedded.process import Child
from tests.simulation.controls import CONTROLS
from tests.simulation.run import simulate
from tests.simulation.seeds import one_after_another
from tests.simulation.test_stories import STORIES

WITHIN = 600  # seeds of which one must fail without a rule
MISTAKES = ("AttributeError", "NameError", "TypeError")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_seed_comes_to_the_recount(seeds: Child, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled(), seeds.log.open() as log:
        while seeds.running:
            print(log.read(), end="", flush=True)
            time.sleep(0.5)
        print(log.read(), flush=True)
    assert seeds.code == 0, seeds.log.read_text()[-4000:]


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
