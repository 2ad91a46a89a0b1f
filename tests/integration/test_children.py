"""Child processes: ready when they say so, gone when we are, one sentence when they cannot start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipeline.embedded import apache, broker
from pipeline.embedded.apache import ApacheKafka
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.process import Child, Lock, free_port, require_free
from pipeline.errors import FeedbackError

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def python(program: str, log: Path, **more) -> Child:
    """A child that runs a line of Python and is ready once it has printed."""
    command = [sys.executable, "-c", program]
    return Child("the child", command, log, lambda: log.exists() and log.stat().st_size > 0, **more)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_it_is_waited_for_and_ends(tmp_path):
    child = python(SLEEPS, tmp_path / "log")
    child.start()
    child.wait_ready(30)
    assert child.running
    child.stop()
    assert not child.running
    assert gone(child.pid)


def test_one_that_does_not_listen_is_killed(tmp_path):
    child = python(DEAF, tmp_path / "log")
    child.start()
    child.wait_ready(30)
    child.stop(grace=0.2)
    assert not child.running


def test_one_that_ends_at_once_shows_its_last_words(tmp_path):
    child = Child(
        "the child", [sys.executable, "-c", "import sys; sys.exit('no more coffee')"], tmp_path / "log", bool
    )
    child.start()
    with pytest.raises(
        FeedbackError, match=r"the child ended at its start[^\n]*ends with:\n  no more coffee"
    ):
        child.wait_ready(30)


def test_one_that_is_never_ready_is_ended(tmp_path):
    child = Child("the child", [sys.executable, "-c", SLEEPS], tmp_path / "log", bool)
    child.start()
    with pytest.raises(FeedbackError, match=r"the child was not ready after 0\.3 s"):
        child.wait_ready(0.3)
    assert not child.running


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_it_dies_with_its_parent_however_that_dies(tmp_path):
    parent = f"""
import sys, time
from pathlib import Path
from pipeline.embedded.process import Child
child = Child("c", [sys.executable, "-c", {SLEEPS!r}], Path({str(tmp_path / "log")!r}), lambda: True)
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
    assert gone(pid)


def test_a_taken_port_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sentence = (
            rf"the page cannot listen on 127\.0\.0\.1:{port} \(Address already in use\): stop what listens "
        )
        with pytest.raises(FeedbackError, match=sentence + r"there, or set page\.listen to another address"):
            require_free("127.0.0.1", port, "the page", "page.listen")


def test_one_instance_a_folder(tmp_path):
    first = Lock(tmp_path, "the data")
    with pytest.raises(
        FeedbackError, match=rf"the data in .* is in use by process {os.getpid()}: stop that one"
    ):
        Lock(tmp_path, "the data")
    first.release()
    Lock(tmp_path, "the data").release()


async def test_the_embedded_broker_goes_on_with_the_same_data(tmp_path):
    broker = EmbeddedBroker(tmp_path, port=free_port())
    broker.start().wait_ready()
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    for i in range(10):
        await producer.send_and_wait("t", b"%d" % i, partition=0)
    await producer.stop()
    place = TopicPartition("t", 0)
    consumer = await reader(broker)
    await consumer.commit({place: 7})
    await consumer.stop()

    broker.stop()
    again = EmbeddedBroker(tmp_path, port=free_port())
    again.start().wait_ready()
    try:
        consumer = await reader(again)
        assert await consumer.end_offsets([place]) == {place: 10}
        assert await consumer.committed(place) == 7
        assert (await consumer.getone(place)).value == b"7"
        await consumer.stop()
    finally:
        again.stop()


async def reader(broker: EmbeddedBroker) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap,
        group_id="g",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    consumer.assign([TopicPartition("t", 0)])
    return consumer


def test_a_second_broker_on_the_same_data_is_one_sentence(tmp_path):
    first = EmbeddedBroker(tmp_path, port=free_port())
    first.start().wait_ready()
    try:
        with pytest.raises(FeedbackError, match=r"the embedded broker's data in .* is in use by process"):
            EmbeddedBroker(tmp_path, port=free_port()).start()
        with pytest.raises(FeedbackError, match=r"the embedded broker cannot listen on .*kafka\.bootstrap"):
            EmbeddedBroker(tmp_path / "other", port=first.port).start()
    finally:
        first.stop()


def test_without_its_package_the_broker_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(broker.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FeedbackError, match=r"pip install 'feedback-pipeline\[embedded\]'"):
        EmbeddedBroker(tmp_path, port=free_port()).start()


def test_without_java_or_maven_apache_kafka_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FeedbackError, match=r"Apache Kafka needs Java 17 or later: install it"):
        ApacheKafka(tmp_path, tmp_path / "data").start()
    with pytest.raises(FeedbackError, match="there is no mvn: install it"):
        apache.fetch(tmp_path)


def test_an_old_java_is_refused(tmp_path, monkeypatch):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(FeedbackError, match=r"needs Java 17 or later, and .* is 11: install a newer one"):
        apache.require_java()
