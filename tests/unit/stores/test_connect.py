"""A store that is not there is told in one sentence, without the password."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from pipeline.config import Settings
from pipeline.embedded.process import free_port
from pipeline.errors import FeedbackError
from pipeline.stores.client import connect


@pytest.mark.parametrize(
    ("dsn", "advice"),
    [
        ("http://team:secret@127.0.0.1:{port}/feedback", r"Connection refused\): start it, or set store.dsn"),
        ("chdb:///nowhere", "start `feedback store`, or set store.http"),
    ],
)
def test_nobody_answers(dsn: str, advice: str):
    port = free_port()
    settings = Settings(store={"dsn": dsn.format(port=port), "http": f"127.0.0.1:{port}"})
    with pytest.raises(FeedbackError, match=advice) as told:
        connect(settings, write=False)
    said = str(told.value)
    assert re.match(rf"the store does not answer at http://127.0.0.1:{port}[ :]", said)
    assert "secret" not in said


def test_a_command_says_so_in_one_line():
    """Libraries have nothing to add: one of them lowers the level of another's logger when it is imported."""
    away = {"FEEDBACK_STORE__DSN": f"http://team:secret@127.0.0.1:{free_port()}/feedback"}
    command = [sys.executable, "-m", "pipeline", "report"]
    done = subprocess.run(command, env=os.environ | away, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: the store does not answer at .*\n", done.stderr)
