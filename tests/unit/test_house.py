"""The house: who may import whom, what the pure floors must not touch, and how large things may grow.

Read from the source, so that a forbidden import is found also where no test runs through it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pipeline"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# A floor may import itself and what stands here. "top" is everything above the streams.
PURE = {
    "events": set(),
    "measures": {"events"},
    "cases": {"events"},
    "journal": {"events", "measures", "cases"},
}
FLOORS = {
    **PURE,
    "stores": {"events", "measures", "config", "errors"},
    "streams": {*PURE, "stores", "config", "errors", "logs"},
    "verify": {"errors"},  # it recounts: what it shared with the worker it could not find wrong
    "rebuild": {"measures", "stores", "verify", "errors"},
    "reset": {"journal", "streams", "verify", "config", "errors"},
    "client": {"events", "errors"},
    "config": {"measures", "cases", "errors"},
    "errors": set(),
    "logs": set(),
}
# What drives, stores or schedules: not in the pure floors, which any log and any clock can carry.
OUTSIDE = {
    "aiohttp",
    "aiokafka",
    "asyncio",
    "chdb",
    "clickhouse_connect",
    "concurrent",
    "faust",
    "logging",
    "mode",
    "multiprocessing",
    "noida_db",
    "os",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "random",
    "rich",
    "selectors",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "time",
    "typer",
    "urllib",
    "uvloop",
}
CLOCKS = re.compile(r"\b(datetime\.(now|utcnow|today)|date\.today|time\.(time|monotonic|perf_counter)\w*)$")
# The only file reading of the pure floors: the schemas, which come with the code.
READS_FILES = {"events/schemas.py"}

FILE_LINES = 300
FUNCTION_LINES = 40
MEDIAN_LINES = 12


def sources(folder: Path = PACKAGE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, also inside functions and for types only."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides its floor"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def floor_of(name: str) -> str | None:
    """The floor of a module of ours; None for one of others."""
    parts = name.split(".")
    return parts[1] if parts[0] == "pipeline" and len(parts) > 1 else None


def files_of(*floors: str) -> list[Path]:
    return [path for path in sources() if floor_of(module_of(path)) in floors]


def expect_none(found: list[str]) -> None:
    """All of them at once, a line each."""
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_floors_import_only_what_lies_below():
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in files_of(*FLOORS)
        for line, name in imports(path)
        if (floor := floor_of(name)) and (own := floor_of(module_of(path))) and floor in known_floors()
        if floor != own and floor not in FLOORS[own]
    ]
    expect_none(wrong)


@cache
def known_floors() -> frozenset[str]:
    """Every module and package right below pipeline/."""
    return frozenset(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir())


def test_nothing_below_knows_the_top():
    """The command line, the embedded parts, the page and the samples are imported by their own kind only."""
    top = {"cli", "embedded", "page", "gateway", "sample", "replay"}
    below = files_of("stores", "streams", "verify", "rebuild", "reset", "client", "config", *PURE)
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in below
        for line, name in imports(path)
        if floor_of(name) in top
    ]
    expect_none(wrong)


def test_pure_floors_import_nothing_that_acts():
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in files_of(*PURE)
        for line, name in imports(path)
        if name.split(".")[0] in OUTSIDE
    ]
    expect_none(wrong)


def loaded_by(modules: list[str], suspects: str) -> list[str]:
    """Which suspects a fresh interpreter knows after importing the modules, whoever imported them."""
    program = "import sys, importlib\nfor name in sys.argv[1].split(): importlib.import_module(name)\n"
    program += "print(*(name for name in sys.argv[2].split() if name in sys.modules))"
    command = [sys.executable, "-c", program, " ".join(modules), suspects]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("floor", sorted(PURE))
def test_pure_floors_load_nothing_that_acts(floor):
    modules = [module_of(path) for path in files_of(floor)]
    acting = "faust mode aiokafka clickhouse_connect prometheus_client chdb aiohttp pydantic typer"
    assert loaded_by(modules, acting) == []


def test_the_client_needs_aiokafka_and_fastavro_alone():
    heavy = "numpy polars pydantic typer rich faust aiohttp clickhouse_connect prometheus_client"
    assert loaded_by(["pipeline.client"], heavy) == []


def test_the_command_starts_without_the_heavy_parts():
    """`feedback --help` and every completion load all commands: what they need is imported when they run."""
    heavy = "polars faust aiokafka aiohttp chdb clickhouse_connect prometheus_client pandas pyarrow"
    assert loaded_by(["pipeline.cli.commands"], heavy) == []


def test_pure_floors_read_no_clock():
    wrong = [
        f"{where(path, node.lineno)} reads {ast.unparse(node)}"
        for path in files_of(*PURE)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and CLOCKS.search(ast.unparse(node))
    ]
    expect_none(wrong)


def test_pure_floors_do_no_io():
    acts = {"open", "print", "input", "exec", "eval"}
    wrong = [
        f"{where(path, node.lineno)} calls {node.func.id}"
        for path in files_of(*PURE)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in acts
        if str(path.relative_to(PACKAGE)) not in READS_FILES
    ]
    expect_none(wrong)


def test_nothing_is_pickled():
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in sources()
        for line, name in imports(path)
        if name.split(".")[0] in {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    ]
    expect_none(wrong)


def functions() -> list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (path, node) for path in sources() for node in ast.walk(tree_of(path)) if isinstance(node, FUNCTIONS)
    ]


def length(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function; of a command without its options, which are its page of help."""
    command = path.parent.name == "cli" and node.name == "run"
    return node.end_lineno - (node.body[0].lineno if command else node.lineno) + 1


