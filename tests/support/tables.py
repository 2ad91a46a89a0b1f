"""Configurations of tests: tables over tables, and as environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both; where both have a value, `above` wins."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old or {}, value) if both else value
    return result


def environment(tables: Mapping[str, Any], prefix: str = "FEEDBACK_") -> dict[str, str]:
    """FEEDBACK_TABLE__KEY for every value; lists separated by commas."""
    found: dict[str, str] = {}
    for key, value in tables.items():
        name = f"{prefix}{key.upper()}"
        if isinstance(value, Mapping):
            found |= environment(value, f"{name}__")
        else:
            found[name] = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return found
