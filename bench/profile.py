"""Where the worker's time goes while it drains: py-spy looks at its threads, a hundred times a second.

Once at every thread that is not waiting, and once at the thread that holds the interpreter (GIL): what stands in the
second list is what keeps the other core idle. Written to build/bench/profile/: raw stacks (one a line with its count,
which flame graph tools take), for people the functions by time, and the stages of the pure core.
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
_IMPORTING = "importlib._bootstrap"
# the innermost frame of a thread that waits; py-spy takes it for work when the machine is busy
_WAITING = (
    "_worker (concurrent/futures/thread.py",
    "EpollSelector.select (",
    "wait (threading.py",
    "SocketIO.readinto (",
)

Stacks = list[tuple[str, list[str], int]]  # thread, frames from the outside in, samples


def profile(contender: Contender, kafka: Broker, sent: Responses) -> str:
    """Run it under py-spy; the report."""
    return "\n".join(
        _watched(contender, kafka, sent, f"{contender.name}-{kind}", options)
        for kind, options in (("work", ()), ("gil", ("--gil",)))
    )


def _watched(contender: Contender, kafka: Broker, sent: Responses, name: str, options: Sequence[str]) -> str:
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw = FOLDER / f"{name}.txt"
    done = run(contender, kafka, sent, under=_spy(raw, options))
    stacks = stacks_of(raw.read_text().splitlines())
    report = report_of(stacks, f"{name}: {done.rate:,.0f} records/s while it was looked at")
    (FOLDER / f"{name}-functions.txt").write_text(report + "\n")
    return report


def stages(records: int, rate: float) -> str:
    """The pure core in a process of its own."""
    command = [sys.executable, "-m", "bench.stages", "--records", str(records), "--rate", str(rate)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (FOLDER / "stages.txt").write_text(told)
    return told


def _spy(raw: Path, options: Sequence[str]) -> Sequence[str]:
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


def stacks_of(lines: Iterable[str]) -> Stacks:
    """Raw stacks as py-spy writes them."""
    return list(_stacks(lines))


def report_of(stacks: Stacks, title: str) -> str:
    """Threads and functions by time; without imports, and without threads that wait."""
    return "\n".join(_report(stacks, title))


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
    imports = sum(n for _, frames, n in stacks if _imports(frames))
    stacks = [
        one for one in stacks if one[1] and not _imports(one[1]) and not one[1][-1].startswith(_WAITING)
    ]
    total = sum(count for *_, count in stacks)
    yield f"\n{title}; {total / _HERTZ:.1f} s of threads at work, and {imports / _HERTZ:.1f} s of imports before"
    yield "\nby thread:"
    yield from _shares(_summed((thread, n) for thread, _, n in stacks), total)
    yield "\nin a function and what it calls (ours only):"
    within = (({f for f in frames if _OURS in f}, n) for _, frames, n in stacks)
    yield from _shares(_summed((frame, n) for frames, n in within for frame in frames), total)
    yield "\nin a function itself:"
    yield from _shares(_summed((frames[-1], n) for _, frames, n in stacks), total)


def _imports(frames: Sequence[str]) -> bool:
    return any(_IMPORTING in frame for frame in frames)


def _summed(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, n in pairs:
        found[name] += n
    return found


def _shares(counts: Counter[str], total: int) -> Iterable[str]:
    for name, n in counts.most_common(_LINES):
        yield f"{n / _HERTZ:8.2f} s {n / max(1, total):6.1%}  {name}"
