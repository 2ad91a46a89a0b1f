"""What a person types: the Makefile and the scripts behind it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENT = """
import signal, sys, time
def end(*_):
    print("ended in order", flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, end)
print("running", flush=True)
time.sleep(60)
"""


def made(*args: str) -> str:
    """What make says; --no-print-directory since the tests themselves may run under make."""
    env = os.environ | {"VENV": str(Path(sys.prefix))}
    command = ["make", "--no-print-directory", *args]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


def test_help_has_every_target():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    said = made()
    assert [line.split()[1] for line in said.splitlines()] == phony.split()


@pytest.mark.parametrize("target", ["run", "example", "test", "check", "bench", "kafka"])
def test_files_that_a_target_names_are_there(target):
    """`make -n` prints the commands of an installed environment; every path in them exists."""
    said = made("-n", target)
    named = [word for word in said.split() if re.match(r"(scripts|examples)/", word)]
    assert [word for word in named if not (ROOT / word).exists()] == []


@pytest.mark.parametrize("script", [".ci/run", "scripts/install", "scripts/lock"])
def test_scripts_parse_and_may_be_run(script):
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)
    assert os.access(ROOT / script, os.X_OK)


def test_an_old_python_is_a_sentence(tmp_path):
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts/install", tmp_path / "venv", "requirements.lock"],
        env=os.environ | {"PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr == "error: Python 3.9.2 is too old: install Python 3.11 or later, or set PYTHON to it\n"
    )


def test_locks_name_no_index_and_have_hashes():
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert not re.search(r"^(-|--)", text, re.MULTILINE)
        for block in re.split(r"\n(?=[a-z])", text.partition("\n#")[2]):
            assert "==" not in block or "--hash=sha256:" in block, block


def test_both_locks_have_the_same_versions():
    run, dev = (
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    )
    assert run.items() <= dev.items()


def test_ctrl_c_in_a_terminal_ends_make_with_zero(tmp_path):
    (tmp_path / "patient.py").write_text(PATIENT)
    python = sys.executable
    (tmp_path / "Makefile").write_text(f"run:\n\t@{python} {ROOT}/scripts/foreground {python} patient.py\n")
    terminal = Terminal(tmp_path)
    terminal.type("make run; echo CODE=$?\n")
    terminal.wait_for("\nrunning")
    terminal.type("\x03")
    said = terminal.wait_for(r"CODE=\d+")
    assert "ended in order" in said
    assert "CODE=0" in said
    terminal.type("echo $((40 + 2)); exit\n")  # the shell has its terminal back
    terminal.wait_for("\n42")
    terminal.close()


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self._fd, theirs = pty.openpty()
        shell = ["setsid", "--ctty", "bash", "--norc", "--noprofile", "-i"]
        env = os.environ | {"TERM": "dumb"}
        self._shell = subprocess.Popen(shell, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._said = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, pattern: str) -> str:
        """Everything said so far, once it has the pattern."""
        end = time.monotonic() + 60
        while not re.search(pattern, self._said):
            assert time.monotonic() < end, self._said
            if select.select([self._fd], [], [], 0.2)[0]:
                self._said += os.read(self._fd, 65_536).decode("utf-8", "replace").replace("\r", "")
        return self._said

    def close(self) -> None:
        self._shell.wait(30)
        os.close(self._fd)
