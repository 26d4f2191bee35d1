"""Leads the real driver along tours of the charts, and counts the edges that it has taken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import cache
from typing import NamedTuple

from statecharts import System
from statecharts.explore import Here
from statecharts.explore.graph import Graph
from statecharts.hsms import ACTIVE_LINK, OWNED_LINK, PASSIVE_LINK
from statecharts.hsms.world import World
from statecharts.testgen import coverage, tours
from tests.proof.model import ACTIVE_END, OWNED_END, PASSIVE_END
from tests.proof.outside import link_alone
from tests.support.driven import TOUR_PARAMETERS, Pair, compared, driven

Pairs = Callable[[], AsyncGenerator[Pair, None]]


_ENDS = {ACTIVE_LINK.id: ACTIVE_END, PASSIVE_LINK.id: PASSIVE_END, OWNED_LINK.id: OWNED_END}


class Walked(NamedTuple):
    """The edges that a driver has taken, all edges, and the number of steps and tours."""

    covered: int
    wanted: int
    steps: int
    tours: int


@cache
def graph_of(system: System) -> Graph[Here[World], Here[World]]:
    """The graph of one end whose peer may do anything, without reading and writing."""
    end = _ENDS[system.id]
    return Graph(link_alone(end, {} if end is PASSIVE_END else TOUR_PARAMETERS))


async def walk(system: System, pairs: Pairs) -> Walked:
    """Every edge, on a real driver. Raises `AssertionError` at the first step that differs."""
    graph = graph_of(system)
    made = tours(graph)
    steps = 0
    async with driven(system, pairs, TOUR_PARAMETERS) as end:
        for tour in made:
            await end.restart()
            for stop in tour:
                move = stop.move
                effects, leaves = await end.take(move.event)
                assert effects == compared(move.effects), (move.event, leaves)
                snapshot = graph.states[stop.state].snapshot
                assert leaves == {id: snapshot[id].leaves for id in snapshot.charts}, move.event
                steps += 1
    covered, wanted = coverage(graph, made)
    return Walked(covered, wanted, steps, len(made))
