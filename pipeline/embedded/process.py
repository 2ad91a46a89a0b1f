"""`Child`: a process that belongs to this one: waited for until it is ready, and never outliving it."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import FeedbackError

# Between fork and the program: ask the kernel for a SIGTERM when the parent dies, however it dies. Done in a
# program of its own, since Python code between fork and exec (preexec_fn) can deadlock where threads run.
_LAUNCHER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
hasattr(libc, "prctl") and libc.prctl(1, 15)
os.getppid() == int(sys.argv[1]) or sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
_POLL_SECONDS = 0.05
_LAST_LINES = 15
_FIRST_PORT, _PORTS = 10_240, 22_528  # below those that the kernel gives to connections (Linux: from 32768)


class Child:
    """One child process with its log.

    Start it from the main thread: on Linux it gets its SIGTERM when the thread that started it ends.

    Args:
        name: for messages.
        command: absolute path of the program, and its arguments.
        log: file that gets its output, appended.
        ready: tells whether it can be used; called until it says yes.
        env: environment; this process's own if not given.
        keep: open files that the process inherits, such as a lock.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        ready: Callable[[], bool],
        *,
        env: Mapping[str, str] | None = None,
        keep: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._ready = ready
        self._env = env
        self._keep = tuple(keep)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; the process must have been started."""
        if self._process is None:
            msg = f"{self.name} has not been started"
            raise RuntimeError(msg)
        return self._process.pid

    @property
    def running(self) -> bool:
        """It was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it, without waiting."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *self._command]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                launch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self._env) if self._env is not None else None,
                pass_fds=self._keep,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
            )

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until it can be used.

        Raises:
            FeedbackError: it ended, or was not ready in time; with the last lines of its log.
        """
        end = time.monotonic() + seconds
        while not self._ready():
            if not self.running:
                msg = f"{self.name} ended at its start{self._last_lines()}"
                raise FeedbackError(msg)
            if time.monotonic() > end:
                self.stop(grace=1.0)
                msg = f"{self.name} was not ready after {seconds:g} s{self._last_lines()}"
                raise FeedbackError(msg)
            time.sleep(_POLL_SECONDS)

    def stop(self, grace: float = 5.0) -> None:
        """SIGTERM, and SIGKILL if it has not ended after `grace` seconds."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the whole session of the process, and wait until it is gone."""
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, number)
        self._process.wait()

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return f". Its log, {self.log}, ends with:\n" + "\n".join(f"  {line}" for line in lines)


def speaks_kafka(host: str, port: int) -> bool:
    """Whether a Kafka broker answers there; a listening socket alone does not mean that it works yet."""
    request = struct.pack(
        ">ihhih", 10, 18, 0, 1, -1
    )  # length, ApiVersions, version 0, number 1, no client id
    try:
        with socket.create_connection((host, port), timeout=0.5) as connection:
            connection.sendall(request)
            return len(connection.recv(4)) > 0
    except OSError:
        return False


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now. Another server may take it before it is used; connections are given higher ones."""
    while True:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)  # of the kernel's: seeded processes must not agree
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port


def require_free(host: str, port: int, what: str, key: str) -> None:
    """Refuse an address that is taken, before anything is started.

    Args:
        host: address.
        port: its port.
        what: what wants to listen there, such as "the embedded broker".
        key: the key of the configuration that says so.

    Raises:
        FeedbackError: it is taken, or is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            msg = (
                f"{what} cannot listen on {host}:{port} ({error.strerror}): "
                f"stop what listens there, or set {key} to another address"
            )
            raise FeedbackError(msg) from error


class InUse(FeedbackError):
    """Another process has the folder."""


class Lock:
    """A folder that one instance uses at a time. The lock ends with its holders, however they end."""

    def __init__(self, folder: Path, what: str) -> None:
        """Take it.

        Args:
            folder: made if it is missing.
            what: what the folder is, for the message, such as "the demo's data".

        Raises:
            InUse: another process holds it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = self._holder()
            self._file.close()
            msg = f"{what} in {folder} is in use by process {holder}: stop that one, or use another folder"
            raise InUse(msg) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    @property
    def fileno(self) -> int:
        """The open file; a child that keeps it holds the lock as well."""
        return self._file.fileno()

    def release(self) -> None:
        """Give it back."""
        self._file.close()

    def _holder(self) -> str:
        self._file.seek(0)
        return self._file.read().strip() or "unknown"
