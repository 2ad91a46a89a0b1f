"""What the pages say is so: commands and options exist, links lead somewhere, constants are what the code writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from bench import sizes
from bench.responses import responses
from pipeline.cli.check_config import BYTES_AN_ID
from pipeline.cli.commands import app
from pipeline.config import load
from pipeline.config.reference import keys, reference
from pipeline.measures.scores import score

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
WEEK, DAY = 7 * 86_400, 86_400


def called(text: str) -> list[str]:
    """Every `feedback ...` in code: blocks of shell, and words in backticks."""
    blocks = re.findall(r"```(?:sh|console)?\n(.*?)```", text, re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(feedback [^`]+)`", text)
    return [line for line in (*lines, *inline) if re.match(r"feedback [a-z]", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_exists(page):
    commands = typer.main.get_command(app).commands
    for line in called(page.read_text(encoding="utf-8")):
        words = line.partition("#")[0].split()
        assert words[1] in commands, line
        known = {option for parameter in commands[words[1]].params for option in parameter.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(((?!https?:)[^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_log_lines_it_quotes_are_written():
    quoted = re.findall(r"`((?:[a-z]+ ){2,}[a-z]+)`", OPERATIONS)
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py"))
    assert len(quoted) >= 5
    written = {line for line in quoted if f'"{line}"' in sources or f'"{line} ' in sources}
    assert [line for line in quoted if not line.startswith("feedback ") and line not in written] == []


def constant(name: str) -> float:
    found = re.search(rf"^\| `{name}` \| ([\d.]+) \|", OPERATIONS, re.MULTILINE)
    assert found, name
    return float(found[1])


def test_the_constants_of_the_sizing_are_what_the_code_writes():
    sent = responses(24_000, rate=70.0)
    assert constant("id_memory") == pytest.approx(sizes.memory_of_an_id(300_000), rel=0.25)
    assert constant("id_memory") == pytest.approx(BYTES_AN_ID, abs=2)
    assert constant("cell_memory") == pytest.approx(sizes.memory_of_a_cell(sent), rel=0.25)
    alone, hundred = sizes.weigh(sent.first(2_000), 1), sizes.weigh(sent, 100)
    assert constant("id_sealed") == pytest.approx(hundred.ids, rel=0.15)
    told = re.search(
        r"(\d+) in batches of 100, (\d+) for\s+a record alone \(deltas: \d+, (\d+) and (\d+)\)", OPERATIONS
    )
    assert told
    measured = (hundred.journal, alone.journal, hundred.deltas, alone.deltas)
    assert [float(n) for n in told.groups()] == pytest.approx(
        measured, rel=0.2
    )  # names of leaves weigh more in a short run


def test_the_examples_of_the_sizing_are_computed_from_its_constants():
    rows = re.findall(
        r"^\| ([\d,]+) \| ([\d.,]+) GB \| ([\d.,]+) GB \| ([\d.,]+) GB \| ([\d.,]+) GB \|$", OPERATIONS, re.M
    )
    assert len(rows) == 3
    for row in rows:
        rate, *told = (float(number.replace(",", "")) for number in row)
        expected = (
            rate * WEEK * constant("id_memory"),
            rate * WEEK * (constant("input") + constant("cells_topic")),
            rate * 400 * DAY * constant("raw"),
            rate * 365 * DAY * constant("cells_table"),
        )
        assert told == pytest.approx([size / 1e9 for size in expected], rel=0.02, abs=0.06)


def test_the_page_of_keys_is_what_the_configuration_declares():
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference()
    assert [f"{key.table}.{key.name}" for key in keys() if not key.meaning] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_of_a_configuration_is_valid(page, tmp_path):
    for number, text in enumerate(
        re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ):
        if re.search(
            r"^\[\[?(instruments|touchpoints|schedules|sla|kafka|cases|follow_ups|page)\b", text, re.MULTILINE
        ):
            file = tmp_path / f"{number}.toml"
            file.write_text(text, encoding="utf-8")
            load(file)


def test_the_worked_example_of_an_instrument_counts_as_it_says(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "instruments.md").read_text(), re.DOTALL)
    (tmp_path / "own.toml").write_text(text)
    own = load(tmp_path / "own.toml").catalogue()
    efforts = {1 + k % 4: 0 for k in range(4)}
    for k in range(200):
        if k % 20:
            efforts[1 + k % 4] += 1
    shown = score("ces", own["ces_1_10_hard"], efforts)["ces"]
    assert (shown.n, round(shown.value, 2)) == (190, 8.42)
    assert score("csat", own["thumbs"], {0: 40, 1: 160})["csat"].value == 0.8
