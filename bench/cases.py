"""What cases cost: `python -m bench.cases`. Without a broker, on one core, by the functions that a worker runs.

Case events a CPU second, from the bytes of a record to the folded effect, its journal record and its deltas included;
then the memory of many open cases, of a snapshot of them while it is made, and the time a recovery takes to read it.
EVENTS and CASES of the environment are the defaults of the options.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from pipeline.cases.lifecycle import Rules, Target
from pipeline.events import wire
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.journal.decide import DecideTouchpoints
from pipeline.journal.deltas import Delta, pack_delta
from pipeline.journal.effect import pack_effect
from pipeline.journal.log import Entry
from pipeline.journal.reading import Reading
from pipeline.journal.snapshot import chunks_of
from pipeline.journal.state import State
from pipeline.streams.garbage import search_seldom

PARTITIONS = 4
_HOUR_MS = 3_600_000
_BEGIN = 1_800_000_000_000
_ACTIONS = ("opened", "replied", "contacted", "waiting", "resumed", "resolved")
_RULES = Rules(sla={"high": Target(24 * 3600), "low": Target(72 * 3600)})
out = Console(width=132, highlight=False, markup=False)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.cases", description=__doc__)
    parser.add_argument("--events", type=int, default=int(os.environ.get("EVENTS", "240000")))
    parser.add_argument("--cases", type=int, default=int(os.environ.get("CASES", "1000000")))
    parser.add_argument("--recover", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    search_seldom()
    if given.recover:
        _recover(given.recover)
        return 0
    _speed(given.events)
    with tempfile.TemporaryDirectory() as folder:
        _fill(given.cases, Path(folder))
        subprocess.run([sys.executable, "-m", "bench.cases", "--recover", folder], check=True)
    return 0


def _speed(events: int) -> None:
    """Lives from opening to resolve, many at once, in the order of their times."""
    values, state = _lives(events // len(_ACTIONS)), State()
    started = time.process_time()
    _settle(state, values)
    seconds = time.process_time() - started
    out.print(
        f"{len(values):,} case events of {len(state.cases):,} cases: {len(values) / seconds:,.0f} a CPU second"
    )


def _settle(state: State, values: list[bytes]) -> None:
    decide = DecideTouchpoints("feedback.touchpoints", _RULES, 7 * 24 * _HOUR_MS, PARTITIONS)
    for first in range(0, len(values), decide.max_records):
        batch = values[first : first + decide.max_records]
        records = Records.of(batch, range(first, first + len(batch)), [_BEGIN + 99 * _HOUR_MS] * len(batch))
        effect = decide(state, 0, records).effect
        pack_effect(effect)
        for q, (number, cells) in effect.deltas.items():
            pack_delta(Delta("touchpoints", q, number, effect.watermark, cells))
        state.fold(effect)
        state.mark_published(effect.sequence)


def _lives(cases: int) -> list[bytes]:
    rng = random.Random(7)
    events = []
    for case in range(cases):
        at = _BEGIN + rng.randrange(72 * _HOUR_MS)
        touchpoint = rng.choice(("support", "returns", "billing"))
        for action in _ACTIONS:
            events.append((at, f"case_{action}", case, touchpoint))
            at += rng.randrange(60_000, 6 * _HOUR_MS)
    return [_event(k, *event) for k, event in enumerate(sorted(events))]


def _event(number: int, at: int, action: str, case: int, touchpoint: str) -> bytes:
    record = {
        "event_id": f"event-{number:012}",
        "occurred_at": at,
        "source": "desk",
        "touchpoint": touchpoint,
        "action": action,
        "channel": "phone",
        "customer_id": f"customer-{case % 50_000:09}",
        "case_id": f"case-{case:09}",
        "priority": "high" if case % 2 else "low",
    }
    return wire.encode(schema("TouchpointEvent"), record)


def _fill(cases: int, folder: Path) -> None:
    """Cases that were opened and answered, and their snapshots, of all partitions one after another."""
    for p in range(PARTITIONS):
        state = State()
        of_partition = range(p, cases, PARTITIONS)
        for first in range(0, len(of_partition), 50_000):
            _settle(state, list(_opened(of_partition[first : first + 50_000])))
        out.print(f"partition {p}: {len(state.cases):,} open cases", end="\r")
        for k, chunk in enumerate(chunks_of(state, (), "bench")):
            (folder / f"{p}-{k:04}").write_bytes(chunk)


def _opened(cases: range) -> Iterator[bytes]:
    for case in cases:
        for step, action in enumerate(("case_opened", "case_replied")):
            at = _BEGIN + case * 100 % (72 * _HOUR_MS) + step * 600_000
            yield _event(2 * case + step, at, action, case, "support")


def _recover(folder: Path) -> None:
    before, started, states = _resident(), time.process_time(), []
    for p in range(PARTITIONS):
        reading = Reading(searching=True)
        for path in sorted(folder.glob(f"{p}-*")):
            reading.take([Entry(0, path.read_bytes(), 0)])
        states.append(reading.state)
    seconds, cases = time.process_time() - started, sum(len(state.cases) for state in states)
    size = sum(path.stat().st_size for path in folder.iterdir())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.print(
        f"{cases:,} open cases: read in {seconds:.1f} CPU seconds, {_resident() - before:,.0f} MB "
        f"(peak of the process {peak:,.0f} MB), {size / 1e6:,.0f} MB of snapshots"
    )
    started = time.process_time()
    due = sum(len(state.cases.due(_BEGIN + 1000 * _HOUR_MS, 0, cases)) for state in states)
    out.print(f"{due:,} of them due at once: found in {time.process_time() - started:.1f} CPU seconds")


def _resident() -> float:
    """Memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
