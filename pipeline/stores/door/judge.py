"""`Judge`: what a reader may ask. The engine's parser says what a statement is, so that nothing is guessed from text.

The engine runs a reader's statement with readonly = 2, which refuses everything that changes something but allows
table functions and settings, and some of these reach outside the store: they open files and connections of the
machine. So table functions must be known to be harmless, and settings must be numbers, switches or the like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.stores.door.refusal import Code, refusal

TABLE_FUNCTIONS = frozenset(
    {
        "numbers",
        "numbers_mt",
        "zeros",
        "zeros_mt",
        "generateseries",
        "generate_series",
        "primes",
        "values",
        "view",
    }
    | {"sqlstandardvalues", "null", "merge", "generaterandom"}
)
# Types of settings that cannot name a file, a place or another language.
SETTING_TYPES = frozenset(
    {
        "Bool",
        "BoolAuto",
        "UInt64",
        "UInt64Auto",
        "NonZeroUInt64",
        "Int64",
        "Int32",
        "Float",
        "FloatAuto",
        "Double",
    }
    | {"Seconds", "Milliseconds", "MaxThreads", "Char", "Timezone", "OverflowMode", "OverflowModeGroupBy"}
    | {"DateTimeInputFormat", "DateTimeOutputFormat", "IntervalOutputFormat", "DateTimeOverflowBehavior"}
    | {"TotalsMode", "JoinAlgorithm", "JoinStrictness", "SetOperationMode", "ArrowCompression"}
    | {"ParquetCompression", "ORCCompression", "ShortCircuitFunctionEvaluation", "LoadBalancing"}
)
_SETTINGS = frozenset({"count_distinct_implementation", "log_comment"})
_FUNCTION = re.compile(r"^ *Function (\S+)", re.MULTILINE)
_TABLE_FUNCTION = re.compile(r"^ *TableExpression.*\n *Function (\S+)", re.MULTILINE)
# A scalar function that reads any file; a function like arrayMap also takes it by its bare name.
_FILE = re.compile(r"^ *(?:Function|Identifier) file\b", re.MULTILINE)
_SET = re.compile(r"^ *Set$", re.MULTILINE)
_FORMAT = re.compile(r"^ Identifier (\w+)$", re.MULTILINE)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
# EXPLAIN has options of its own, which are written and parsed alike.
_CLAUSE = re.compile(r"(?:\bSETTINGS|^EXPLAIN(?: [A-Z]+)*) (\w+ = [^\s,()]+(?:, \w+ = [^\s,()]+)*)")


@dataclass(frozen=True, slots=True)
class Shape:
    """A statement as the engine's parser sees it.

    Attributes:
        tree: of EXPLAIN AST.
        canonical: the statement as formatQuerySingleLine writes it.
        changes: it does something else than read.
    """

    tree: str
    canonical: str
    changes: bool

    @property
    def is_select(self) -> bool:
        """Whether it is a SELECT, or several in a UNION."""
        return self.tree.startswith("SelectWithUnionQuery")

    @property
    def formats(self) -> list[str]:
        """What can be the name of a format behind FORMAT."""
        return _FORMAT.findall(self.tree)


class Judge:
    """Knows the engine's catalogue."""

    def __init__(
        self, table_functions: Iterable[str], functions: Iterable[str], settings: Mapping[str, str]
    ) -> None:
        """From the names of table functions, of functions, and of settings with their types."""
        known = {name.lower() for name in table_functions} | {"python", "eval"}
        self._outside = known - TABLE_FUNCTIONS
        # Outside of a FROM clause, a name that is also a function's means that one.
        self._outside_anywhere = self._outside - {name.lower() for name in functions}
        self._settings = settings

    def check_settings(self, names: Iterable[str]) -> None:
        """Raise a Refusal unless a reader may change these settings; one that nobody knows is for the engine."""
        for name in names:
            if name not in _SETTINGS and self._settings.get(name, "Bool") not in SETTING_TYPES:
                raise refusal(Code.READONLY, f"Cannot modify '{name}' setting in readonly mode")

    def check(self, shape: Shape) -> None:
        """Raise a Refusal unless a reader may run it."""
        if shape.changes:
            raise refusal(
                Code.READONLY, "Cannot execute query in readonly mode: everybody may read, and only that"
            )
        outside = self._reaching_out(shape.tree)
        if outside is not None:
            raise refusal(Code.ACCESS_DENIED, f"{outside} reaches outside the store: not for this user")
        self.check_settings(_clauses(shape))

    def _reaching_out(self, tree: str) -> str | None:
        if _FILE.search(tree):
            return "file"
        called = [name for name in _FUNCTION.findall(tree) if name.lower() in self._outside_anywhere]
        called += [name for name in _TABLE_FUNCTION.findall(tree) if name.lower() in self._outside]
        return called[0] if called else None


def _clauses(shape: Shape) -> list[str]:
    """Names in the SETTINGS clauses of the statement itself."""
    clauses = len(_SET.findall(shape.tree))
    if not clauses:
        return []
    found = _CLAUSE.findall(_QUOTED.sub("''", shape.canonical))
    if len(found) != clauses:
        raise refusal(Code.READONLY, "these SETTINGS cannot be judged: put them into the URL")
    return [pair.partition(" =")[0] for clause in found for pair in clause.split(", ")]
