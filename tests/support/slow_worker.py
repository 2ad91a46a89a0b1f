"""`python -m tests.support.slow_worker FILE`: a worker whose last partition is recovered only once FILE exists."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from pipeline.cli.commands import run
from pipeline.journal.partition import SourcePartition

_PARTITIONS = 4  # of two topics with two each


def wait_for(gate: Path) -> None:
    while not gate.exists():
        time.sleep(0.05)


if __name__ == "__main__":
    gate, begun, recover = Path(sys.argv.pop(1)), [], SourcePartition.recover

    async def slowly(partition: SourcePartition) -> None:
        begun.append(partition)
        if len(begun) == _PARTITIONS:
            await asyncio.to_thread(wait_for, gate)
        await recover(partition)

    SourcePartition.recover = slowly
    sys.argv += ["worker", "--only", "tally,roll"]
    run()
