"""``python -m benchmarks.side_by_side``: medians of interleaved rounds, as JSON, tables, plots."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.side_by_side import certificates, machine, plots
from benchmarks.side_by_side.cases import Case, cases
from benchmarks.side_by_side.registry import DEFAULT, QUICK, SUBJECTS, Subject
from benchmarks.side_by_side.report import Results, to_json, to_markdown
from benchmarks.side_by_side.rounds import Outcome, one_round, turn
from benchmarks.side_by_side.work import Figures, Work, paced
from tests.interop.bench import free_port
from tests.interop.engines import MissingError

ITEMS = "items"
QUICK_PACE = 0.1
MOST_ROUNDS, MOST_PACE = 1_000, 100.0


def main(words: Sequence[str] | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run(words, Path(folder))
        except KeyboardInterrupt:
            sys.exit("stopped: nothing is written")


def _run(words: Sequence[str] | None, scratch: Path) -> None:
    every = {case.name: case for case in cases(scratch)}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side",
        description="Measures this engine beside others; each turn is two processes on loopback.",
    )
    parser.add_argument("--rounds", type=_count, help="how many (default 5, with --quick 3)")
    parser.add_argument("--quick", action="store_true", help="few cases and subjects")
    parser.add_argument(
        "--subjects",
        help=f"some of {', '.join(SUBJECTS)}, with , between (default: all but guest, with "
        f"--quick {', '.join(QUICK)}); the first that can run is what others are compared with",
    )
    parser.add_argument(
        "--cases",
        help=f"some of: {'; '.join([*every, ITEMS])}; with ; between (default: all, with --quick "
        "those that take little time)",
    )
    parser.add_argument(
        "--pace",
        type=_share,
        help=f"this many times the round trips: 0.5 is half (default 1, with --quick {QUICK_PACE})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/bench"),
        help="the folder of the results; those of an earlier run are replaced (%(default)s)",
    )
    options = parser.parse_args(words)
    quick_cases = [name for name, case in every.items() if case.is_quick]
    default = quick_cases if options.quick else [*every, ITEMS]
    named = _chosen(parser, options.cases, ";", default, [*every, ITEMS])
    subjects = _chosen(parser, options.subjects, ",", QUICK if options.quick else DEFAULT, SUBJECTS)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror or error}")
    certificates.write(scratch)
    results = measure(
        [SUBJECTS[name] for name in subjects],
        [every[name] for name in named if name != ITEMS],
        options.rounds or (3 if options.quick else 5),
        options.pace or (QUICK_PACE if options.quick else 1.0),
        scratch / "compiled",
        with_items=ITEMS in named,
    )
    write(results, options.out)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= (count := int(text)) <= MOST_ROUNDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number in 1..{MOST_ROUNDS}")
    return count


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= MOST_PACE:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, up to {MOST_PACE:g}")
    return share


def _chosen(
    parser: argparse.ArgumentParser,
    given: str | None,
    between: str,
    default: Sequence[str] | dict[str, Subject],
    every: Sequence[str] | dict[str, Subject],
) -> list[str]:
    if given is None:
        return list(default)
    # Each once, in the order in which they are named.
    chosen = list(dict.fromkeys(name for each in given.split(between) if (name := each.strip())))
    gap = f"{between} "
    if unknown := [each for each in chosen if each not in every]:
        parser.error(f"not known: {gap.join(unknown)}; known: {gap.join(every)}")
    if not chosen:
        parser.error(f"nothing is chosen; known: {gap.join(every)}")
    return chosen


def measure(
    subjects: Sequence[Subject],
    chosen: Sequence[Case],
    rounds: int,
    pace: float,
    compiled: Path,
    *,
    with_items: bool,
) -> Results:
    began, load = time.strftime("%Y-%m-%d %H:%M:%S"), machine.load()
    outcomes = {case.name: {each: Outcome() for each in subjects} for case in chosen}
    for subject in subjects:
        if why := missing(subject):
            for of_case in outcomes.values():
                of_case[subject].cannot = f"{subject.title} cannot be installed here: {why}"
    for number in range(rounds):
        for case in chosen:
            print(f"round {number + 1} of {rounds}: {case.name}", flush=True)
            one_round(
                subjects,
                number,
                partial(work_for, case.work, pace),
                outcomes[case.name],
                partial(one_turn, case.patience, compiled),
            )
    header = {
        "begun": began,
        "versions": machine.versions(),
        "machine": machine.machine(),
        "load before": load,
        "load after": machine.load(),
        "rounds": str(rounds),
    }
    by_name = {
        case: {subject.name: outcome for subject, outcome in of_case.items()}
        for case, of_case in outcomes.items()
    }
    return Results(header, subjects, chosen, by_name, items() if with_items else ())


def work_for(work: Work, pace: float, subject: Subject) -> Work:
    return paced(work, pace * subject.pace)


def missing(subject: Subject) -> str:
    """Why it cannot be installed here, or nothing."""
    if subject.engine is None:
        return ""
    try:
        subject.engine.install()
    except MissingError as error:
        return str(error)
    return ""


def one_turn(patience: float, compiled: Path, subject: Subject, work: Work) -> Figures:
    environment = subject.environment(compiled)
    return turn(subject.command(), free_port(), work, patience, environment)


def items() -> Sequence[dict[str, object]]:
    """Both sides take turns in one process; medians, in microseconds."""
    from benchmarks import bench_secs2

    print("items", flush=True)
    rows = []
    for case in bench_secs2.cases():
        ours, theirs = bench_secs2.measured(case)
        rows.append({"case": case.name, "ours": ours, "secsgem": theirs})
    return rows


def write(results: Results, folder: Path) -> None:
    text = json.dumps(to_json(results), indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    tables = to_markdown(results)
    (folder / "results.md").write_text(tables, encoding="utf-8")
    print(tables)
    print(f"written to {folder}: results.json, results.md")
    if find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed; make bench installs it")
        return
    for path in plots.draw(results, folder):
        print(f"written to {folder}: {path.name}")


if __name__ == "__main__":
    main()
