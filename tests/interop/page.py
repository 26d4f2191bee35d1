"""``docs/interop.md``, made of the results of a run."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from datetime import date

import hsms_engine
from tests.interop.bench import DIRECTIONS
from tests.interop.engines import Engine, MissingError
from tests.interop.faults import FAULTS
from tests.interop.run import Cannot, Results, in_words, met_in_all

HEAD = """\
# With other engines

Made by `make interop`; do not edit it. Every HSMS engine that a package registry has runs as a
process of its own beside this one, over TCP, in both directions. A number says how often a case was
done. The name of a fault says what the other engine did instead; such faults are told apart by what
was on the wire and what its process said, and are listed below. Anything else fails the run.
"""


def page(results: Results, left_out: Mapping[Engine, MissingError], day: date) -> str:
    """The whole page."""
    return "\n".join(_lines(results, left_out, day)) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _lines(results: Results, left_out: Mapping[Engine, MissingError], day: date) -> Iterator[str]:
    engines = list(dict.fromkeys(engine for engine, _, _ in results))
    cases = list(dict.fromkeys(case for _, _, case in results))
    yield HEAD
    yield (
        f"Run on {day:%Y-%m-%d} with hsms-engine {hsms_engine.__version__}, "
        f"Python {platform.python_version()}, {platform.system()}."
    )
    yield ""
    for engine in engines:
        yield f"* {engine.title} ({engine.registry})"
    for engine, error in left_out.items():
        yield f"* {engine.title} ({engine.registry}) was left out: {error}"
    yield ""
    yield _row(["case", *(f"{engine.name}, {who}" for engine in engines for who in DIRECTIONS)])
    yield "|---" * (1 + len(engines) * len(DIRECTIONS)) + "|"
    for case in cases:
        outcomes = (results[engine, who, case] for engine in engines for who in DIRECTIONS)
        yield _row([case, *map(in_words, outcomes)])
    yield "\n## What an engine cannot do\n"
    reasons = {
        (engine.title, case, outcome.why): None
        for (engine, _, case), outcome in results.items()
        if isinstance(outcome, Cannot)
    }
    for title, case, why in reasons:
        yield f"* {title}, {case}: {why}"
    yield "\n## Faults of other engines\n"
    yield _row(["fault", "of", "what it does", "recognised by", "what is done", "met"])
    yield "|---|---|---|---|---|---|"
    met = met_in_all(results)
    for fault in FAULTS:
        again = f"tried again in a new process, at most {fault.retries} times in a row"
        yield _row(
            [
                f"`{fault.id}`",
                ", ".join(engine.title for engine in fault.engines),
                fault.what,
                fault.recognised,
                again if fault.retries else "the case is left at that",
                str(met[fault.id]),
            ]
        )
