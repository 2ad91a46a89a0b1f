"""Runs seeds on all cores; prints what happened, and for a failed one the command that runs it again.

    python -m tests.simulation FIRST COUNT [RULE]

RULE, one of tests/simulation/controls.py, is replaced by the naive one.
"""

from __future__ import annotations

import sys
from functools import partial

from tests.simulation.seeds import CHUNK, on_all_cores, one_after_another


def main(first: int, count: int, rule: str = "") -> int:
    """Exit code 1 if a seed failed, or if many of them met no trouble of some kind."""
    if count <= CHUNK:
        report = one_after_another(first, count, rule)
        print(report.failures(rule))
        missing = []
    else:
        report = on_all_cores(first, count, partial(print, flush=True), rule)
        missing = report.missing()
    print(report.table())
    if missing:
        print(f"none of them met: {', '.join(missing)}")
    return bool(report.failed or missing)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4]))
