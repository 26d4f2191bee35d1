"""A counterexample for people: the messages of a sequence diagram."""

from __future__ import annotations

from collections.abc import Iterator

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
    Kind.TIME: "time",
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
