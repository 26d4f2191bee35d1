"""`make prove`: searches, properties, obligations, mutants, oracles and tours in one table.

Run `python -m tests.proof [--all] [--seed N] [--record FOLDER]` in the root folder. It tries a
sample of the mutants, and random settings with clocks, both chosen by the seed; `--all` tries every
mutant and many more settings, and adds the largest search of two ends. `--record` writes each
counterexample of a search without clocks as a recording. It exits with status 1 when anything does
not hold, and with 2 when nothing fails and an oracle could not be asked: the last line names it.
Where `CI` is "true", that is a failure too.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeVar

import trio

from statecharts import Machine
from statecharts.explore import BrokenModelError, Checker, Graph, Outcome, Verdict, alone
from statecharts.explore.alone import Alone, Here, WorldState
from statecharts.explore.moves import ImpossibleMoveError
from statecharts.explore.obligations import Breach, Examiner
from statecharts.hsms import (
    ACTIVE_LINK,
    BREAKER,
    CHARTS,
    LINKTEST,
    OWNED_LINK,
    PASSIVE_LINK,
)
from statecharts.testgen import coverage, tours
from tests.support.driven import memory_pairs, tcp_pairs
from tests.support.memory import peak_megabytes
from tests.support.touring import walk

from .binding import machine
from .lease_searches import FAULTS, LONGEST
from .lease_searches import SEARCHES as LEASE_SEARCHES
from .model import two_ends
from .mutation import Court, all_mutants, sample
from .oracles.agreement import spin_agreement, xstate_agreement
from .oracles.programs import Agreement, OracleError
from .recording import Found, Searched, write
from .searches import (
    CHARTS_ALONE,
    ENDS,
    EVERYTHING,
    LINKS,
    OWNED_LINKS,
    SETTINGS,
    AloneSearch,
    settings_of,
)
from .timed_mutants import TIME_MUTANTS
from .timed_searches import DEFAULTS, Checked, cases, check, search

CORES = min(os.cpu_count() or 1, 2)
# More parts than processes, so that all processes finish at about the same time.
PARTS = 24
# How many mutants are tried, and how many of them, in percent, the properties must kill alone.
SAMPLE = 600
UNAIDED = 90
# How many random settings are searched with clocks: of a sample, and of all.
VECTORS, ALL_VECTORS = 60, 1_000

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `faults` are printed below it. `unasked` says why there is no answer.

    `seconds` are those of all parts of the work, which may run at the same time.
    """

    name: str
    states: str = ""
    transitions: str = ""
    diameter: str = ""
    held: str = ""
    seconds: float = 0.0
    faults: tuple[str, ...] = ()
    unasked: str = ""

    def __str__(self) -> str:
        cells = (self.states, self.transitions, self.diameter)
        numbers = "".join(f"{cell:>13}" for cell in cells)
        return f"{self.name:<28}{numbers}  {self.held:<64}{self.seconds:>7.1f}"


def prove_alone(number: int, folder: Path | None) -> Row:
    """One link or chart in arbitrary surroundings. Counterexamples are recorded in the folder."""
    links = (*LINKS, *OWNED_LINKS)
    if number < len(links):
        return _alone(links[number], folder)
    return _alone(CHARTS_ALONE[number - len(links)], folder)


def _alone(search: AloneSearch[WorldState], folder: Path | None) -> Row:
    began = perf_counter()
    model = search.configured(machine)
    try:
        graph = Graph(model)
    except BrokenModelError as error:
        return _broken(search.name, error, model, folder, began)
    verdicts = Checker(graph).check(search.properties)
    # The obligations are written for the first parameters.
    snapshots = (here.snapshot for here in graph.states if here.setting == 0)
    breaches = tuple(Examiner(model.router).breaches(snapshots, search.duties))
    failed = _failed(search.name, verdicts, model, folder)
    broken = {each.obligation.clause for each in breaches}
    kept = len({duty.clause for duty in search.duties} - broken)
    found = graph.statistics()
    return Row(
        search.name,
        f"{found.states:,}",
        f"{found.transitions:,}",
        str(found.diameter),
        f"{len(verdicts) - len(failed)} properties hold, {kept} obligations fulfilled",
        perf_counter() - began,
        (*failed, *_unfulfilled(search.name, breaches, graph, model, folder)),
    )


