"""The seeds run beside the rest of the suite, which mostly waits for brokers and browsers: minutes of every run saved.

SIMULATION_SEEDS sets how many, SIMULATION_FIRST the first one; FIRST and COUNT as in `python -m tests.simulation`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.embedded.process import Child

ROOT = Path(__file__).parent.parent.parent
BESIDE = pytest.StashKey[Child]()
TEST = "test_every_seed_comes_to_the_recount"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start them if they are asked for, with the lowest priority: other tests must not wait for them."""
    if session.config.option.collectonly or TEST not in {item.name for item in session.items}:
        return
    first, seeds = os.environ.get("SIMULATION_FIRST", "0"), os.environ.get("SIMULATION_SEEDS", "10000")
    polite = [found, "-n", "19"] if (found := shutil.which("nice")) else []
    command = [*polite, sys.executable, "-m", "tests.simulation", first, seeds]
    log = Path(tempfile.mkdtemp(prefix="feedback-seeds-")) / "seeds.log"
    child = Child("the seeds", command, log, lambda: True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    child.start()
    session.config.stash[BESIDE] = child


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Whoever breaks the run off ends the seeds, too."""
    child = session.config.stash.get(BESIDE, None)
    if child is not None:
        child.kill()
        shutil.rmtree(child.log.parent)


@pytest.fixture
def seeds(pytestconfig: pytest.Config) -> Child:
    """The process that runs them; its log has progress, the table, and failed seeds."""
    return pytestconfig.stash[BESIDE]
