"""Runs the cases, and writes what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

import trio

from tests.interop.bench import DIRECTIONS, PATIENCE, Bench, Direction, run_peer
from tests.interop.cases import TROUBLE, Case
from tests.interop.engines import Engine
from tests.interop.faults import CANNOT, Fault, Trouble, recognise


@dataclass(frozen=True, slots=True)
class Passed:
    """Done ``times`` times; ``met`` counts the faults of the engine that were tried again."""

    times: int
    met: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Faulty:
    """The engine has a fault that always comes."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Cannot:
    """The engine cannot do this by design."""

    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Not recognised, or recognised too often."""

    trouble: Trouble
    met: Counter[str]


Outcome = Passed | Faulty | Cannot | Failed

Results = dict[tuple[Engine, Direction, str], Outcome]


async def try_case(engine: Engine, direction: Direction, case: Case) -> Outcome:
    """Do a case as often as it says; after trouble go on in a new process, if it is excused."""
    if why := CANNOT.get((engine, case.name)):
        return Cannot(why)
    met: Counter[str] = Counter()
    done = 0
    # Since it was last done.
    excused = 0
    while True:
        async with run_peer(engine) as peer:
            bench = Bench(engine, direction, peer)
            try:
                while done < case.times:
                    bench.wire.clear()
                    with trio.fail_after(2 * PATIENCE):
                        done += await case.run(bench)
                    excused = 0
            except TROUBLE as error:
                why = f"{type(error).__name__}: {error}"
            else:
                return Passed(done, met)
        trouble = Trouble(why, tuple(bench.wire), bench.peer.said)
        fault = recognise(engine, trouble)
        if fault is not None and fault.retries == 0:
            return Faulty(fault)
        if fault is None or excused == fault.retries:
            return Failed(trouble, met)
        met[fault.id] += 1
        excused += 1


async def try_all(engines: Sequence[Engine], cases: Sequence[Case]) -> Results:
    """All cases, both directions of an engine side by side. Each is printed when it is done."""
    results: Results = {}

    async def try_one_way(engine: Engine, direction: Direction) -> None:
        for case in cases:
            outcome = await try_case(engine, direction, case)
            results[engine, direction, case.name] = outcome
            print(f"{engine.title}, {direction}, {case.name}: {in_words(outcome)}", flush=True)

    for engine in engines:
        async with trio.open_nursery() as nursery:
            for direction in DIRECTIONS:
                nursery.start_soon(try_one_way, engine, direction)
    return results


def in_words(outcome: Outcome) -> str:
    """One cell of the table."""
    match outcome:
        case Passed(times, met):
            return "; ".join([str(times), *(f"{each}: {met[each]}" for each in sorted(met))])
        case Faulty(fault):
            return fault.id
        case Cannot():
            return "cannot"
        case Failed(trouble):
            return f"FAILED: {trouble.why}"
        case _:
            assert_never(outcome)


def explain(failed: Failed) -> str:
    """What is known of a failure."""
    trouble = failed.trouble
    return "\n".join(
        [
            trouble.why,
            f"met before: {dict(failed.met)}",
            f"the last messages: {', '.join(trouble.wire[-40:])}",
            f"it said:\n{trouble.said[-4_000:]}",
        ]
    )


def met_in_all(results: Results) -> Counter[str]:
    """How often each fault was met."""
    met: Counter[str] = Counter()
    for outcome in results.values():
        match outcome:
            case Passed(met=again) | Failed(met=again):
                met.update(again)
            case Faulty(fault):
                met[fault.id] += 1
            case Cannot():
                pass
            case _:
                assert_never(outcome)
    return met
