"""What every panel of ours shares: data source variables, Prometheus queries, unit, text where nothing is."""

from __future__ import annotations

from typing import Final, TypeVar

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

NO_VALUE: Final = "no responses"
# Data source variables, never the id of one installation: the same file imports anywhere.
PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel = TypeVar("Panel", stat.Panel, table.Panel, timeseries.Panel)


def described(
    panel: Panel, title: str, description: str, unit: str, source: DataSourceRef, size: tuple[int, int]
) -> Panel:
    """`panel` with what the lint asks of every one; `size` is (columns of 24, rows)."""
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .datasource(source)
        .no_value(NO_VALUE)
        .span(size[0])
        .height(size[1])
    )


def now(ref_id: str, expr: str, legend: str) -> prometheus.Dataquery:
    """A value as it is now. A range query would go on showing the last score of a window empty by now."""
    return _query(ref_id, expr).legend_format(legend).instant()


def row(ref_id: str, expr: str) -> prometheus.Dataquery:
    """A column of a table of what is now: the labels of `expr` are the other columns."""
    return _query(ref_id, expr).format(PromQueryFormat.TABLE).instant()


def line(ref_id: str, expr: str, legend: str) -> prometheus.Dataquery:
    """Lines over the time range of the dashboard."""
    return _query(ref_id, expr).legend_format(legend).range()


def _query(ref_id: str, expr: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(PROMETHEUS).ref_id(ref_id).expr(expr)


def properties(**values: object) -> list[models.DynamicConfigValue]:
    """Field properties for an override; `custom_x` becomes Grafana's `custom.x`."""
    return [
        models.DynamicConfigValue(id_val=name.replace("custom_", "custom."), value=value)
        for name, value in values.items()
    ]


def thresholds(base: str, *steps: tuple[float, str]) -> build.ThresholdsConfig:
    """Colours from `base` upwards; every step is (from this value, colour)."""
    first = models.Threshold(value=None, color=base)
    rest = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([first, *rest])
