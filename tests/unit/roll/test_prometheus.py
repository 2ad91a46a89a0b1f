"""What Prometheus is shown: declared names and labels only, right sums, nothing where nobody answered."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipeline.config import Settings
from pipeline.measures.bins import bins_of
from pipeline.measures.cells import Series
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.scores import score
from pipeline.measures.sums import LEAF
from pipeline.measures.windows import parse
from pipeline.stores import metrics
from pipeline.stores.cap import OTHER
from pipeline.stores.metric import Kind
from pipeline.stores.prometheus import Metrics
from tests.support.needs import need

NOW = 29_000_000
NAMES = {metric.name: metric for metric in metrics.ALL}


def leaf(metric, instrument, touchpoint="checkout", channel="web", segment="none"):
    return Series(metric, instrument, touchpoint, channel, segment)


def board_of(*rows):
    """A scoreboard with (leaf, bin, n) in the running minute."""
    board = Scoreboard([parse("1h"), parse("24h")], SHIPPED)
    board.advance(NOW * 60_000)
    for series, k, n in rows:
        one = np.array([n], np.int64)
        minute = np.array([NOW], np.int32)
        board.add([series], np.zeros(1, np.uint32), minute, np.array([k], np.int32), one, one * k * 1000)
    return board


def shown(text):
    """Sample name -> [(labels, value)], every family checked against its declaration."""
    samples = defaultdict(list)
    for family in text_string_to_metric_families(text.decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        declared = NAMES[name]
        assert family.type == {"untyped": "unknown"}.get(declared.kind, declared.kind)
        assert family.documentation == declared.help
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(declared.labels), name
            assert sample.value == sample.value
            samples[sample.name].append((sample.labels, sample.value))
    return samples


def value(samples, name, **labels):
    found = [number for held, number in samples[name] if labels.items() <= held.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


EVERYTHING = [
    *((leaf("nps", "nps_0_10", channel=c), k, 3) for c in ("web", "app") for k in (0, 7, 10)),
    *((leaf("csat", "csat_1_5", touchpoint=t), k, 9 - k) for t in ("checkout", "support") for k in (1, 4, 5)),
    *((leaf("ces", "ces_1_7_hard"), k, 2) for k in (2, 2, 7)),
    *(
        (leaf("resolution", "full_resolution"), int(bins_of(np.array([s * 1000]))[0]), 1)
        for s in (0, 50, 3000, 10**7)
    ),
]

AGAINST = [
    *((leaf("csat", "csat_1_7", touchpoint="wrong way round", channel=c), 7, 60) for c in ("web", "app")),
    *((leaf("ces", "ces_1_7", touchpoint="wrong way round", channel=c), 2, 60) for c in ("web", "app")),
]


def full(*more):
    made = Metrics(SHIPPED, {"support": 0.9}, 10_000, ["checkout"])
    made.records("feedback.responses", "counted", 5)
    made.misplaced("feedback.responses", 1)
    made.expired("feedback.responses", 7)
    made.registry_up(up=True)
    made.dead_letter("malformed", "decode", 2)
    made.lag("feedback.responses", 3, 17)
    made.watermark("feedback.responses", 3, 1.75e9)
    made.latency("tally", np.array([0.01, 0.05, 0.7, 400.0]))
    made.latency("tally", 0.2)
    made.sink_rows("responses", 1000)
    made.sink_flush("responses", 0.02)
    made.sink_retry("241")
    made.store_up(up=True)
    made.journal_conflict("feedback.responses", 0)
    made.deltas_missing("feedback.responses", 3, 0)
    made.cells("feedback.responses", 3, 1000, 3)
    made.journal_tail("feedback.responses", 3, 7, 4096)
    made.snapshot("feedback.responses", 3, 1.75e9)
    made.outbox("feedback.responses", 3, 2)
    made.ids("feedback.responses", 3, 1000, 60_000)
    made.open_cases("feedback.touchpoints", 3, "support", 2, 7200.0)
    made.open_cases("feedback.touchpoints", 3, "returns", 1, 60.0)
    made.open_cases("feedback.touchpoints", 3, "returns", 0, 0.0)
    made.gap_filled("feedback.responses", 4)
    made.recovery("feedback.deltas", 1.5)
    made.worker_ready(ready=True)
    return made, made.exposition(list(board_of(*EVERYTHING, *more).sums()))


def test_everything_declared_is_filled_and_nothing_else():
    samples = shown(full(*AGAINST)[1])
    histograms = {m.name for m in metrics.ALL if m.kind is metrics.Kind.HISTOGRAM}
    plain = {name for name in samples if name.removesuffix("_bucket") == name} - {
        f"{name}{end}" for name in histograms for end in ("_sum", "_count")
    }
    assert plain | histograms == NAMES.keys()
    assert value(samples, "feedback_records_total", outcome="counted") == 5
    assert value(samples, "feedback_store_up") == 1
    assert [held["touchpoint"] for held, _ in samples["feedback_open_cases"]] == ["support"]
    buckets = {held["le"]: n for held, n in samples["feedback_end_to_end_latency_seconds_bucket"]}
    assert (buckets["0.05"], buckets["0.25"], buckets["1.0"], buckets["300.0"], buckets["+Inf"]) == (
        2,
        3,
        4,
        4,
        5,
    )
    assert value(samples, "feedback_end_to_end_latency_seconds_sum", stage="tally") == pytest.approx(400.96)
    assert value(samples, "feedback_end_to_end_latency_seconds_count", stage="tally") == 5


def test_promtool_has_nothing_to_say():
    if shutil.which("promtool") is None:
        need("promtool is missing: apt-get install prometheus")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=full(*AGAINST)[1], capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_window_counts_and_scores():
    samples = shown(full()[1])
    here = {"window": "1h", "touchpoint": "checkout", "channel": "web", "segment": "none"}
    assert value(samples, "feedback_nps_window_responses", group="promoter", **here) == 3
    assert value(samples, "feedback_csat_window_responses", result="satisfied", **here) == 9
    assert value(samples, "feedback_csat_window_responses", result="dissatisfied", **here) == 8
    assert value(samples, "feedback_ces_window_responses", **here) == 6
    assert value(samples, "feedback_ces_window_score_sum", **here) == 4 * 6 + 2 * 1
    overall = {"window": "1h", "touchpoint": "", "channel": "", "segment": ""}
    assert value(samples, "feedback_score", metric="ces", **overall) == pytest.approx(26 / 6)
    expected = score("csat", SHIPPED["csat_1_5"], {1: 16, 4: 10, 5: 8})["csat"]
    assert value(samples, "feedback_score", metric="csat", **overall) == expected.value
    assert value(samples, "feedback_score_lower", metric="csat", **overall) == expected.lower
    assert value(samples, "feedback_score_upper", metric="csat", **overall) == expected.upper
    assert value(samples, "feedback_score_responses", metric="csat", **overall) == 34
    for name in ("nps", "csat", "ces"):
        counts = [n for held, n in samples[f"feedback_{name}_window_responses"] if held["window"] == "24h"]
        assert sum(counts) == value(
            samples, "feedback_score_responses", metric=name, **overall | {"window": "24h"}
        )
    assert {held["touchpoint"]: n for held, n in samples["feedback_score_target"]} == {
        "checkout": 0.8,
        "support": 0.9,
    }


def test_touchpoints_that_nobody_configured_are_counted_without_their_names():
    board = board_of(*EVERYTHING)
    for configured, expected in ((("checkout", "refund"), 1), (("checkout", "support"), 0)):
        samples = shown(Metrics(SHIPPED, {}, 1, configured).exposition(list(board.sums())))
        assert samples["feedback_unknown_touchpoints"] == [({}, expected)], "also those that are folded"
    assert "feedback_unknown_touchpoints" not in shown(
        Metrics(SHIPPED, {}, 1000).exposition(list(board.sums()))
    )


def test_effort_that_runs_against_csat_is_shown_where_a_hundred_answers_to_each_tell():
    samples = shown(full(*AGAINST)[1])
    found = {
        (held["touchpoint"], held["window"]): (held, n) for held, n in samples["feedback_effort_against_csat"]
    }
    assert found.keys() == {("wrong way round", "1h"), ("wrong way round", "24h")}
    held, n = found["wrong way round", "1h"]
    assert (held["instrument"], held["csat"], n) == ("ces_1_7", "csat_1_7", 1)
    right = [(leaf("csat", "csat_1_7"), 7, 100), (leaf("ces", "ces_1_7"), 6, 100)]
    text = Metrics(SHIPPED, {}, 10_000).exposition(list(board_of(*right).sums()))
    assert {n for _, n in shown(text)["feedback_effort_against_csat"]} == {0}


def test_only_leaves_are_additive():
    samples = shown(full()[1])
    for name, rows in samples.items():
        for held, _ in rows:
            if "segment" in held:
                ready = name.startswith(("feedback_score", "feedback_resolution_window_seconds"))
                assert ready or all(held[d] for d in ("touchpoint", "channel", "segment")), (name, held)


def test_every_leaf_and_every_marginal_has_its_score():
    dimensions = "touchpoint", "channel", "segment"
    leaves = [
        (leaf("csat", "csat_1_5", t, c, s), k, 1 + number % 5)
        for number, (t, c, s, k) in enumerate(
            product(("pay", "use"), ("web", "app"), ("none", "gold"), (2, 5))
        )
    ]
    expected = defaultdict(dict)
    for series, k, n in leaves:
        for kept in product((True, False), repeat=3):
            counts = expected[
                tuple(name if keep else "" for name, keep in zip(series[2:], kept, strict=True))
            ]
            counts[k] = counts.get(k, 0) + n
    samples = shown(Metrics(SHIPPED, {}, 10_000).exposition(list(board_of(*leaves).sums())))
    for name, of in (("", "value"), ("_lower", "lower"), ("_upper", "upper"), ("_responses", "n")):
        found = {
            tuple(held[d] for d in dimensions): n
            for held, n in samples[f"feedback_score{name}"]
            if held["window"] == "1h"
        }
        recounted = {
            place: getattr(score("csat", SHIPPED["csat_1_5"], counts)["csat"], of)
            for place, counts in expected.items()
        }
        assert found == pytest.approx(recounted)
        assert len(found) == 3**3


def test_counters_are_named_before_they_count_and_show_no_number_then():
    text = Metrics(SHIPPED, {}, 1000).exposition()
    for metric in metrics.ALL:
        if metric.kind is Kind.COUNTER:
            assert f"\n# TYPE {metric.name} counter\n" in text.decode()
            assert metric.name not in shown(text)


def test_resolution_cases_are_cumulative():
    samples = shown(full()[1])
    cases = {h["within"]: n for h, n in samples["feedback_resolution_window_cases"] if h["window"] == "1h"}
    assert list(cases.values()) == sorted(cases.values())
    assert (cases["60"], cases["900"], cases["3600"], cases["604800"], cases["+Inf"]) == (2, 2, 3, 3, 4)
    stats = {
        h["stat"]: n
        for h, n in samples["feedback_resolution_window_seconds"]
        if h["window"] == "1h" and not h["touchpoint"]
    }
    assert stats.keys() == {"p50", "p90", "p95", "p99", "mean"}
    assert stats["p50"] == pytest.approx(50, rel=0.045)
    assert stats["mean"] == pytest.approx(
        sum(int(bins_of(np.array([s * 1000]))[0]) for s in (0, 50, 3000, 10**7)) / 4
    )
    assert stats["p99"] == pytest.approx(10**7, rel=0.045)


def test_a_worker_that_owns_nothing_shows_no_scores_and_what_is_forgotten_goes():
    made, _ = full()
    made.forget("feedback.responses", [3, 4])
    made.forget("feedback.touchpoints", [3])
    samples = shown(made.exposition())
    assert not [name for name in samples if "window" in name or "score" in name]
    assert not [rows for rows in samples.values() for labels, _ in rows if "partition" in labels]


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=3, max_size=3))
def test_any_text_survives_as_a_label(names):
    series = leaf("csat", "csat_1_5", *names)
    text = Metrics(SHIPPED, {}, 100).exposition(list(board_of((series, 5, 1)).sums([LEAF])))
    lines = [line for line in text.decode().split("\n") if line.startswith("feedback_score_upper{")]
    assert len(lines) == 2
    for family in text_string_to_metric_families(lines[0] + "\n"):
        held = family.samples[0].labels
        assert [held[d] for d in ("touchpoint", "channel", "segment")] == names


# lines of CSAT in two windows; a touchpoint has a target
A_LEAF, A_TOUCHPOINT, A_MARGINAL = 2 * (4 + 2), 2 * 4 + 1, 2 * 4
A_PLACE = A_LEAF + A_TOUCHPOINT + 2 * A_MARGINAL  # one leaf of a touchpoint, and every marginal that names it
OF_ALL = 3 * A_MARGINAL  # of all touchpoints: by channel, by segment, by both
SHARED = A_MARGINAL + A_PLACE + OF_ALL  # of overall and __other__


def test_the_cap_counts_lines():
    many = [(leaf("csat", "csat_1_5", touchpoint=f"t{k:02}"), 5, 1 + k) for k in range(20)]
    every = list(board_of(*EVERYTHING, *AGAINST, *many, (leaf("reopen", ""), 1, 5)).sums())

    def lines(most):
        text = Metrics(SHIPPED, {}, most).exposition(every)
        kept = [line for line in text.splitlines() if re.match(rb"feedback_\w+\{.*(window|target)", line)]
        return len(kept), int(re.search(rb"\nfeedback_folded_series (\d+)\n", text)[1])

    all_of_them, folded = lines(10**6)
    assert folded == 0
    for most in range(800, all_of_them + 900, 100):
        kept, folded = lines(most)
        assert kept <= most
        assert kept <= all_of_them
    assert folded == 0, "with room for __other__ besides, everything fits"


def test_what_is_beyond_the_cap_is_shown_together_and_nothing_is_lost():
    rows = [(leaf("csat", "csat_1_5", touchpoint=f"t{k:02}"), 5, 1 + k) for k in range(20)]
    made, board = Metrics(SHIPPED, {}, SHARED + OF_ALL + 5 * A_PLACE + A_LEAF), board_of(*rows)
    before = None
    for _ in range(3):
        samples = shown(made.exposition(list(board.sums())))
        counts = [(h, n) for h, n in samples["feedback_csat_window_responses"] if h["window"] == "1h"]
        assert sum(n for _, n in counts) == sum(n for _, _, n in rows)
        assert value(samples, "feedback_folded_series") == 15 * A_PLACE - A_LEAF
        names = {h["touchpoint"] for h, _ in counts}
        assert OTHER in names
        assert len(names) == 1 + 6  # a place for a leaf and then for its marginals, in turn
        assert before is None or names == before, "who has a place keeps it"
        before = names
        placed = sorted(names - {OTHER})[:5]
        folded = value(
            samples, "feedback_score_responses", window="1h", touchpoint=OTHER, channel="", segment=""
        )
        assert folded == sum(n for series, _, n in rows if series.touchpoint not in placed)
        assert OTHER not in {h["touchpoint"] for h, _ in samples["feedback_score_target"]}


def test_a_series_that_has_gone_frees_its_place():
    made = Metrics(SHIPPED, {}, SHARED + OF_ALL + A_PLACE)
    first, second = (board_of((leaf("csat", "csat_1_5", touchpoint=t), 5, 1)) for t in ("old", "new"))
    for boards, names in (([first], {"old"}), ([second, first], {"old", OTHER}), ([second], {"new"})):
        samples = shown(made.exposition([sums for board in boards for sums in board.sums()]))
        assert {h["touchpoint"] for h, _ in samples["feedback_csat_window_responses"]} == names


def test_from_the_configuration():
    made = Metrics.of(Settings(touchpoints={"checkout": {"csat_target": 0.7}, "support": {}}))
    samples = shown(made.exposition(list(board_of(*EVERYTHING).sums())))
    assert {h["touchpoint"]: n for h, n in samples["feedback_score_target"]} == {
        "checkout": 0.7,
        "support": 0.8,
    }
