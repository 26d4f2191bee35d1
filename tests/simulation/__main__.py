"""``python -m tests.simulation``: run the plans of many seeds, or of those that are given."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp

from statecharts.hsms.systems import CHARTS
from tests.simulation.plan import CALLS, FAULTS, Plan, make_plan, parse_plan, plan_text
from tests.simulation.run import run_plan
from tests.simulation.seeds import count, monitors_here
from tests.simulation.shrink import shrink
from tests.simulation.watch import Report

# With so many seeds, all of ``expected`` must have come about.
ENOUGH = 2_000


def expected() -> set[str]:
    """What so many seeds must bring about: every fault, every call, and the errors of calls."""
    return {
        *(f"action {each}" for each in (*FAULTS, *CALLS)),
        *(f"request: {each}" for each in ("done", "given up", "ReplyTimeoutError", "AbortedError")),
        *(f"request: {each}" for each in ("LinkDownError", "ConnectionLostError", "ClosedError")),
        *(f"connect: {each}" for each in ("done", "SelectRefusedError", "CircuitOpenError")),
        *(f"once: {each}" for each in ("done", "ConnectError", "SelectRefusedError")),
        *(f"event {each}" for each in _EVENTS),
        "configure: done",
        "release: LocalProtocolError",
        "effect ResetTcp()",
    }


_EVENTS = (
    "Idle Connecting Selecting NotSelected Selected Separating Waiting Blocked Closed "
    "BreakerOpened BreakerHalfOpen BreakerProbing BreakerClosed BreakerIsolated Unsent "
    "UnexpectedSecondary"
).split()


def explain(plan: Plan) -> Report:
    """Make the plan smaller, print it and its log, and record both plans."""
    monitors = monitors_here()
    fault = _kind(run_plan(plan, monitors).fault)
    small = shrink(plan, lambda smaller: _kind(run_plan(smaller, monitors).fault) == fault)
    report = run_plan(small)
    print(f"\nseed {plan.seed}: {report.fault}")
    print(f"again: {sys.executable} -m tests.simulation {plan.seed} --verbose")
    small_again = shlex.quote(plan_text(small))
    print(
        f"the smallest again: {sys.executable} -m tests.simulation --plan {small_again} --verbose"
    )
    print(f"smallest plan that fails ({len(small.actions)} of {len(plan.actions)} actions):")
    print(small)
    print("its log ends:")
    for line in report.log[-40:]:
        print(f"  {line}")
    try:
        folder = Path(mkdtemp(prefix="hsms-simulation-"))
        for what, each, name in (("whole", plan, ""), ("smallest", small, "-smallest")):
            path = folder / f"seed-{plan.seed}{name}.jsonl"
            _record(each, path)
            print(f"recording, {what}: {path}")
    except OSError as error:
        print(f"not recorded: {error}")
    return report


def _record(plan: Plan, path: Path) -> None:
    """Run the plan once more, into a file."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        run_plan(plan, record=file)


def _kind(fault: str) -> str:
    """What went wrong, without the numbers."""
    return re.sub(r"[-0-9.]+", "", fault)[:40]


def _figure(theme: str) -> None:
    began = time.process_time()
    report = run_plan(make_plan(0, "quiet" if theme == "quiet" else "chatty"))
    assert not report.fault, report.fault
    hours, minutes = report.link_seconds / 3_600, (time.process_time() - began) / 60
    print(f"{theme} users: {hours / minutes:.0f} link-hours in a minute of CPU")


def _print_sometimes(counts: Counter[str]) -> None:
    print("\nhow often something came about")
    for what, number in sorted(counts.items()):
        print(f"{number:>10} {what}")
    never = [
        f"{chart.id}: {transition}"
        for chart in CHARTS
        for transition in chart.transitions
        # No link of a storm has a lease.
        if not counts[f"{chart.id}: {transition}"] and chart.id not in ("transaction", "lease")
    ]
    for what in never:
        print(f"{'never':>10} {what}")


def main(arguments: list[str] | None = None) -> int:
    """Run it. Returns 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="*", type=int, help="run these, and explain what fails")
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--plan", action="append", default=[], help="run this, as it was printed")
    parser.add_argument("--verbose", action="store_true", help="print each log and plan")
    parser.add_argument("--quiet-users", action="store_true", help="measure one quiet link")
    parser.add_argument("--chatty-users", action="store_true", help="measure one chatty link")
    parser.add_argument("--record", type=Path, metavar="FILE", help="record the run of one seed")
    given = parser.parse_args(arguments)
    if given.quiet_users or given.chatty_users:
        if given.quiet_users:
            _figure("quiet")
        if given.chatty_users:
            _figure("chatty")
        return 0
    plans = [*map(make_plan, given.seed), *map(parse_plan, given.plan)]
    if given.record is not None:
        if len(plans) != 1:
            parser.error(f"--record is for one seed or one plan, and {len(plans)} are given")
        try:
            _record(plans[0], given.record)
        except OSError as error:
            parser.error(f"--record: {error}")
    if plans:
        return _run_some(plans, verbose=given.verbose)
    return _run_many(range(given.first, given.first + given.seeds), given.jobs)


def _run_some(plans: list[Plan], *, verbose: bool) -> int:
    failed = 0
    for plan in plans:
        report = run_plan(plan)
        if verbose:
            print(plan)
            print("\n".join(report.log))
        if report.fault:
            failed += 1
            explain(plan)
        else:
            print(f"seed {plan.seed}: all is well, in {report.link_seconds:.0f} link-seconds")
    return 1 if failed else 0


def _run_many(seeds: range, jobs: int) -> int:
    began, done = time.monotonic(), 0
    faults: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    link_seconds = cpu = 0.0
    for number, found, counted, seconds, used in count(seeds, jobs):
        done += number
        faults += found
        counts.update(counted)
        link_seconds += seconds
        cpu += used
        for seed, fault in found:
            print(f"seed {seed}: {fault}", flush=True)
    _print_sometimes(counts)
    print(
        f"\n{done} seeds, {link_seconds / 3_600:.0f} link-hours, {len(faults)} faults, "
        f"{time.monotonic() - began:.0f} s, {1_000 * cpu / max(done, 1):.0f} ms of CPU each"
    )
    missing = sorted(each for each in expected() if not counts[each]) if done >= ENOUGH else []
    for what in missing:
        print(f"never in {done} seeds: {what}")
    if faults:
        seed, _ = faults[0]
        explain(make_plan(seed))
    return 1 if faults or missing else 0


if __name__ == "__main__":
    sys.exit(main())
