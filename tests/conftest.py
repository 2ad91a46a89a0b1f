"""Brokers, settings and seeds for all tests. A process starts when a test first asks, once a session."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from pipeline.config import Settings
from pipeline.embedded import apache
from pipeline.embedded.apache import ApacheKafka
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.process import Child, free_port
from pipeline.embedded.store import EmbeddedStore, ensure_store
from pipeline.errors import FeedbackError
from tests.support.needs import need
from tests.support.tables import environment, merged

ROOT = Path(__file__).parent.parent
LOGS = pytest.StashKey[dict[str, Path]]()  # by fixture: the log to show when a test that used it fails
OURS = {"FEEDBACK_REQUIRE_ALL", "FEEDBACK_TEST_SEED"}
_LAST_LINES = 40

hypothesis.settings.register_profile("feedback", deadline=None, print_blob=True)  # no timing assertions
hypothesis.settings.load_profile("feedback")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LOGS] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With a failure, the ends of the logs of what the test talked to."""
    report = yield
    if report.failed:
        for fixture, log in item.config.stash[LOGS].items():
            if fixture in getattr(item, "fixturenames", ()) and log.exists():
                lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
                report.sections.append((f"end of {log}", "\n".join(lines)))
    return report


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own FEEDBACK_ variables are none of a test's business."""
    for name in os.environ.keys() - OURS:
        if name.startswith("FEEDBACK_"):
            monkeypatch.delenv(name)


@pytest.fixture
def seed() -> int:
    """For random traffic; printed, and fixed by FEEDBACK_TEST_SEED."""
    chosen = int(os.environ.get("FEEDBACK_TEST_SEED") or random.randrange(2**32))
    print(f"seed: FEEDBACK_TEST_SEED={chosen}")
    return chosen


@pytest.fixture(scope="session")
def apache_kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of Apache Kafka itself, shared by the session; its jars stay in build/."""
    folder = tmp_path_factory.mktemp("apache-kafka")
    try:
        apache.require_java()
        jars = apache.fetch(ROOT / apache.BUILD)
    except FeedbackError as missing:
        need(str(missing))
        raise
    broker = ApacheKafka(jars, folder)
    yield from _running(request, broker, "apache_kafka")


@pytest.fixture(scope="session")
def embedded_kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the embedded broker, shared by the session."""
    broker = EmbeddedBroker(tmp_path_factory.mktemp("embedded-kafka"), port=free_port())
    yield from _running(request, broker, "embedded_kafka")


@pytest.fixture(params=["embedded", "apache"])
def kafka(request: pytest.FixtureRequest) -> str:
    """Address of each broker in turn, for laws that must hold on both."""
    address: str = request.getfixturevalue(f"{request.param}_kafka")
    return address


@pytest.fixture
def kafka_prefix() -> str:
    """A prefix of topics and groups of this test alone, so that tests share a broker."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def tables(tmp_path: Path, kafka_prefix: str) -> dict[str, Any]:
    """A configuration for one test as its tables: a folder, a prefix and free ports of its own."""
    return {
        "kafka": {"prefix": kafka_prefix, "session_timeout": "6s"},
        "worker": {"data_dir": str(tmp_path / "data")},
        **{
            table: {key: f"127.0.0.1:{free_port()}"}
            for table, key in (
                ("store", "http"),
                ("metrics", "listen"),
                ("gateway", "listen"),
                ("page", "listen"),
            )
        },
    }


@pytest.fixture
def settings(tables: dict[str, Any]) -> Callable[..., Settings]:
    """`settings(kafka={"bootstrap": address}, horizon="1h")`: those tables over the ones of `tables`."""

    def build(**more: Any) -> Settings:
        return Settings(**merged(tables, more))

    return build


@pytest.fixture
def variables(tables: dict[str, Any]) -> Callable[..., dict[str, str]]:
    """The same as an environment, for a `feedback` command started as a process of its own."""

    def build(**more: Any) -> dict[str, str]:
        return {**os.environ, **environment(merged(tables, more))}

    return build


@pytest.fixture
def store(settings: Callable[..., Settings]) -> Iterator[EmbeddedStore]:
    """An embedded store of this test alone, at the `store.http` of its `settings` and `variables`."""
    one = ensure_store(settings())
    assert one is not None, "something else answers on a port that was free"
    try:
        yield one
    finally:
        one.stop()


def _running(
    request: pytest.FixtureRequest, broker: ApacheKafka | EmbeddedBroker, fixture: str
) -> Iterator[str]:
    """The broker's address, while it runs. It ends with the session, also by Ctrl-C, and with our process."""
    child: Child = broker.start()
    request.config.stash[LOGS][fixture] = child.log
    try:
        child.wait_ready()
        yield broker.bootstrap
    finally:
        broker.stop()
