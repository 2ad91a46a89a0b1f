"""The README does not promise what does not work."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.e2e.running_demo import WORKS, ask, demo, until_stored

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIVE_LINES = """\
from pipeline.client import Feedback
with Feedback("localhost:9092", source="checkout") as feedback:
    feedback.touchpoint("checkout", "order_paid", channel="web", customer_id="c-1")
    feedback.csat("checkout", 5, channel="web", comment="fast!")
"""


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block of {language}"
    return found[1]


def test_its_examples_work_with_only_the_addresses_replaced(own: dict[str, str], tmp_path: Path) -> None:
    assert block("python") == FIVE_LINES
    own = {**own, "FEEDBACK_KAFKA__PREFIX": "feedback"}
    with demo(tmp_path / "data", own, "--rate", "0") as running:
        running.until(WORKS)
        program = block("python").replace("localhost:9092", own["FEEDBACK_KAFKA__BOOTSTRAP"])
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
        token = running.until(r"token (\S+)")[1]
        call = block("sh").replace("127.0.0.1:8088", own["FEEDBACK_GATEWAY__LISTEN"])
        sent = subprocess.run(
            ["sh", "-c", call], env={**own, "TOKEN": token}, capture_output=True, check=True, timeout=60
        )
        assert json.loads(sent.stdout)["accepted"] == 1
        until_stored(own, "SELECT count() FROM responses", 2)
        until_stored(own, "SELECT count() FROM touchpoints", 1)
        assert ask(own, "SELECT source, score, comment FROM responses ORDER BY source") == [
            ["checkout", 5, "fast!"],
            ["shop", 2, None],
        ]
        until_stored(own, "SELECT sum(n) FROM csat", 2)
        asked = re.search(r"\$ (feedback query \".*?\")", README, re.DOTALL)
        assert asked
        command = [sys.executable, "-m", "pipeline", *shlex.split(asked[1])[1:], "--json"]
        answer = subprocess.run(command, env=own, cwd=ROOT, capture_output=True, check=True, timeout=60)
        assert [
            (row["touchpoint"], int(row["answers"]), row["csat"]) for row in json.loads(answer.stdout)
        ] == [("checkout", 2, 0.5)]
        assert running.end() == 0


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)]+)\)", README)
    assert "docs/page.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", README)) <= targets
