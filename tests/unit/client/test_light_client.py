"""What an app gets with `pip install feedback-pipeline`, and what it need not get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.client import SCALES
from pipeline.events.partition import partition_of
from pipeline.measures.instruments import SHIPPED

ROOT = Path(__file__).parents[3]
HEAVY = {
    "aiohttp",
    "chdb",
    "clickhouse_connect",
    "faust",
    "mode",
    "numpy",
    "pandas",
    "polars",
    "prometheus_client",
    "pyarrow",
    "pydantic",
    "pydantic_settings",
    "rich",
    "typer",
}
SCRIPT = """
import sys
before = set(sys.modules)
import pipeline.client
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(name for name in loaded if name not in sys.stdlib_module_names))
print(*sorted(name for name in sys.modules if name.startswith("pipeline.")))
"""


def test_importing_the_client_loads_nothing_heavy() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=ROOT)
    packages, ours = (line.split() for line in run.stdout.splitlines())
    assert {"aiokafka", "fastavro"} <= set(packages)
    assert not HEAVY & set(packages)
    floors = {name for name in ours if not name.startswith(("pipeline.client", "pipeline.events"))}
    assert floors == {"pipeline.errors"}


def test_the_client_knows_the_scales_of_the_shipped_instruments() -> None:
    assert dict(SCALES) == {name: (one.low, one.high) for name, one in SHIPPED.items()}


@given(st.binary(min_size=1, max_size=60), st.integers(1, 64))
def test_records_go_where_aiokafkas_own_murmur2_puts_them(key: bytes, partitions: int) -> None:
    numbers = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, numbers, numbers)
