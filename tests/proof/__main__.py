"""`make prove`: searches, properties, obligations, mutants, oracles and tours in one table.

Exits with status 1 when anything does not hold. Run `python -m tests.proof` in the root folder.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import trio

from statecharts import Machine
from statecharts.explore import Checker, Graph, Outcome, alone
from statecharts.explore.alone import WorldState
from statecharts.explore.obligations import Examiner
from statecharts.hsms import ACTIVE_LINK, BREAKER, CHARTS, LINKTEST, PASSIVE_LINK
from statecharts.testgen import coverage, tours
from tests.support.driven import memory_pairs, tcp_pairs
from tests.support.touring import walk

from .binding import machine
from .model import two_ends
from .mutation import Trial, all_mutants
from .oracles.agreement import spin_agreement, xstate_agreement
from .oracles.programs import Agreement, OracleError
from .searches import CHARTS_ALONE, ENDS, EVERYTHING, LINKS, AloneSearch

CORES = min(os.cpu_count() or 1, 2)
# More parts than processes, so that all processes finish at about the same time.
PARTS = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `faults` are printed below it."""

    name: str
    states: str = ""
    transitions: str = ""
    diameter: str = ""
    held: str = ""
    seconds: float = 0.0
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        cells = (self.states, self.transitions, self.diameter)
        numbers = "".join(f"{cell:>13}" for cell in cells)
        return f"{self.name:<28}{numbers}  {self.held:<64}{self.seconds:>7.1f}"


def prove_alone(number: int) -> Row:
    """One link or chart in arbitrary surroundings."""
    if number < len(LINKS):
        return _alone(LINKS[number])
    return _alone(CHARTS_ALONE[number - len(LINKS)])


def _alone(search: AloneSearch[WorldState]) -> Row:
    began = perf_counter()
    model = search.model(machine)
    graph = Graph(model)
    verdicts = Checker(graph).check(search.properties)
    snapshots = (here.snapshot for here in graph.states)
    breaches = tuple(Examiner(model.router).breaches(snapshots, search.duties))
    failed = [str(each) for each in verdicts if each.outcome is not Outcome.HELD]
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
        (*failed, *(str(each) for each in breaches)),
    )


def prove_ends(number: int) -> Row:
    """Two ends under one scenario."""
    gc.disable()
    began = perf_counter()
    search = ENDS[number]
    graph = Graph(search.model(machine))
    searched = perf_counter() - began
    verdicts = Checker(graph).check(search.properties)
    failed = [str(each) for each in verdicts if each.outcome is not Outcome.HELD]
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
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Row(
        "two ends, everything",
        f"{states:,}",
        f"{len(graph.targets):,}",
        "",
        f"no impossible effect; {states / seconds:,.0f} states/s, {megabytes:,} MB",
        seconds,
    )


def prove_mutants(part: int) -> tuple[int, int, tuple[str, ...]]:
    """One part of all mutants: how many are killed, equivalent, and the names of the others."""
    trial = Trial()
    fates = [trial.fate(mutant) for mutant in list(all_mutants())[part::PARTS]]
    alive = tuple(each.mutant for each in fates if each.lives)
    return (
        sum(bool(each.killer) for each in fates),
        sum(bool(each.reason) for each in fates),
        alive,
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


def prove_driver(number: int) -> Row:
    """The real driver along the tours of one end, in memory and over TCP."""
    began = perf_counter()
    system = (ACTIVE_LINK, PASSIVE_LINK)[number]
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
    name = f"driver, {'dialling' if number == 0 else 'listening'} end"
    held = f"edges walked: {', '.join(told)}"
    return Row(name, held=held, seconds=perf_counter() - began, faults=tuple(faults))


def prove_oracle(name: str, ask: Callable[[], Agreement], what: str) -> Row:
    """What an independent program says."""
    began = perf_counter()
    try:
        agreement = ask()
    except OracleError as error:
        faults = (str(error),) if os.environ.get("CI") == "true" else ()
        return Row(name, held=f"not asked: {str(error).splitlines()[0]}"[:64], faults=faults)
    held = f"{agreement.agreed:,} {what} agreed"
    return Row(name, held=held, seconds=perf_counter() - began, faults=agreement.differences)


def _mutants_row(parts: list[Future[tuple[int, int, tuple[str, ...]]]], began: float) -> Row:
    killed = equivalent = 0
    alive: list[str] = []
    for part in parts:
        more, same, living = part.result()
        killed, equivalent, alive = killed + more, equivalent + same, alive + list(living)
    held = f"{killed:,} of {killed + len(alive):,} killed, {equivalent} equivalent"
    return Row("mutants", held=held, seconds=perf_counter() - began, faults=tuple(alive))


def main() -> int:
    """Print each row of the table when it is there. Returns the exit status."""
    began = perf_counter()
    faults = 0

    def show(row: Row) -> None:
        nonlocal faults
        faults += len(row.faults)
        sys.stdout.write("\n".join((str(row), *(f"    {each}" for each in row.faults))) + "\n")
        sys.stdout.flush()

    sys.stdout.write(
        f"{'model':<28}{'states':>13}{'transitions':>13}{'diameter':>13}  {'what holds':<64}"
        f"{'seconds':>7}\n"
    )
    with ProcessPoolExecutor(CORES) as pool:
        scale = pool.submit(prove_scale)
        ends = [pool.submit(prove_ends, number) for number in reversed(range(len(ENDS)))]
        links = range(len(LINKS) + len(CHARTS_ALONE))
        rows = [pool.submit(prove_alone, number) for number in links]
        rows += [
            *reversed(ends),
            scale,
            pool.submit(prove_tours),
            pool.submit(prove_driver, 0),
            pool.submit(prove_driver, 1),
            pool.submit(prove_oracle, "xstate", xstate_agreement, "answers"),
            pool.submit(prove_oracle, "Spin", spin_agreement, "states"),
        ]
        mutants = [pool.submit(prove_mutants, part) for part in range(PARTS)]
        for row in rows:
            show(row.result())
        show(_mutants_row(mutants, began))
    verdict = "all of it holds" if not faults else f"{faults} faults"
    sys.stdout.write(f"{verdict}, {perf_counter() - began:.0f} s on {CORES} cores\n")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
