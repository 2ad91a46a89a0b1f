"""Where the worker's time goes while it drains: py-spy looks at every thread, a hundred times a second.

Written to build/bench/profile/: raw stacks (`worker.txt`, one a line with its count: what flame graph tools take), and
for people the functions by time, and the stages of the pure core.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.contenders import Contender
from bench.place import BUILD, Broker
from bench.responses import Responses
from bench.running import run
from pipeline.errors import FeedbackError

FOLDER = BUILD / "profile"
_HERTZ = 100
_LINES = 40
_OURS = "pipeline/"

Stacks = list[tuple[str, list[str], int]]  # thread, frames from the outside in, samples


def profile(contender: Contender, kafka: Broker, sent: Responses) -> str:
    """Run it under py-spy; the report."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw = FOLDER / f"{contender.name}.txt"
    done = run(contender, kafka, sent, under=_spy(raw))
    stacks = list(_stacks(raw.read_text().splitlines()))
    report = "\n".join(
        _report(stacks, f"{contender.name}: {done.rate:,.0f} records/s while it was looked at")
    )
    (FOLDER / f"{contender.name}-functions.txt").write_text(report + "\n")
    return report


def stages(records: int, rate: float) -> str:
    """The pure core in a process of its own."""
    command = [sys.executable, "-m", "bench.stages", "--records", str(records), "--rate", str(rate)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (FOLDER / "stages.txt").write_text(told)
    return told


def _spy(raw: Path) -> Sequence[str]:
    found = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if found is None:
        msg = "a profile needs py-spy: pip install py-spy"
        raise FeedbackError(msg)
    # not nonblocking: stacks that change while they are read are of no use
    return (
        found,
        "record",
        "--format",
        "raw",
        "--rate",
        str(_HERTZ),
        "--function",
        "--threads",
        "-o",
        str(raw),
        "--",
    )


def _stacks(lines: Iterable[str]) -> Iterable[tuple[str, list[str], int]]:
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        thread = next((frame for frame in frames if frame.startswith("thread ")), "thread (main)")
        yield _thread(thread), [f for f in frames if not f.startswith(("process ", "thread "))], int(count)


def _thread(name: str) -> str:
    """Threads of one pool together."""
    label = name.partition(": ")[2].strip('"') or name
    return label.rstrip("0123456789_") or label


def _report(stacks: Stacks, title: str) -> Iterable[str]:
    total = sum(count for *_, count in stacks)
    yield f"{title}; {total / _HERTZ:.1f} s of threads at work were seen"
    yield "\nby thread:"
    yield from _shares(_summed((thread, n) for thread, _, n in stacks), total)
    yield "\nin a function and what it calls (ours only):"
    within = (({f for f in frames if _OURS in f}, n) for _, frames, n in stacks)
    yield from _shares(_summed((frame, n) for frames, n in within for frame in frames), total)
    yield "\nin a function itself:"
    yield from _shares(_summed((frames[-1], n) for _, frames, n in stacks if frames), total)


def _summed(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, n in pairs:
        found[name] += n
    return found


def _shares(counts: Counter[str], total: int) -> Iterable[str]:
    for name, n in counts.most_common(_LINES):
        yield f"{n / _HERTZ:8.2f} s {n / max(1, total):6.1%}  {name}"
