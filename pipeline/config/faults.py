"""Every fault of a configuration as one line each: the key, its value, what is allowed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pipeline.config.settings import Settings
from pipeline.errors import FeedbackError

Path = tuple[str, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+")  # what TOML takes without quotes
_NAMED = tuple(
    name for name, field in Settings.model_fields.items() if get_origin(field.annotation) is Mapping
)
_SECRET = ("token", "tokens", "password", "dsn", "registry_url")


class ConfigError(FeedbackError):
    """The configuration is wrong. `faults` has a line for each fault."""

    def __init__(self, origin: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(f"{count} in the configuration ({origin}):{lines}")


def name_of(path: Path) -> str:
    """A key as one writes it, "kafka.partitions"; a name with blanks or the like in quotes."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in path)


def paths_of(error: ValidationError) -> list[Path]:
    """The keys that are wrong. A place in a list belongs to the list's key."""
    return [_key(tuple(str(part) for part in one["loc"] if isinstance(part, str))) for one in error.errors()]


def spoiled(error: ValidationError) -> list[Path]:
    """What to cut so that the rest is valid: the wrong keys, and tables that lack a required key."""
    pairs = zip(error.errors(), paths_of(error), strict=True)
    return [path[:-1] if one["type"] == "missing" else path for one, path in pairs]


def describe(error: ValidationError, from_environment: Mapping[str, Any]) -> Iterator[str]:
    """One line a fault."""
    for one, path in zip(error.errors(), paths_of(error), strict=True):
        origin = _variable(path) if _holds(from_environment, path) else name_of(path)
        if one["type"] == "extra_forbidden":
            yield f"{origin}: no such key{_suggestion(path)}"
        elif one["type"] == "missing":
            yield f"{origin}: is required"
        else:
            yield f"{origin} = {_shown(path, one['input'])}: {_sentence(one['type'], one['msg'])}"


def unknown_variables(names: Mapping[str, str]) -> Iterator[str]:
    """Lines for variables that look like ours and are none.

    Other programs may use the prefix too (Kubernetes makes FEEDBACK_PORT for a service named feedback), so
    a variable counts as ours only when it names a table, or is close to a name of ours.
    """
    fields = {f"FEEDBACK_{name.upper()}": name for name in Settings.model_fields}
    for name in names:
        head, nested, _ = name.partition("__")
        near = difflib.get_close_matches(head, fields, n=1, cutoff=0.85)
        if head.startswith("FEEDBACK_") and head not in fields and (nested or near):
            yield f"{name}: no such variable{f'; did you mean {near[0]}?' if near else ''}"


def _key(path: Path) -> Path:
    # Parts of a union or of a validator's own name follow the key; no key of ours has such characters. The name of a
    # touchpoint, say, may have any.
    head = 2 if path and path[0] in _NAMED else 0
    return (*path[:head], *(part for part in path[head:] if _BARE.fullmatch(part)))


def _holds(tree: Any, path: Path) -> bool:
    for part in path:
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True


def _variable(path: Path) -> str:
    return "FEEDBACK_" + "__".join(part.upper() for part in path)


def _sentence(kind: str, text: str) -> str:
    if kind in ("model_type", "mapping_type", "dict_type"):
        return "should be a table"
    text = text.removeprefix("Value error, ").replace("Input should be", "should be")
    return text[:1].lower() + text[1:]


def _shown(path: Path, value: object) -> str:
    return "(hidden)" if any(part in _SECRET for part in path) else repr(value)


def _suggestion(path: Path) -> str:
    allowed = _keys_below(path[:-1])
    near = difflib.get_close_matches(path[-1], allowed, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {name_of((*path[:-1], near[0]))}?"
    return f"; allowed here: {', '.join(sorted(allowed))}" if allowed else ""


def _keys_below(path: Path) -> list[str]:
    model: type[BaseModel] = Settings
    for part in path:
        if part in model.model_fields:
            model = _table_of(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _table_of(annotation: Any) -> type[BaseModel] | None:
    """The table behind a field: itself, or the values of a mapping from names to tables."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
