"""`make chaos`: rounds for MINUTES, each from nothing with a seed of its own, and a table at the end.

    python -m tests.chaos --minutes 60 --seed 1

A difference ends it with exit code 1; the logs of that round stay.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pipeline.embedded import apache
from tests.chaos.round import MINUTE, Plan, Report, play

ROOT = Path(__file__).parents[2]
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def main() -> int:
    """The command line."""
    given = _options()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of each moment without a broker
    jars = apache.fetch(ROOT / apache.BUILD)
    total, seed, until = Report(), given.seed, time.monotonic() + given.minutes * MINUTE
    while not total.counts["rounds"] or time.monotonic() < until:
        left = max(MINUTE, until - time.monotonic())
        plan = replace(_PLAN, seed=seed, seconds=min(given.round, left), workers=given.workers)
        folder = Path(tempfile.mkdtemp(prefix="feedback-chaos-"))
        err.print(f"round {total.counts['rounds'] + 1}: --seed {seed}, logs in {folder}")
        report = asyncio.run(play(plan, jars, folder, _say))
        report.counts["rounds"] += 1
        report.show(err)
        total.add(report)
        if report.differences or report.failures:
            err.print(
                f"what went wrong is above; the logs are in {folder}, and --seed {seed} deals the same faults"
            )
            break
        shutil.rmtree(folder)
        seed += 1
    total.show(Console(highlight=False))
    return 1 if total.differences or total.failures else 0


_PLAN = Plan(0, 4 * MINUTE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES", "5")))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--round", type=float, default=4 * MINUTE, help="seconds of faults in a round")
    return parser.parse_args()


def _say(text: str) -> None:
    err.print(f"{time.strftime('%H:%M:%S')} {text}")


if __name__ == "__main__":
    sys.exit(main())