def _failed(
    search: str, verdicts: Sequence[Verdict], model: Searched[WorldState], folder: Path | None
) -> list[str]:
    """The claims that do not hold, each with the file of its counterexample."""
    failed = []
    for each in verdicts:
        if each.outcome is not Outcome.HELD:
            kept = ""
            if folder is not None and each.trace is not None:
                found = Found(search, each.name, each.says, each.trace)
                kept = f"\n  recorded: {write(found, model, folder)}"
            failed.append(f"{each}{kept}")
    return failed


def _unfulfilled(
    search: str,
    breaches: Sequence[Breach],
    graph: Graph[Here[WorldState], Here[WorldState]],
    model: Alone[WorldState],
    folder: Path | None,
) -> Iterator[str]:
    """The broken obligations; the first of each clause with the file of a way to it."""
    recorded: set[str] = set()
    for each in breaches:
        clause, kept = each.obligation.clause, ""
        if folder is not None and each.event and clause not in recorded:
            recorded.add(clause)
            number, state = next(
                (number, here)
                for number, here in enumerate(graph.states)
                if here.setting == 0 and here.snapshot == each.snapshot
            )
            trace = graph.trace(number)
            # An event that the charts refuse is only in what is said.
            with suppress(ImpossibleMoveError):
                move, after = model.step(state, each.event)
                trace = trace.then(model.moves[move], model.describe(after))
            found = Found(search, clause, str(each), trace)
            kept = f"\n  recorded: {write(found, model, folder)}"
        yield f"{each}{kept}"


def _broken(
    search: str,
    error: BrokenModelError,
    model: Searched[WorldState],
    folder: Path | None,
    began: float,
) -> Row:
    """A search that has ended at a move that cannot be made."""
    kept = ""
    if folder is not None:
        found = Found(search, "impossible move", str(error.error), error.trace)
        kept = f"\n  recorded: {write(found, model, folder)}"
    return Row(search, seconds=perf_counter() - began, faults=(f"{error}{kept}",))


def prove_settings() -> Row:
    """Each chart with parameters, changed from every snapshot to every other value."""
    began = perf_counter()
    graphs = [Graph(settings_of(chart)) for chart in CHARTS if chart.id in SETTINGS]
    states = sum(len(graph.states) for graph in graphs)
    moves = sum(len(graph.targets) for graph in graphs)
    held = "every parameter changes in every snapshot, and no step is impossible"
    return Row(
        "charts, settings changed", f"{states:,}", f"{moves:,}", "", held, perf_counter() - began
    )


def prove_ends(number: int, folder: Path | None) -> Row:
    """Two ends under one scenario. Counterexamples are recorded in the folder."""
    gc.disable()
    began = perf_counter()
    search = ENDS[number]
    model = search.model(machine)
    try:
        graph = Graph(model)
    except BrokenModelError as error:
        return _broken(search.name, error, model, folder, began)
    searched = perf_counter() - began
    verdicts = Checker(graph).check(search.properties)
    failed = _failed(search.name, verdicts, model, folder)
    found = graph.statistics()
    return Row(
        search.name,
        f"{found.states:,}",
        f"{found.transitions:,}",
        str(found.diameter),
        f"{len(verdicts) - len(failed)} properties hold; {found.states / searched:,.0f} states/s",
        perf_counter() - began,
        tuple(failed),
    )


