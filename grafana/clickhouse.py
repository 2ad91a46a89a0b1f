"""The query type of the ClickHouse data source (plugin 4.20): the Grafana Foundation SDK ships none."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from grafana_foundation_sdk.cog import builder as cog_builder
from grafana_foundation_sdk.cog import runtime, variants
from grafana_foundation_sdk.models.common import DataSourceRef

PLUGIN: Final = "grafana-clickhouse-datasource"
PLUGIN_VERSION: Final = "4.20.0"
SOURCE: Final = DataSourceRef(type_val=PLUGIN, uid="${clickhouse}")

Format = Literal["timeseries", "table"]
CODES: Final[dict[Format, int]] = {"timeseries": 0, "table": 1}  # the plugin's own numbers


class Query(variants.Dataquery):
    """One SQL query as the plugin stores it in a dashboard."""

    def __init__(self, sql: str, shape: Format, ref_id: str = "A") -> None:
        self.sql, self.shape, self.ref_id = sql, shape, ref_id

    def to_json(self) -> dict[str, object]:
        """The plugin's fields. Without `format` the browser takes a table and the server a time series."""
        return {
            "datasource": SOURCE,
            "editorType": "sql",
            "format": CODES[self.shape],
            "pluginVersion": PLUGIN_VERSION,
            "queryType": self.shape,
            "rawSql": self.sql,
            "refId": self.ref_id,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        return cls(data["rawSql"], data["queryType"], data["refId"])


class SQL(cog_builder.Builder[Query]):
    """Builder around `Query`, because panels of the SDK take builders."""

    def __init__(self, sql: str, shape: Format) -> None:
        self._query = Query(sql, shape)

    def build(self) -> Query:
        """The query."""
        return self._query


def register() -> None:
    """Teaches the SDK to decode our query type, so that a rendered dashboard can be read back."""
    runtime.register_dataquery_variant(
        runtime.DataqueryConfig(identifier=PLUGIN, from_json_hook=Query.from_json)
    )
