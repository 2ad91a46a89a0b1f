"""The migration files: numbered, in one piece, and comments are no statements."""

import re

from pipeline.stores.migrate import _migration, migrations


def test_numbers_ascend_without_gaps():
    numbers = [int(migration.name[:4]) for migration in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_statement_makes_or_changes_something():
    for migration in migrations():
        assert migration.statements
        for statement in migration.statements:
            words = re.sub(r"--[^\n]*", "", statement).split()
            assert words[0] in ("CREATE", "ALTER"), statement


def test_statements_end_at_a_semicolon_at_the_end_of_a_line():
    found = _migration("0001_x.sql", "-- one; two\nCREATE a;\n\nALTER b\n  c ';' d;\n-- the end\n")
    assert [re.sub(r"--[^\n]*\n", "", statement) for statement in found.statements] == [
        "CREATE a",
        "ALTER b\n  c ';' d",
    ]
    assert found.checksum != _migration("0001_x.sql", "CREATE a;").checksum
