"""`feedback setup` as a command of its own, on the embedded broker and store."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
