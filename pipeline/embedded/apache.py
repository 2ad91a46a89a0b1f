"""Apache Kafka itself, from its Maven artefacts: one broker on loopback, for tests and for `make kafka`.

    python -m pipeline.embedded.apache --port 9092

It needs a Java runtime of version 17 or later, and Maven for the first time.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pipeline.embedded.process import Child, Lock, free_port, require_free, speaks_kafka
from pipeline.errors import FeedbackError

BUILD = Path("build/kafka")
JAVA_AT_LEAST = 17
_HOST = "127.0.0.1"
_MAIN = "kafka.Kafka"


class ApacheKafka:
    """One broker, combined with its controller, as a child process.

    Args:
        jars: folder that `fetch` filled.
        folder: where it keeps its data and its log; formatted at first start.
        port: 0 takes a free one.
        proxied: further ports that it listens on -> the port that clients who come there are sent to, for a proxy.
        more: further properties, or others than ours.
    """

    def __init__(
        self,
        jars: Path,
        folder: Path,
        port: int = 0,
        proxied: Mapping[int, int] = MappingProxyType({}),
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._jars = jars
        self._controller = free_port()
        self._proxied = proxied
        self._more = more
        self._child: Child | None = None
        self._lock: Lock | None = None

    @property
    def bootstrap(self) -> str:
        """Its address, for `kafka.bootstrap`."""
        return f"{_HOST}:{self.port}"

    def start(self, *, heap: str = "1g") -> Child:
        """Format the folder if it is new, and start; `wait_ready` of the child tells when it answers.

        Raises:
            FeedbackError: no Java, the port is taken, or another broker uses the folder.
        """
        java = require_java()
        require_free(_HOST, self.port, "Apache Kafka", "--port")
        self._lock = Lock(self.folder, "Apache Kafka's data")
        properties = self._write_properties()
        if not (self.folder / "data" / "meta.properties").exists():
            format_storage(java, self._jars, properties)
        command = [java, f"-Xmx{heap}", "-XX:+UseSerialGC", "-cp", f"{self._jars}/*", _MAIN, str(properties)]
        keep = [self._lock.fileno]
        child = Child("Apache Kafka", command, self.folder / "kafka.log", self._answers, keep=keep)
        child.start()
        self._child = child
        return child

    def stop(self, grace: float = 10.0) -> None:
        """End it."""
        if self._child is not None:
            self._child.stop(grace)
        if self._lock is not None:
            self._lock.release()

    def _answers(self) -> bool:
        return speaks_kafka(_HOST, self.port)

    def _write_properties(self) -> Path:
        path = self.folder / "server.properties"
        values = {
            **_properties(self.folder / "data", self.port, self._controller, self._proxied),
            **self._more,
        }
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        return path


def require_java() -> str:
    """The java command.

    Raises:
        FeedbackError: there is none, or it is too old.
    """
    java = shutil.which("java")
    if java is None:
        msg = f"Apache Kafka needs Java {JAVA_AT_LEAST} or later: install it (Debian: default-jre-headless)"
        raise FeedbackError(msg)
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    if found is not None and int(found[1]) < JAVA_AT_LEAST:
        msg = (
            f"Apache Kafka needs Java {JAVA_AT_LEAST} or later, and {java} is {found[1]}: install a newer one"
        )
        raise FeedbackError(msg)
    return java


def fetch(folder: Path = BUILD) -> Path:
    """The folder with Kafka's jars; fetched by Maven (44 MB, some seconds) if they are not there.

    Raises:
        FeedbackError: no Maven, or it failed.
    """
    jars = folder / "jars"
    if (jars / "complete").exists():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        msg = "Apache Kafka's jars are fetched by Maven, and there is no mvn: install it (Debian: maven)"
        raise FeedbackError(msg)
    pom = folder / "pom.xml"
    folder.mkdir(parents=True, exist_ok=True)
    pom.write_text(_pom().read_text())
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DoutputDirectory=jars"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"Maven could not fetch Apache Kafka; it says:\n{done.stdout[-2000:]}"
        raise FeedbackError(msg)
    (jars / "complete").touch()
    return jars


def format_storage(java: str, jars: Path, properties: Path) -> None:
    """Prepare the folder that `properties` names (KRaft)."""
    command = [java, "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format"]
    command += ["-t", "feedbackfeedbackfeedbA", "-c", str(properties)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"Apache Kafka could not format its storage; it says:\n{done.stdout}{done.stderr}"
        raise FeedbackError(msg)


def _pom() -> Path:
    """The list of jars: in the checkout, or carried by the wheel."""
    package = Path(__file__).parent.parent
    places = [package.parent / "deploy/kafka/pom.xml", package / "deploy/kafka/pom.xml"]
    return next(place for place in places if place.exists())


def _properties(data: Path, port: int, controller: int, proxied: Mapping[int, int]) -> dict[str, str]:
    ports = {"PLAINTEXT": port} | {f"PROXIED{k}": k for k in proxied}
    told = {"PLAINTEXT": port} | {f"PROXIED{k}": told for k, told in proxied.items()}
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{_HOST}:{controller}",
        "listeners": ",".join(
            f"{name}://{_HOST}:{k}" for name, k in {**ports, "CONTROLLER": controller}.items()
        ),
        "advertised.listeners": ",".join(f"{name}://{_HOST}:{k}" for name, k in told.items()),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in [*ports, "CONTROLLER"]),
        "log.dirs": str(data.absolute()),
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",  # nobody else will join: do not wait for them
        "auto.create.topics.enable": "false",  # a misspelt topic is an error, as in production
    }


def main() -> int:
    """Run one broker in the foreground until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Apache Kafka on loopback, from Maven's artefacts.")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--folder", type=Path, default=BUILD, help="jars, data and log; default: %(default)s")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _serve(chosen.port, chosen.folder)
    except KeyboardInterrupt:
        _tell("stopped")
    except FeedbackError as error:
        _tell(f"error: {error}")
        return 1
    return 0


def _serve(port: int, folder: Path) -> None:
    if not (folder / "jars" / "complete").exists():
        _tell("fetching Apache Kafka by Maven, the first time only ...")
    broker = ApacheKafka(fetch(folder), folder / "broker", port)
    try:
        child = broker.start()
        child.wait_ready()
        _tell(f"Apache Kafka listens on {broker.bootstrap}; its log is {child.log}. Ctrl-C ends it.")
        signal.pause()
    finally:
        broker.stop()


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
