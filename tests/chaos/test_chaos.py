"""A short round of what `make chaos` does for as long as one likes; a control that must fail; a store that is gone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.embedded import apache
from pipeline.errors import FeedbackError
from tests.chaos.faults import OFTEN, deafen, freeze, kill
from tests.chaos.outage import outage
from tests.chaos.round import Plan, play
from tests.support.needs import need

ROOT = Path(__file__).parents[2]
NAIVE = ("-m", "tests.chaos.naive_worker")


@pytest.fixture(scope="session")
def jars() -> Path:
    """Of a broker of our own, which can be killed."""
    try:
        apache.require_java()
        return apache.fetch(ROOT / apache.BUILD)
    except FeedbackError as missing:
        need(str(missing))
        raise


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_round_of_chaos_loses_and_doubles_nothing(jars, tmp_path, seed):
    plan = Plan(seed, seconds=0.0, responses=600.0, touchpoints=200.0, often=OFTEN | {kill: 14})
    report = await play(plan, jars, tmp_path, print)
    report.show(Console(file=sys.stdout, width=120))
    assert report.failures == []
    assert [one for one in report.compared if one.lost or one.doubled] == []
    assert report.kills >= 20
    assert set(report.outcomes) == {"counted", "retracted", "duplicate", "stale", "late", "dead_letter"}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_without_the_fold_rule_records_count_twice(jars, tmp_path, seed):
    plan = Plan(seed, 0.0, workers=2, often={deafen: 6, freeze: 2}, program=NAIVE, patience=5.0)
    report = await play(plan, jars, tmp_path, print)
    print({one.what: (one.lost, one.doubled) for one in report.compared if one.lost or one.doubled})
    # a record written twice by a retry is counted twice in the outcomes, one decided on by a zombie in the cells, too
    assert any(one.doubled for one in report.compared if "outcomes" in one.what), "the round finds nothing"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_store_that_is_gone_delays_storing_and_nothing_else(jars, tmp_path, seed):
    seen = await outage(jars, tmp_path, 10.0, seed, print)
    print(seen)
    before, most, _ = seen.memory
    assert seen.up == [1.0, 0.0]
    assert most - before < 200, "memory grows while the store is away"
    assert seen.behind, "nothing was counted while the store was away"
    assert [one for one in seen.compared if one.lost or one.doubled] == []
