"""Every key of the configuration with its default and its meaning, out of the declarations: docs/configuration.md."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.config.settings import Settings
from pipeline.config.values import parse_due, parse_duration

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_HEAD: Final = """\
# Configuration

`feedback.toml` in the current folder, or the file named by `--config` or `FEEDBACK_CONFIG`. Every key can also come
from the environment, which wins: `kafka.bootstrap` is `FEEDBACK_KAFKA__BOOTSTRAP`, `horizon` is `FEEDBACK_HORIZON`;
lists are separated by commas. `feedback check-config` names every fault at once, says what differs from the defaults,
and whether it fits what is set up.

Durations have their unit: "250ms", "10s", "15m", "24h", "7d". `NAME` stands for a name of your own. Instruments and
touchpoints are explained in [instruments.md](instruments.md); schedules, promises and cases in [cases.md](cases.md).

Written by `feedback check-config --keys` from `pipeline/config/`: change it there.
"""


class Key(NamedTuple):
    """One key: its table ("" for the top), its name in it, its default as it is written, what it means."""

    table: str
    name: str
    default: str
    meaning: str


def keys(model: type[BaseModel] = Settings, table: str = "") -> Iterator[Key]:
    """All keys, tables last, as TOML wants them."""
    inner: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        found = _table_of(field)
        if found is None:
            yield Key(table, field.alias or name, _default(field), _meaning(field))
        else:
            each, path = found
            inner.append((".".join(part for part in (table, name, path) if part), each))
    for path, each in inner:
        yield from keys(each, path)


def reference() -> str:
    """The page."""
    lines, before = [_HEAD], None
    for key in keys():
        if key.table != before:
            title = f"## {_bracketed(key.table)}" if key.table else "## At the top"
            lines += ["", title, *_about(key.table), "", "| key | default | meaning |", "|---|---|---|"]
            before = key.table
        lines.append(f"| `{key.name}` | {key.default} | {key.meaning} |")
    return "\n".join(lines) + "\n"


def _bracketed(table: str) -> str:
    """As TOML writes it: a list of tables in double brackets."""
    head, _, name = table.rpartition(".")
    field = _model_at(head).model_fields.get(name) if name != "NAME" else None
    many = field is not None and get_origin(field.annotation) is tuple
    return f"[[{table}]]" if many else f"[{table}]"


def _about(table: str) -> list[str]:
    return ["", (_model_at(table).__doc__ or "").partition("\n\n")[0]] if table else []


def _model_at(table: str) -> type[BaseModel]:
    model: type[BaseModel] = Settings
    for part in table.split(".") if table else ():
        found = _table_of(model.model_fields[part]) if part in model.model_fields else None
        model = found[0] if found else model
    return model


def _table_of(field: FieldInfo) -> tuple[type[BaseModel], str] | None:
    """The table of a field, and what of its path is not the field's name: NAME where there is one for each name."""
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    for one in get_args(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one, "NAME" if get_origin(annotation) is Mapping else ""
    return None


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined and field.default_factory is None:
        return "required"
    value: Any = field.default if field.default_factory is None else None
    if value in (None, "", ()):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f'`"{one.name}"`' for one in value)
    if isinstance(value, float) and any(
        getattr(one, "func", None) in (parse_duration, parse_due) for one in field.metadata
    ):
        return f'`"{_duration(value)}"`'
    if isinstance(value, (int, float)):
        return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
    return f'`"{value}"`' if str(value).strip("*") else ""


def _duration(seconds: float) -> str:
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
    return f"{seconds / size:g}{unit}"


def _meaning(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    choices = " / ".join(f'`"{one}"`' for one in _choices(field.annotation))
    return " ".join(part for part in (text, f"One of {choices}." if choices else "") if part)


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for one in get_args(annotation) if (found := _choices(one))), ())
    return ()
