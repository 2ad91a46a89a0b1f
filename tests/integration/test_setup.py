"""`feedback setup` as a command of its own, on the embedded broker and store."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from typing import Any

import pytest

from pipeline.errors import FeedbackError
from pipeline.stores.client import connect
from pipeline.stores.definitions import known
from pipeline.streams.definitions import define
from pipeline.streams.setup import ensure
from tests.support.stores import set_up


@pytest.fixture
def feedback(variables, embedded_kafka):
    """Runs `feedback ARGS`; its exit code, and all it printed."""
    env = variables(kafka={"bootstrap": embedded_kafka})

    def run(*args: str, **more: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pipeline", *args]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, env=env | more, timeout=100, check=False, **output)
        return done.returncode, done.stdout

    return run


def test_setup_makes_what_is_missing_and_then_nothing(feedback, kafka_prefix):
    code, said = feedback("setup")
    assert code == 0, said
    assert f"topic {kafka_prefix}.journal.responses: made" in said
    assert "applied" in said
    code, said = feedback("setup")
    assert (code, said) == (0, "everything is in place\n")


def test_check_reports_and_makes_nothing(feedback, kafka_prefix):
    code, said = feedback("setup", "--check")
    assert code == 1
    assert f"topic {kafka_prefix}.responses: is missing" in said
    assert "error: " in said  # nothing answers at store.http
    code, said = feedback("setup", "--check")
    assert f"topic {kafka_prefix}.responses: is missing" in said


def test_no_broker_is_one_sentence(feedback):
    code, said = feedback("setup", FEEDBACK_KAFKA__BOOTSTRAP="127.0.0.1:1")
    assert code == 1
    assert said.startswith("error: no Kafka broker answers at 127.0.0.1:1: start one")
    assert "Traceback" not in said


def test_a_wrong_configuration_is_every_fault_and_no_traceback(feedback):
    code, said = feedback("setup", FEEDBACK_KAFKA__PARTITIONS="0", FEEDBACK_HORIZON="7")
    assert code == 1
    assert said.startswith("error: 2 faults in the configuration")
    assert "FEEDBACK_KAFKA__PARTITIONS = '0': should be greater than or equal to 1" in said
    assert "FEEDBACK_HORIZON = '7': should be a duration" in said
    assert "Traceback" not in said


def stars(high: int, satisfied_from: int) -> dict[str, Any]:
    """The table of an instrument of one's own."""
    stars = {"metric": "csat", "min": 1, "max": high, "direction": "high", "satisfied_from": satisfied_from}
    return {"instruments": {"stars": stars}}


LOOSE = "csat 1..5 (high is good, satisfied_from 4)"
STRICT = "csat 1..5 (high is good, satisfied_from 5)"


def refusal(known: str) -> str:
    return (
        f"instruments.stars: is in use as {known} and cannot become csat 1..7 (high is good, satisfied_from 6): "
        "a name stands for one scale for good, so choose another name"
    )


def test_a_name_keeps_its_scale_for_good(settings, variables, embedded_kafka):
    def setup(check=False, **more):
        return asyncio.run(ensure(settings(kafka={"bootstrap": embedded_kafka}, **more), check=check))

    assert setup(**stars(5, 4)).instruments == (f"stars: {LOOSE}",)
    assert setup(**stars(5, 4)).complete
    for check in (False, True):
        with pytest.raises(FeedbackError, match=re.escape(refusal(LOOSE))):
            setup(check=check, **stars(7, 6))
    lack = setup(check=True, **stars(5, 5)).lack
    assert (
        lack
        == f"an instrument is not what was set up (stars: {LOOSE} -> {STRICT}): run `feedback setup` first"
    )
    assert setup(**stars(5, 5)).instruments == (f"stars: {LOOSE} -> {STRICT}",)
    assert setup().complete  # no longer configured: its name stays taken

    command = [sys.executable, "-m", "pipeline", "worker"]  # without a store
    env = variables(kafka={"bootstrap": embedded_kafka}, **stars(7, 6))
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, f"error: {refusal(STRICT)}\n" in done.stderr) == (1, True), done.stderr


async def test_of_two_setups_at_once_the_log_takes_one(settings, embedded_kafka):
    both = [settings(kafka={"bootstrap": embedded_kafka}, **stars(*one)) for one in ((5, 4), (7, 6))]
    await ensure(settings(kafka={"bootstrap": embedded_kafka}))
    told = await asyncio.gather(*(define(one) for one in both), return_exceptions=True)
    refused = [one for one in told if isinstance(one, FeedbackError)]
    assert len(refused) == 1
    assert "a name stands for one scale for good" in str(refused[0])


def test_the_store_keeps_the_scale_too(settings, store):
    set_up(settings(**stars(5, 4)))
    with pytest.raises(FeedbackError, match=re.escape(refusal(LOOSE))):
        set_up(settings(**stars(7, 6)))
    set_up(settings(**stars(5, 5)))
    with connect(settings(), write=False) as client:
        assert known(client)["stars"].described == STRICT
