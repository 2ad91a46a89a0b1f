"""Migrations: numbered .sql files, each applied once and never changed afterwards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipeline.errors import FeedbackError
from pipeline.measures.instruments import Instrument
from pipeline.measures.windows import Window
from pipeline.stores.definitions import COLUMNS, refuse_other_scales

if TYPE_CHECKING:
    from pipeline.config import Settings

RAW_TABLES = ("touchpoints", "responses", "resolutions", "follow_ups")
_NAME = re.compile(r"\d{4}_\w+\.sql")
_END = re.compile(r";[ \t]*(?:\n|$)")
_UNKNOWN_DATABASE = 81
_UNKNOWN_TABLE = 60
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations
(name String, checksum String, applied DateTime64(3, 'UTC') DEFAULT now64(3))
ENGINE = ReplacingMergeTree(applied) ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name, its statements, and what its text amounts to."""

    name: str
    statements: tuple[str, ...]
    checksum: str


def migrations() -> tuple[Migration, ...]:
    """All of this version, in their order."""
    found = [
        file
        for file in files("pipeline.stores").joinpath("migrations").iterdir()
        if _NAME.fullmatch(file.name)
    ]
    return tuple(
        _migration(file.name, file.read_text("utf-8")) for file in sorted(found, key=lambda file: file.name)
    )


def pending(client: Client, database: str) -> list[str]:
    """Names of the migrations that `database` has not had.

    Raises:
        FeedbackError: an applied one reads differently now.
    """
    return [migration.name for migration in _pending(client, database)]


def migrate(client: Client, database: str) -> list[str]:
    """Bring `database` to this version, made first if need be; safe to run again and to break off.

    Args:
        client: may write; the database it is connected to does not matter.
        database: its name.

    Returns:
        Names of the migrations applied now.

    Raises:
        FeedbackError: an applied one reads differently now.
    """
    client.command(f"CREATE DATABASE IF NOT EXISTS {_quoted(database)}")
    _use(client, database)
    client.command(_LEDGER)
    todo = _pending(client, database)
    for migration in todo:
        for statement in migration.statements:
            client.command(statement)
        client.insert("schema_migrations", [[migration.name, migration.checksum]], ["name", "checksum"])
    return [migration.name for migration in todo]


def configure(
    client: Client,
    database: str,
    instruments: Mapping[str, Instrument],
    raw_retention: float,
    windows: Iterable[Window] = (),
    stages: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Tell a migrated database what of the configuration it must know.

    Args:
        client: may write.
        database: its name.
        instruments: all in use; one that is no longer in use stays, since its cells do.
        raw_retention: seconds that raw records are kept, by kafka_time.
        windows: of which the response rate is told in `scores`.
        stages: touchpoint -> stage of the journey.

    Raises:
        FeedbackError: an instrument has another scale than the answers that are stored under its name.
    """
    _use(client, database)
    refuse_other_scales(client, instruments.values())
    rows = [[getattr(one, name) for name in COLUMNS] for one in instruments.values()]
    client.insert("instruments", rows, COLUMNS)
    # The row without a name stands for the configuration: what was taken out of it is then of an older one.
    client.insert("windows", [["", 0], *([one.name, one.seconds] for one in windows)], ["name", "seconds"])
    client.insert("touchpoint_stages", [["", ""], *map(list, stages.items())], ["touchpoint", "stage"])
    for table in _other_retention(client, database, raw_retention):
        ttl = f"toDateTime(kafka_time) + toIntervalSecond({int(raw_retention)})"
        client.command(f"ALTER TABLE {table} MODIFY TTL {ttl}", settings={"materialize_ttl_after_modify": 0})


def bring_up(client: Client, settings: Settings) -> list[str]:
    """Migrate, and write down what the configuration says; the names of the migrations that were applied."""
    applied = migrate(client, settings.store.database)
    configure(
        client,
        settings.store.database,
        settings.catalogue(),
        settings.raw_retention,
        settings.windows,
        settings.stages(),
    )
    _note_rules(client, settings)
    _note_horizons(client, settings)
    return applied


def _note_rules(client: Client, settings: Settings) -> None:
    """Write down by which rules cases and answers are measured from now on, if they are others than before."""
    rules = settings.measuring_rules()
    known = client.query("SELECT rules FROM measuring_rules ORDER BY since DESC LIMIT 1").result_rows
    if known and known[0][0] == rules:
        return
    counted = known or client.query("SELECT 1 FROM outcome_counts LIMIT 1").result_rows
    since = datetime.now(UTC) if counted else datetime(1970, 1, 1, tzinfo=UTC)
    client.insert("measuring_rules", [[since, rules]], ["since", "rules"])


def _note_horizons(client: Client, settings: Settings) -> None:
    """Write down how long ids of each input are remembered from now on, if it is longer or shorter than before."""
    query = "SELECT input, argMax(milliseconds, since) FROM horizons GROUP BY input"
    known = {row[0]: row[1] for row in client.query(query).result_rows}
    for source in ("responses", "touchpoints"):
        horizon = round(settings.horizon_of(source) * 1000)
        if known.get(source) != horizon:
            since = datetime.now(UTC) if source in known else datetime(1970, 1, 1, tzinfo=UTC)
            client.insert("horizons", [[source, since, horizon]], ["input", "since", "milliseconds"])


def _other_retention(client: Client, database: str, seconds: float) -> Iterable[str]:
    query = """
        SELECT name FROM system.tables
        WHERE database = {database:String} AND name IN {names:Array(String)}
            AND NOT has(extractAll(create_table_query, 'toIntervalSecond\\((\\d+)\\)'), {seconds:String})
    """
    wanted = {"database": database, "names": list(RAW_TABLES), "seconds": str(int(seconds))}
    return [str(row[0]) for row in client.query(query, parameters=wanted).result_rows]


def _pending(client: Client, database: str) -> list[Migration]:
    applied = _applied(client, database)
    for migration in migrations():
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            msg = (
                f"migration {migration.name} was applied to {database} with another text than this version has: "
                "use the version that made the database, or a new one whose changes are new migrations"
            )
            raise FeedbackError(msg)
    return [migration for migration in migrations() if migration.name not in applied]


def _applied(client: Client, database: str) -> dict[str, str]:
    query = f"SELECT name, checksum FROM {_quoted(database)}.schema_migrations FINAL"  # noqa: S608 - quoted
    try:
        return {str(name): str(checksum) for name, checksum in client.query(query).result_rows}
    except DatabaseError as fault:
        if fault.code in (_UNKNOWN_DATABASE, _UNKNOWN_TABLE):
            return {}
        raise


def _use(client: Client, database: str) -> None:
    client.database = database


def _migration(name: str, text: str) -> Migration:
    statements = tuple(part.strip() for part in _END.split(text) if _without_comments(part))
    return Migration(name, statements, hashlib.sha256(text.encode()).hexdigest())


def _without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql).strip()


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
