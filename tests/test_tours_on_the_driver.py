"""The real driver takes every edge of the charts: every event in every state they can come to.

Tours made from the charts lead it there, once over streams in memory and once over TCP, in both
roles. At each step the effects, in order, and the state of every chart must be what the charts say.
"""

from collections.abc import AsyncGenerator, Callable

import pytest
import trio

from statecharts import System
from statecharts.explore import Here
from statecharts.explore.graph import Graph
from statecharts.hsms import ACTIVE_LINK, PASSIVE_LINK
from statecharts.hsms.model import ACTIVE_END, PASSIVE_END
from statecharts.hsms.outside import link_alone
from statecharts.hsms.world import World
from statecharts.testgen import coverage, tours
from tests.support.driven import TOUR_PARAMETERS, Pair, compared, driven, memory_pairs, tcp_pairs

Pairs = Callable[[], AsyncGenerator[Pair, None]]

GRAPHS = {
    ACTIVE_LINK: Graph(link_alone(ACTIVE_END, TOUR_PARAMETERS)),
    PASSIVE_LINK: Graph(link_alone(PASSIVE_END, {})),
}


def expected_leaves(graph: Graph[Here[World], Here[World]], state: int) -> dict[str, str]:
    snapshot = graph.states[state].snapshot
    return {id: snapshot[id].leaves for id in snapshot.charts}


@pytest.mark.parametrize("system", [ACTIVE_LINK, PASSIVE_LINK], ids=["dials", "listens"])
@pytest.mark.parametrize("pairs", [memory_pairs, tcp_pairs], ids=["memory", "tcp"])
async def test_the_driver_takes_every_edge_of_the_charts(system: System, pairs: Pairs) -> None:
    graph = GRAPHS[system]
    made = tours(graph)
    steps = 0
    with trio.fail_after(120):
        async with driven(system, pairs, TOUR_PARAMETERS) as end:
            for tour in made:
                await end.restart()
                for stop in tour:
                    move = stop.move
                    effects, leaves = await end.take(move.event)
                    assert effects == compared(move.effects), (move.event, leaves)
                    assert leaves == expected_leaves(graph, stop.state), move.event
                    steps += 1
    covered, wanted = coverage(graph, made)
    print(f"{system.id}: {covered} of {wanted} edges in {steps} steps of {len(made)} tours")
    assert covered == wanted == graph.statistics().transitions
