"""What the benches of freshness and of many series are made of: answers of now, timed ticks, questions to a worker."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from io import StringIO

from bench.door import samples
from bench.hour import shop
from bench.live import _HEAD, _ID, _long, cut, tails
from bench.responses import responses
from bench.series import INSTRUMENTS, LEAVES, answers
from bench.timed_worker import told
from pipeline.events import wire


def whole(tail, at):
    return wire.decode(_HEAD + b"a" * _ID + _long(at) + tail)[1]


def test_a_tail_becomes_an_answer_of_this_moment():
    now = int(time.time() * 1000)
    row = {"instrument": "nps_0_10", "score": 9, "touchpoint": "checkout", "channel": "web"}
    for tail in [*tails([row]), *cut(responses(200).values)]:
        found = whole(tail, now)
        assert found["response_id"] == "a" * _ID
        assert round(found["occurred_at"].timestamp() * 1000) == now
    assert row.items() <= whole(tails([row])[0], now).items()


def test_every_leaf_has_answers_and_the_first_touchpoint_most_of_them():
    made, shares = answers(3)
    found = [whole(tail, 1_800_000_000_000) for tail in made]
    leaves = {(one["instrument"], one["touchpoint"], one["channel"], one["segment"]) for one in found}
    assert len(leaves) == 3 * LEAVES
    of = Counter()
    for one, share in zip(found, shares, strict=True):
        of[one["touchpoint"]] += share
    assert abs(of["touchpoint_0"] / of["touchpoint_2"] - 3) < 1e-9


def test_the_leaves_of_all_instruments_have_all_answers_of_a_minute():
    shops = [shop(name, 3) for name in INSTRUMENTS]
    assert sum(len(one.leaves) for one in shops) == 3 * LEAVES
    cells = [one.cells(7, 100_000) for one in shops]
    assert 98_000 < sum(int(one.n.sum()) for one in cells) < 102_000
    assert all(set(one.minute.tolist()) == {7} and max(one.at) < len(one.series) for one in cells)


def test_samples_of_one_name_only():
    body = b'# HELP up it\nup 1\nup_since{a="b c"} 3\nup{job="x",text="a b"} 0.5\n'
    assert list(samples(body, "up")) == [("", 1.0), ('{job="x",text="a b"}', 0.5)]


async def test_a_tick_counts_its_own_steps_and_not_what_runs_meanwhile():
    def work(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    async def other():
        await asyncio.sleep(0)
        work(0.05)

    async def tick():
        work(0.01)
        beside = asyncio.create_task(other())
        await asyncio.sleep(0.01)
        await beside
        work(0.01)
        return 7

    out = StringIO()
    assert await told(tick, out)() == 7
    line = json.loads(out.getvalue())
    assert line["sent"] == 7
    assert 20 <= line["cpu"] < 60
    assert line["longest"] >= 10
