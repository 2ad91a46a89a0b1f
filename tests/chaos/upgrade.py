"""Workers of an earlier version, replaced one by one while traffic arrives; then the recount of a round of chaos.

    python -m tests.chaos.upgrade [COMMIT]

By default the last commit whose journals had format 1. It is taken out of this repository into a temporary folder, and
runs with the packages that are installed now. Minutes, hence not among the tests.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from pipeline.embedded import apache
from pipeline.errors import FeedbackError
from pipeline.streams.app import BROKEN
from tests.chaos.round import Plan, Report, judge
from tests.chaos.stage import WORKER, Stage
from tests.chaos.truth import recount
from tests.support.traffic import Touchpoints, Traffic, produce

ROOT = Path(__file__).parents[2]
FORMAT_1 = "7406543"  # the one before ids became narrow columns
_OLD = """
import runpy, sys
sys.path.insert(0, {!r})
sys.argv[1:] = ["worker", *sys.argv[1:]]
runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
"""
_SECONDS = 8.0  # of traffic between two changes
err = Console(stderr=True, highlight=False)


async def upgrade(old: Path, jars: Path, folder: Path) -> Report:
    """A rolling upgrade from the checkout `old`; logs stay in the folder."""
    plan = Plan(int(time.time()) // 2 * 2, 0.0)
    stage = Stage(jars, folder, plan.workers, ("-c", _OLD.format(str(old))), horizon=f"{plan.horizon:g}s")
    report, over = Report(stage.counts, failures=stage.failures), asyncio.Event()
    async with stage.up():
        for worker in stage.workers:
            worker.start()
        await asyncio.gather(*(worker.ready() for worker in stage.workers))
        _say("all workers of the earlier version are ready")
        bootstrap = stage.settings.kafka.bootstrap
        flows = [
            (stage.topics.responses, Traffic(plan.seed, plan.spread), plan.responses),
            (stage.topics.touchpoints, Touchpoints(plan.seed, plan.spread), plan.touchpoints),
        ]
        sending = asyncio.gather(
            *(produce(bootstrap, topic, source, 1 << 40, rate, until=over) for topic, source, rate in flows)
        )
        await asyncio.sleep(_SECONDS)
        await _replaced(stage)
        over.set()
        report.sent = sum(await sending)
        _say("recount")
        await judge(
            stage, plan, await recount(bootstrap, stage.topics, round(plan.horizon * 1000)), report, _say
        )
    return report


async def _replaced(stage: Stage) -> None:
    for worker in stage.workers:
        code = await worker.end()
        _say(f"{worker.name} of the earlier version ended with {code}")
        if code == BROKEN:
            stage.counts["earlier workers that met newer records, and gave up"] += 1
        elif code != 0:
            stage.failures.append(f"{worker.name} of the earlier version ended with {code}, see {worker.log}")
        worker.program = WORKER
        worker.start()
        with suppress(FeedbackError):  # the judge says so
            await worker.ready()
        stage.counts["workers replaced"] += 1
        await asyncio.sleep(_SECONDS)


def main() -> int:
    """Exit code 1 if anything is lost, doubled or broken."""
    commit = sys.argv[1] if len(sys.argv) > 1 else FORMAT_1
    folder = Path(tempfile.mkdtemp(prefix="feedback-upgrade-"))
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder / "old"), commit], check=True)
    try:
        _say(f"from {commit}; logs in {folder}")
        report = asyncio.run(upgrade(folder / "old", apache.fetch(ROOT / apache.BUILD), folder))
    finally:
        subprocess.run([*git, "remove", "--force", str(folder / "old")], check=True)
    report.show(Console(highlight=False))
    if report.differences or report.failures:
        return 1
    shutil.rmtree(folder)
    return 0


def _say(text: str) -> None:
    err.print(f"{time.strftime('%H:%M:%S')} {text}")


if __name__ == "__main__":
    sys.exit(main())
