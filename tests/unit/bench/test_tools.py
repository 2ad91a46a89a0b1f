"""What the bench measures with: processes, logs, stacks, and stages that must keep their names."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.meter import Meter, said
from bench.profile import report_of, stacks_of

ROOT = Path(__file__).parents[3]


def test_meter_sees_cpu_and_memory():
    with Meter({"me": os.getpid(), "gone": 2**22 + 1}) as meter:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        time.sleep(0.1)
    assert meter.cpu("me", meter.begin, meter.end) >= 0.15
    assert meter.peak("me") > 5
    assert meter.cpu("gone", meter.begin, meter.end) == 0


def test_the_first_of_each_line_counts_and_other_output_is_passed_over(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text(
        "a banner\n"
        '{"time": "2026-01-01T00:00:01.500+00:00", "message": "assigned"}\n'
        '{"time": "2026-01-01T00:00:09.000+00:00", "message": "assigned"}\n'
    )
    assert said(log) == {"assigned": 1767225601.5}


def test_stacks_are_summed_without_imports_and_waiting():
    stacks = stacks_of(
        [
            'process 1:"x";thread (1): "MainThread";run (a.py:1);decide (pipeline/journal/decide.py:9) 30',
            'process 1:"x";thread (2): "decide_0";decide (pipeline/journal/decide.py:9) 20',
            'process 1:"x";thread (3): "decide_1";_worker (concurrent/futures/thread.py:69) 500',
            'process 1:"x";thread (1): "MainThread";load (<frozen importlib._bootstrap>:1) 100',
        ]
    )
    told = report_of(stacks, "it")
    assert "0.5 s of threads at work, and 1.0 s of imports" in told
    assert "0.30 s  60.0%  MainThread" in told
    assert "0.50 s 100.0%  decide (pipeline/journal/decide.py:9)" in told


def test_every_stage_still_exists():
    command = [sys.executable, "-m", "bench.stages", "--records", "4000"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr[-2000:]
    for stage in ("decide", "  settle", "fold into the state", "encode cells", "raw rows as Arrow"):
        assert f"\n{stage} " in told.stdout