def prove_scale() -> Row:
    """The largest scenario: only the search, in which no impossible effect may occur."""
    gc.disable()
    began = perf_counter()
    graph = Graph(two_ends(EVERYTHING))
    seconds = perf_counter() - began
    states = len(graph.states)
    return Row(
        "two ends, everything",
        f"{states:,}",
        f"{len(graph.targets):,}",
        "",
        f"no impossible effect; {states / seconds:,.0f} states/s, {peak_megabytes():,} MB",
        seconds,
    )


def prove_leases(number: int) -> Row:
    """Two processes and a store of leases."""
    gc.disable()
    began = perf_counter()
    search = LEASE_SEARCHES[number]
    graph, verdicts = search.check()
    faults = [str(each) for each in verdicts if each.outcome is not Outcome.HELD]
    states = len(graph.states)
    if states != search.states:
        faults.append(f"{states:,} states, not {search.states:,}")
    return Row(
        search.name,
        f"{states:,}",
        f"{len(graph.targets):,}",
        held=f"{len(verdicts) - len(faults)} properties hold",
        seconds=perf_counter() - began,
        faults=tuple(faults),
    )


def prove_takeover() -> Row:
    """The bounds of a take-over, and the faults of a lease."""
    gc.disable()
    began = perf_counter()
    faults: list[str] = []
    states = 0
    for each, design in LONGEST:
        found, run = each.search(design)
        states += found
        if run.ticks != each.expected(design):
            faults.append(f"{each.begins_with}: {run}\nnot {each.expected(design)} ticks")
    faults += [f"not noticed: {each.name}" for each in FAULTS if not list(each.noticed_by())]
    return Row(
        "leases, take-over",
        f"{states:,}",
        held=f"{len(LONGEST)} bounds are as the formulas say; {len(FAULTS)} faults noticed",
        seconds=perf_counter() - began,
        faults=tuple(faults),
    )


@dataclass(frozen=True, slots=True)
class Timed:
    """What searches with clocks found."""

    found: Checked
    seconds: float


def prove_time(count: int, seed: int, part: int) -> Timed:
    """One part of the random settings."""
    gc.disable()
    began = perf_counter()
    return Timed(check(list(cases(count, seed))[part::PARTS]), perf_counter() - began)


def prove_defaults() -> Row:
    """The bounds of the default settings, faults of time, and what each timer ends."""
    gc.disable()
    began = perf_counter()
    found = search(DEFAULTS)
    faults = list(found.differences())
    for mutant in TIME_MUTANTS:
        faults += [f"without {mutant.fault}: {each}" for each in mutant.without_fault()]
        if not mutant.killed_by():
            faults.append(f"not noticed: {mutant.fault}")
    ticks = (found.recovery.ticks, found.detection["active"].ticks)
    back, noticed = (math.inf if each is None else each / 2 for each in ticks)
    return Row(
        "time, default settings",
        f"{found.states:,}",
        held=f"back within {back:g} s, silence noticed within {noticed:g} s; "
        f"{len(TIME_MUTANTS)} faults noticed",
        seconds=perf_counter() - began,
        faults=tuple(faults),
    )


def _time_row(parts: Sequence[Timed]) -> Row:
    found = [part.found for part in parts]
    unbounded = sum(each.unbounded for each in found)
    return Row(
        "time, random settings",
        f"{sum(each.states for each in found):,}",
        held=f"{sum(each.cases for each in found):,} settings are as the formulas say, "
        f"{unbounded} of them without a bound",
        seconds=sum(part.seconds for part in parts),
        faults=tuple(difference for each in found for difference in each.differences),
    )


@dataclass(frozen=True, slots=True)
class Score:
    """What became of some mutants. ``alive`` are those that no check notices."""

    killed: int
    unaided: int
    equivalent: int
    alive: tuple[str, ...]
    seconds: float


@cache
def _court() -> Court:
    """One for each process."""
    return Court()


