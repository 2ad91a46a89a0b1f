"""The embedded broker: PyPI's noida-db, a small imitation of Kafka.

For demos and tests: its log lives in memory and in one JSON file of four times its size. Ended by SIGTERM it
keeps everything; a SIGKILL loses what it acknowledged in the last second or so (measured: the file is written
about once a second). For anything else use Apache Kafka.
"""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path

from pipeline.embedded.process import Child, Lock, require_free, speaks_kafka
from pipeline.errors import FeedbackError


class EmbeddedBroker:
    """One broker as a child process.

    Args:
        folder: where it keeps its data.
        host: address to listen on.
        port: its port.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 9092) -> None:
        self.folder = folder
        self.host = host
        self.port = port
        self._child: Child | None = None
        self._lock: Lock | None = None

    @property
    def bootstrap(self) -> str:
        """Its address, for `kafka.bootstrap`."""
        return f"{self.host}:{self.port}"

    def start(self) -> Child:
        """Start it; `wait_ready` of the child tells when it answers.

        Raises:
            FeedbackError: the package is missing, the address is taken, or another broker uses the folder.
        """
        program = _program()
        require_free(self.host, self.port, "the embedded broker", "kafka.bootstrap")
        self._lock = Lock(self.folder, "the embedded broker's data")
        command = [str(program), "start", "--only", "kafka", "--host", self.host]
        command += ["--kafka-port", str(self.port), "--data-dir", str(self.folder)]
        log = self.folder / "broker.log"
        keep = [self._lock.fileno]
        child = Child(
            "the embedded broker", command, log, lambda: speaks_kafka(self.host, self.port), keep=keep
        )
        child.start()
        self._child = child
        return child

    def stop(self, grace: float = 5.0) -> None:
        """End it; what it holds is on disk afterwards."""
        if self._child is not None:
            self._child.stop(grace)
        if self._lock is not None:
            self._lock.release()


def _program() -> Path:
    """The binary itself; the package's own command is a Python process around it, which hides its pid."""
    spec = importlib.util.find_spec("noida_db")
    if spec is None or spec.origin is None:
        msg = (
            "the embedded broker is not installed: pip install 'feedback-pipeline[embedded]', "
            "or point kafka.bootstrap at a broker"
        )
        raise FeedbackError(msg)
    program = Path(spec.origin).with_name("noida-db")
    if not os.access(program, os.X_OK):  # the wheel does not carry the bit
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program
