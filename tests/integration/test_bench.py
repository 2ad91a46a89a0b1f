"""The bench runs its contenders to the end, and finds their numbers right. It says nothing about times."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import place
from bench.contenders import CONTENDERS
from bench.place import Broker
from bench.recovery import measure
from bench.responses import responses
from bench.running import run

N = 20_000


@pytest.mark.parametrize("name", ["bare", "worker", "worker-garbage"])
def test_a_contender_drains_everything(
    name: str, apache_kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(place, "BUILD", tmp_path)
    (contender,) = (one for one in CONTENDERS if one.name == name)
    sent = responses(N, garbage=0.01 if contender.garbage else 0.0)
    done = run(contender, Broker(apache_kafka, os.getpid()), sent)
    assert done.found == done.expected
    assert done.records == N
    assert tuple(done.steps) == contender.steps
    assert 0 < done.seconds == done.steps[contender.steps[-1]]


def test_a_worker_recovers_what_was_filled_in(
    apache_kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(place, "BUILD", tmp_path)
    (told,) = measure(Broker(apache_kafka, os.getpid()), 100_000, 600)
    assert (told.ids, told.leaves) == (100_000, 600)
    assert told.cells >= 600
    assert told.ids_mb > 0
    assert told.seconds > 0