def prove_mutants(size: int | None, seed: int, part: int) -> Score:
    """One part of all mutants, or of a sample of this size."""
    # A search in this process may have switched it off, and each mutant leaves garbage. What is
    # there already stays.
    gc.freeze()
    gc.enable()
    began = perf_counter()
    tried = all_mutants() if size is None else sample(size, seed)
    fates = [_court().fate(mutant) for mutant in tried[part::PARTS]]
    return Score(
        sum(bool(each.killer) for each in fates),
        sum(bool(each.unaided) for each in fates),
        sum(bool(each.reason) for each in fates),
        tuple(each.mutant for each in fates if each.lives),
        perf_counter() - began,
    )


def _mutants_row(scores: Sequence[Score]) -> Row:
    killed, unaided = sum(each.killed for each in scores), sum(each.unaided for each in scores)
    alive = tuple(mutant for each in scores for mutant in each.alive)
    tried, equivalent = killed + len(alive), sum(each.equivalent for each in scores)
    share = 100 * unaided / tried
    weak = () if share >= UNAIDED else (f"less than {UNAIDED} % without obligations",)
    return Row(
        f"mutants ({tried + equivalent:,})",
        held=f"{killed:,} of {tried:,} killed, {share:.1f} % without obligations; "
        f"{equivalent} equivalent",
        seconds=sum(each.seconds for each in scores),
        faults=(*weak, *alive),
    )


def prove_tours() -> Row:
    """Tours through every edge of every chart."""
    began = perf_counter()
    covered = wanted = steps = 0
    parameters = {BREAKER.id: {"threshold": 2}, LINKTEST.id: {"linktest_threshold": 2}}
    for chart in CHARTS:
        graph = Graph(alone(Machine(chart, **parameters.get(chart.id, {}))))
        made = tours(graph)
        found, total = coverage(graph, made)
        covered, wanted, steps = covered + found, wanted + total, steps + sum(map(len, made))
    faults = () if covered == wanted else (f"{wanted - covered} edges are not covered",)
    held = f"{covered} of {wanted} edges covered, {steps} steps"
    return Row("tours of all charts", held=held, seconds=perf_counter() - began, faults=faults)


_DRIVEN = (
    (ACTIVE_LINK, "dialling end"),
    (PASSIVE_LINK, "listening end"),
    (OWNED_LINK, "owned link"),
)


def prove_driver(number: int) -> Row:
    """The real driver along the tours of one end, in memory and over TCP."""
    began = perf_counter()
    system, end = _DRIVEN[number]
    faults: list[str] = []
    told: list[str] = []
    for way, pairs in (("memory", memory_pairs), ("TCP", tcp_pairs)):
        try:
            walked = trio.run(walk, system, pairs)
        except* AssertionError as errors:
            faults.append(f"over {way}: {errors.exceptions}")
        else:
            told.append(f"{walked.covered} of {walked.wanted} over {way}")
            if walked.covered != walked.wanted:
                faults.append(f"over {way}: not every edge is walked")
    name = f"driver, {end}"
    held = f"edges walked: {', '.join(told)}"
    return Row(name, held=held, seconds=perf_counter() - began, faults=tuple(faults))


def prove_oracle(name: str, ask: Callable[[], Agreement], what: str) -> Row:
    """What an independent program says."""
    began = perf_counter()
    try:
        agreement = ask()
    except OracleError as error:
        why = str(error).splitlines()[0]
        faults = (str(error),) if os.environ.get("CI") == "true" else ()
        return Row(name, held=f"not asked: {why}"[:64], faults=faults, unasked=f"{name} ({why})")
    held = f"{agreement.agreed:,} {what} agreed"
    return Row(name, held=held, seconds=perf_counter() - began, faults=agreement.differences)


@dataclass(frozen=True, slots=True)
class Job(Generic[Part]):
    """Work for one row of the table, in parts that processes do. The heaviest is begun first."""

    parts: tuple[partial[Part], ...]
    row: Callable[[Sequence[Part]], Row]
    weight: int = 1