def test_files_and_functions_stay_small():
    files = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for path in sources()
        if (count := path.read_text(encoding="utf-8").count("\n")) > FILE_LINES
    ]
    long = [
        f"{where(path, node.lineno)} {node.name}: {length(path, node)} lines"
        for path, node in functions()
        if length(path, node) > FUNCTION_LINES
    ]
    expect_none(files + long)


def test_the_usual_function_is_a_few_lines():
    lengths = sorted(length(path, node) for path, node in functions())
    assert lengths[len(lengths) // 2] <= MEDIAN_LINES


def test_everything_public_says_what_it_is():
    """Modules, classes and functions that do not begin with an underscore."""
    silent = [
        f"{where(path, getattr(node, 'lineno', 1))} {getattr(node, 'name', 'module')}"
        for path in sources()
        for node in [tree_of(path), *public(tree_of(path))]
        if ast.get_docstring(node) is None
    ]
    expect_none(silent)


def public(parent: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            if not any("overload" in ast.unparse(one) for one in node.decorator_list):
                yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def committed() -> list[Path]:
    """Every text file under version control; all files where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def lines_with(pattern: str, suffix: str = "") -> list[str]:
    found = []
    for path in committed():
        if not path.name.endswith(suffix):
            continue
        text = path.read_bytes()
        if path == Path(__file__) or b"\0" in text[:8192]:
            continue
        for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{where(path, number)}: {line.strip()[:120]}")
    return found


def test_every_exception_to_a_rule_has_its_reason():
    """A `noqa` or `type: ignore` names the rule, and says why beside it."""
    expect_none(lines_with(r"# noqa(: ?[A-Z0-9, ]+)?$|# type: ignore(\[[a-z, -]+\])?$", ".py"))


def test_no_registry_is_named():
    """Packages come from whatever registry a machine is set up for."""
    hosts = r"pypi\.org|pythonhosted\.org|registry\.npmjs|repo1?\.maven|maven\.org|deb\.debian|crates\.io"
    expect_none(lines_with(hosts))


def test_no_machine_is_named():
    """No absolute path of somebody's machine."""
    expect_none(lines_with(r"(?<![\w.])(/work/|/home/\w+/|/Users/\w+/|/root/)"))
