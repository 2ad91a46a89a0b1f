"""A real Prometheus and a real Alertmanager over our own rule and configuration, for as long as a test.

    with Monitoring(["127.0.0.1:9108"], folder=tmp_path) as monitoring:
        monitoring.wait_for('up{job="feedback"} == 1')
        page = monitoring.webhook.next(timeout=60)

The files of deploy/ are read, not copied. Only what a test cannot wait for or reach is replaced: the times
(`for: 10m` becomes seconds) and the addresses. The expression that pages stays the committed text.
"""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import yaml

from pipeline.embedded.process import Child, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules" / "feedback.yml"
PROGRAMS = ("prometheus", "prometheus-alertmanager", "promtool", "amtool")


def missing() -> str | None:
    """Why monitoring cannot run on this machine, or None."""
    absent = ", ".join(name for name in PROGRAMS if shutil.which(name) is None)
    return f"needs Debian's prometheus and prometheus-alertmanager: no {absent}" if absent else None


def rules(for_: str = "2s", hold: str = "2s") -> str:
    """deploy/prometheus/rules/feedback.yml with other times and nothing else changed."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["for"], rule["keep_firing_for"] = for_, hold
    return yaml.safe_dump(document, sort_keys=False)


def prometheus_config(targets: Sequence[str], alertmanager: str, every: str = "1s") -> str:
    """deploy/prometheus/prometheus.yml that scrapes `targets` (host:port) and alerts `alertmanager`."""
    document = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    document["global"] = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    document["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    for job in document["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": list(targets)}]
    return yaml.safe_dump(document, sort_keys=False)


def alertmanager_config(webhook: str) -> str:
    """deploy/alertmanager/alertmanager.yml that pages `webhook` (a URL) without waiting."""
    document = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    document["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    for receiver in document["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            del hook["url_file"]  # Debian's 0.25 has no url_file yet
            hook["url"] = webhook
    return yaml.safe_dump(document, sort_keys=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer and its value."""

    labels: dict[str, str]
    value: float


class _Serving:
    """A small HTTP server on a free loopback port, in a thread of its own."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Exporter(_Serving):
    """Serves `text` as /metrics: a worker's exposition without the worker."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(exporter.text.encode())

            def log_message(self, format: str, *args: object) -> None: ...

        super().__init__(Handler)


class Webhook(_Serving):
    """Whom Alertmanager pages. Notifications wait in a queue, as Alertmanager sent them."""

    def __init__(self) -> None:
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        received = self._queue

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        super().__init__(Handler)

    def next(self, timeout: float) -> dict[str, Any]:
        """The next notification: {"status": "firing" or "resolved", "alerts": [...], ...}."""
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no page within {timeout} s") from None

    def waiting(self) -> list[dict[str, Any]]:
        """Everything received and not taken yet."""
        taken = []
        while not self._queue.empty():
            taken.append(self._queue.get_nowait())
        return taken


class Monitoring:
    """Prometheus and Alertmanager as processes on free loopback ports. Use it as a context manager."""

    def __init__(
        self, targets: Sequence[str], *, folder: Path, for_: str = "2s", hold: str = "2s", every: str = "1s"
    ) -> None:
        """`targets` are host:port; `for_` and `hold` replace the rule's times, `every` the interval."""
        self.folder = folder
        self.webhook = Webhook()
        self.address, self._pager = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self._children: list[Child] = []
        (folder / "rules").mkdir(parents=True)
        (folder / "rules" / "feedback.yml").write_text(rules(for_, hold))
        (folder / "prometheus.yml").write_text(prometheus_config(targets, self._pager, every))
        (folder / "alertmanager.yml").write_text(alertmanager_config(f"http://{self.webhook.address}/page"))

    def __enter__(self) -> Self:
        try:
            self._start_alertmanager()
            self._start_prometheus()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends both processes and the webhook."""
        for child in reversed(self._children):
            child.stop(grace=20)
        self._children.clear()
        self.webhook.stop()

    def query(self, expr: str) -> list[Sample]:
        """The value of a PromQL expression now; one sample a series."""
        answer = self._ask("query", query=expr)
        return [Sample(one["metric"], float(one["value"][1])) for one in answer["result"]]

    def query_range(self, expr: str, seconds: float, step: float = 1.0) -> list[Sample]:
        """The last value of each series that the expression had within the past `seconds`."""
        end = time.time()
        answer = self._ask("query_range", query=expr, start=end - seconds, end=end, step=step)
        return [Sample(one["metric"], float(one["values"][-1][1])) for one in answer["result"]]

    def wait_for(self, expr: str, timeout: float = 30.0) -> list[Sample]:
        """Asks until the expression returns something; fails with what Prometheus saw of its targets."""
        end = time.monotonic() + timeout
        while not (samples := self.query(expr)):
            if time.monotonic() > end:
                raise AssertionError(f"{expr} returned nothing within {timeout} s; up: {self.query('up')}")
            time.sleep(0.1)
        return samples

    def _ask(self, path: str, **parameters: Any) -> dict[str, Any]:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            answer: dict[str, Any] = json.loads(_get(url))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters['query']}: {json.loads(error.read())['error']}") from error
        data: dict[str, Any] = answer["data"]
        return data

    def _start_alertmanager(self) -> None:
        self._start(
            "prometheus-alertmanager",
            self._pager,
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'alertmanager'}",
            "--cluster.listen-address=",  # empty: no gossip port on every interface
        )

    def _start_prometheus(self) -> None:
        self._start(
            "prometheus",
            self.address,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'tsdb'}",
            "--storage.tsdb.retention.time=2h",
        )

    def _start(self, program: str, address: str, *arguments: str) -> None:
        path, log = str(shutil.which(program)), self.folder / f"{program}.log"
        command = [path, f"--web.listen-address={address}", "--log.level=warn", *arguments]
        child = Child(program, command, log, ready=lambda: _answers(f"http://{address}/-/ready"))
        self._children.append(child)
        child.start()
        child.wait_ready(30)


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def _answers(url: str) -> bool:
    try:
        return bool(_get(url))
    except OSError:
        return False
