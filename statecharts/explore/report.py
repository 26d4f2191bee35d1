"""A counterexample for people and for pytest: a sequence diagram, and a test that replays it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..refusals import expect
from .graph import Trace
from .moves import Kind, Move

_SOURCES = {
    Kind.USER: "user",
    Kind.PEER: "peer",
    Kind.TIMER: "timer",
    Kind.REPORT: "network",
    Kind.FAULT: "network",
    Kind.REPAIR: "network",
}


def messages(trace: Trace) -> list[tuple[str, str, str, str]]:
    """(from, to, label, note) of every step, as ``statecharts.draw.sequence`` draws them."""
    expect(trace, Trace)
    actors = list(dict.fromkeys(move.actor for move in trace.moves))
    return list(_messages(trace, actors))


def _messages(trace: Trace, actors: list[str]) -> Iterator[tuple[str, str, str, str]]:
    for number, move in enumerate(trace.moves):
        if number == trace.loop:
            yield "", "", "from here for ever", ""
        before, after = trace.parts[number], trace.parts[number + 1]
        changes = (f"{part}: {after[part]}" for part in after if after[part] != before[part])
        yield _source(move, actors), move.actor, move.carries or move.event, "\n".join(changes)


def _source(move: Move, actors: list[str]) -> str:
    if move.kind is not Kind.DELIVERY:
        return _SOURCES[move.kind]
    others = [actor for actor in actors if actor != move.actor]
    return others[0] if others else "peer"


_TEST = '''"""{title}

Written by the checker from a counterexample. It passes once the fault is gone from the charts.
"""

from tests.support.counterexample import replay
from tests.support.virtual import virtual_time as virtual_time

STEPS = [
{steps}
]


async def test_{name}() -> None:
    await replay({model!r}, STEPS, {parameters!r})
'''


def pytest_file(
    name: str,
    title: str,
    model: str,
    trace: Trace,
    parameters: Mapping[str, Mapping[str, int]],
) -> str:
    """The text of a pytest file that replays the trace.

    ``replay(model, steps, parameters)`` of ``tests/support/counterexample.py`` gives each (actor,
    event, effects) to the real driver of this end in ``model`` and compares the effects, as text.
    """
    steps = "\n".join(
        f"    ({move.actor!r}, {move.event!r}, {[str(each) for each in move.effects]!r}),"
        for move in trace.moves
    )
    bound = {chart: dict(values) for chart, values in parameters.items()}
    return _TEST.format(name=name, title=title, model=model, steps=steps, parameters=bound)
