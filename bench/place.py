"""Where a run happens: Apache Kafka, and for each contender a prefix, a folder and free ports of its own."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Settings
from pipeline.embedded import apache
from pipeline.embedded.apache import ApacheKafka
from pipeline.embedded.process import free_port

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Broker:
    """Apache Kafka as it runs."""

    bootstrap: str
    pid: int


@contextmanager
def broker(folder: Path = BUILD / "kafka") -> Iterator[Broker]:
    """Apache Kafka on a free port, empty, with its data in `folder`, for as long as the block runs."""
    shutil.rmtree(folder, ignore_errors=True)
    kafka = ApacheKafka(apache.fetch(ROOT / apache.BUILD), folder)
    child = kafka.start()
    try:
        child.wait_ready()
        yield Broker(kafka.bootstrap, child.pid)
    finally:
        kafka.stop()
        shutil.rmtree(folder / "data", ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Place:
    """What belongs to one run of one contender.

    Attributes:
        settings: its configuration.
        folder: for its log and its data.
        environment: the same configuration for a process.
    """

    settings: Settings
    folder: Path
    environment: dict[str, str]


def place(kafka: Broker, name: str) -> Place:
    """A new one; nothing that was there before is left."""
    folder = BUILD / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tables = {
        "kafka": {"bootstrap": kafka.bootstrap, "prefix": f"bench-{secrets.token_hex(4)}"},
        "worker": {"data_dir": str(folder / "data")},
        "store": {"http": f"127.0.0.1:{free_port()}"},
        "metrics": {"listen": f"127.0.0.1:{free_port()}"},
    }
    own = {k: v for k, v in os.environ.items() if not k.startswith("FEEDBACK_")}
    named = {
        f"FEEDBACK_{table.upper()}__{key.upper()}": value
        for table, keys in tables.items()
        for key, value in keys.items()
    }
    return Place(Settings(**tables), folder, own | named)  # type: ignore[arg-type]  # pydantic reads texts
