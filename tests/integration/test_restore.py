"""docs/operations.md, backup and restore: both backups as the page says, everything lost, and every number is back."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.embedded import apache
from pipeline.embedded.apache import ApacheKafka
from pipeline.embedded.process import free_port
from pipeline.embedded.store import EmbeddedStore
from pipeline.errors import FeedbackError
from pipeline.stores.client import connect
from pipeline.streams.topics import Topics
from tests.support.needs import need
from tests.support.traffic import Traffic, produce

ROOT = Path(__file__).parents[2]
NUMBERS = {
    "outcomes": "SELECT topic, outcome, sum(n) AS n FROM outcomes GROUP BY topic, outcome ORDER BY topic, outcome",
    "rows": "SELECT count() AS n, sum(score) AS score FROM responses FINAL",
    "cells": "SELECT metric, instrument, sum(n) AS n, sum(total) AS total FROM cells FINAL "
    "GROUP BY metric, instrument ORDER BY metric, instrument",
    "dead": "SELECT reason, count() AS n FROM dead_letters FINAL GROUP BY reason ORDER BY reason",
}


class Machine:
    """A broker and a store that can be stopped, copied, lost and started again."""

    def __init__(self, folder, settings, variables):
        try:
            apache.require_java()
            jars = apache.fetch(ROOT / apache.BUILD)
        except FeedbackError as missing:
            need(str(missing))
            raise
        self.port = free_port()
        kafka = {"bootstrap": f"127.0.0.1:{self.port}", "session_timeout": "6s"}
        self.settings, self.environment = settings(kafka=kafka), variables(kafka=kafka)
        self.kafka_folder, self.store_folder = folder / "kafka", Path(self.settings.store.folder)
        self._jars = jars
        self.start()

    def start(self):
        self._kafka = ApacheKafka(self._jars, self.kafka_folder, self.port)
        broker = self._kafka.start()
        self.start_store()
        broker.wait_ready()

    def start_store(self):
        listen = self.settings.store.http
        self._store = EmbeddedStore(self.store_folder, listen.host, listen.port)
        self._store.start().wait_ready()

    def stop_store(self):
        self._store.stop()

    def stop(self):
        self.stop_store()
        self._kafka.stop()

    def feedback(self, *arguments):
        command = [sys.executable, "-m", "pipeline", *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=150, check=False
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr[-4000:]}"
        return done.stdout

    def send(self, seed, n):
        topic = Topics(self.settings.kafka.prefix).responses
        asyncio.run(produce(self.settings.kafka.bootstrap, topic, Traffic(seed), n, 1e6))

    def numbers(self):
        with connect(self.settings, write=False) as client:
            return {name: client.query(sql).result_rows for name, sql in NUMBERS.items()}


@pytest.fixture
def machine(tmp_path, settings, variables):
    one = Machine(tmp_path, settings, variables)
    yield one
    one.stop()


def copy(folder, to):
    """As `cp -a` does: the store's folder has symbolic links in it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", folder, to], check=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_comes_back_from_an_older_store_and_a_newer_copy_of_the_topics(machine, tmp_path, seed):
    machine.feedback("setup")
    machine.send(seed, 1_500)
    machine.feedback("worker", "--drain")

    machine.stop_store()
    copy(machine.store_folder, tmp_path / "backup" / "store")  # first the store
    machine.start_store()
    machine.send(seed + 1, 1_500)
    machine.feedback("worker", "--drain")
    before = machine.numbers()
    machine.stop()
    copy(machine.kafka_folder, tmp_path / "backup" / "kafka")  # then the topics

    for lost, name in ((machine.store_folder, "store"), (machine.kafka_folder, "kafka")):
        shutil.rmtree(lost)
        copy(tmp_path / "backup" / name, lost)
    machine.start()
    machine.feedback("rewind")
    machine.feedback("worker", "--drain")
    assert machine.numbers() == before
    assert json.loads(machine.feedback("verify", "--json"))["differences"] == 0
