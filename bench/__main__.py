"""`make bench`: every contender drains the same responses from Apache Kafka, one after the other, on this machine.

It tells times and never judges them. RECORDS, REPEATS, RATE, SEED, ONLY and PROFILE of the environment are the
defaults of the options: RECORDS=200000 make bench
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import cached_property, partial

from rich.console import Console

from bench import report
from bench.contenders import CONTENDERS, Contender
from bench.place import BUILD, Broker, broker
from bench.profile import FOLDER, profile, stages
from bench.responses import Responses, responses
from bench.running import Run, run
from pipeline.errors import FeedbackError

GARBAGE = 0.01
PROFILE = "write where the worker's time goes, instead of comparing"
out = Console(width=132, highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def main() -> int:
    """The command line."""
    given = _options()
    # it tells of each moment in which a new topic has no leader yet; what does not pass is raised
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    BUILD.mkdir(parents=True, exist_ok=True)
    contenders = [one for one in CONTENDERS if one.name in given.only]
    try:
        with broker() as kafka:
            return (_profile if given.profile else _bench)(kafka, contenders, given)
    except FeedbackError as error:
        err.print(f"error: {error}")
        return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--records", type=int, default=int(os.environ.get("RECORDS", "1000000")))
    parser.add_argument("--repeats", type=int, default=int(os.environ.get("REPEATS", "3")))
    rate = "answers a second when they were given: how many share a cell; default: %(default)s"
    parser.add_argument("--rate", type=float, default=float(os.environ.get("RATE", "1000")), help=rate)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "7")))
    names = [one.name for one in CONTENDERS]
    only = os.environ.get("ONLY", "").replace(",", " ").split() or names
    parser.add_argument(
        "--only", nargs="+", choices=names, default=only, metavar="CONTENDER", help=", ".join(names)
    )
    parser.add_argument(
        "--profile", action="store_true", default=os.environ.get("PROFILE", "0") != "0", help=PROFILE
    )
    return parser.parse_args()


def _bench(kafka: Broker, contenders: Sequence[Contender], given: argparse.Namespace) -> int:
    on = report.machine()
    inputs = Inputs(given)
    rounds: list[dict[str, Run]] = []
    for k in range(given.repeats):
        rounds.append({})
        for one in contenders:
            if k < one.repeats:
                rounds[k][one.name] = _run(one, kafka, inputs)
    path = BUILD / f"{on['at'].replace(':', '')}.json"
    report.write(path, on, inputs.usual, rounds)
    report.show(out, on, inputs.usual, contenders, rounds)
    out.print(f"every run: {path}")
    return 0


def _run(contender: Contender, kafka: Broker, inputs: Inputs) -> Run:
    done = run(contender, kafka, inputs.of(contender))
    steps = ", ".join(f"{step.removeprefix('drained: ')} {at:.2f} s" for step, at in done.steps.items())
    err.print(f"{done.contender:16} {done.rate:>10,.0f} records/s, {done.cpu:7.2f} CPU s/M, {steps}")
    if not done.right:
        err.print(f"{done.contender}: WRONG, found {done.found} and not {done.expected}")
    return done


def _profile(kafka: Broker, contenders: Sequence[Contender], given: argparse.Namespace) -> int:
    inputs = Inputs(given)
    for one in contenders:
        if one.checks:  # ours
            out.print(profile(one, kafka, inputs.of(one)))
    out.print(stages(given.records, given.rate))
    out.print(f"stacks and reports: {FOLDER}")
    return 0


class Inputs:
    """The responses that each contender gets, made once.

    Args:
        given: the options.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self._make = partial(responses, given.records, seed=given.seed, rate=given.rate)

    @cached_property
    def usual(self) -> Responses:
        """What nearly all get."""
        err.print("making the responses ...")
        return self._make()

    @cached_property
    def garbage(self) -> Responses:
        """With one in a hundred that cannot be read."""
        return self._make(garbage=GARBAGE)

    def of(self, contender: Contender) -> Responses:
        """What this one gets."""
        sent = self.garbage if contender.garbage else self.usual
        return sent.first(round(len(sent) * contender.share)) if contender.share < 1 else sent


if __name__ == "__main__":
    sys.exit(main())