def _only(rows: Sequence[Row]) -> Row:
    (row,) = rows
    return row


def _job(work: Callable[..., Row], *arguments: object, weight: int = 1) -> Job[Row]:
    """A row that one process makes."""
    return Job((partial(work, *arguments),), _only, weight)


_ALONE = len(LINKS) + len(OWNED_LINKS) + len(CHARTS_ALONE)


def jobs(whole: bool, seed: int, folder: Path | None = None) -> tuple[Job[Any], ...]:
    """All that is proved, in the order of the table. ``whole``: without sampling.

    ``folder``: where counterexamples are recorded.
    """
    size, vectors = (None, ALL_VECTORS) if whole else (SAMPLE, VECTORS)
    return (
        *(_job(prove_alone, number, folder) for number in range(_ALONE)),
        _job(prove_settings),
        *(_job(prove_ends, number, folder, weight=2 + number) for number in range(len(ENDS))),
        *((_job(prove_scale, weight=100),) if whole else ()),
        *(
            _job(prove_leases, number, weight=5 + 20 * search.large)
            for number, search in enumerate(LEASE_SEARCHES)
            if whole or not search.large
        ),
        _job(prove_takeover, weight=30),
        _job(prove_defaults, weight=20),
        Job(
            tuple(partial(prove_time, vectors, seed, part) for part in range(PARTS)),
            _time_row,
        ),
        _job(prove_tours),
        *(_job(prove_driver, number) for number in range(len(_DRIVEN))),
        _job(prove_oracle, "xstate", xstate_agreement, "answers"),
        _job(prove_oracle, "Spin", spin_agreement, "states", weight=2),
        Job(
            tuple(partial(prove_mutants, size, seed, part) for part in range(PARTS)),
            _mutants_row,
            weight=0,
        ),
    )


def verdict(rows: Sequence[Row]) -> tuple[str, int]:
    """The last words about these rows, and the exit status."""
    faults = sum(len(row.faults) for row in rows)
    unasked = [row.unasked for row in rows if row.unasked]
    missing = f"; not asked: {', '.join(unasked)}" if unasked else ""
    if faults:
        return f"{faults} faults{missing}", 1
    return (f"all that was asked holds{missing}", 2) if unasked else ("all of it holds", 0)


def prove(work: Sequence[Job[Any]]) -> int:
    """Do the work and print each row of the table when it is there. Returns the exit status."""
    began = perf_counter()
    rows: list[Row] = []
    sys.stdout.write(
        f"{'model':<28}{'states':>13}{'transitions':>13}{'diameter':>13}  {'what holds':<64}"
        f"{'seconds':>7}\n"
    )
    with ProcessPoolExecutor(CORES) as pool:
        heaviest = sorted(work, key=lambda job: -job.weight)
        begun = {id(job): [pool.submit(part) for part in job.parts] for job in heaviest}
        for job in work:
            row = job.row([part.result() for part in begun[id(job)]])
            rows.append(row)
            sys.stdout.write("\n".join((str(row), *(f"    {each}" for each in row.faults))) + "\n")
            sys.stdout.flush()
    words, status = verdict(rows)
    sys.stdout.write(f"{words}, {perf_counter() - began:.0f} s on {CORES} cores\n")
    return status


def main(arguments: list[str] | None = None) -> int:
    """Read the arguments and prove. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof")
    whole = f"every mutant, {ALL_VECTORS:,} settings, not {VECTORS}, and the largest search"
    parser.add_argument("--all", action="store_true", help=whole)
    parser.add_argument("--seed", type=int, default=0, help="chooses the mutants and the settings")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="record counterexamples")
    given = parser.parse_args(arguments)
    if given.record is not None:
        try:
            given.record.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"--record: {error}")
    return prove(jobs(given.all, given.seed, given.record))


if __name__ == "__main__":
    sys.exit(main())
