"""The real driver takes every edge of the charts: every event in every state they can come to.

Tours made from the charts lead it there, once over streams in memory and once over TCP, in both
roles, and with a lease. At each step the effects, in order, and the state of every chart must be
what the charts say.
"""

import pytest
import trio

from statecharts import System
from statecharts.hsms import ACTIVE_LINK, OWNED_LINK, PASSIVE_LINK
from tests.support.driven import memory_pairs, tcp_pairs
from tests.support.patience import PATIENCE
from tests.support.touring import Pairs, graph_of, walk


@pytest.mark.parametrize(
    "system", [ACTIVE_LINK, PASSIVE_LINK, OWNED_LINK], ids=["dials", "listens", "owned"]
)
@pytest.mark.parametrize("pairs", [memory_pairs, tcp_pairs], ids=["memory", "tcp"])
async def test_the_driver_takes_every_edge_of_the_charts(system: System, pairs: Pairs) -> None:
    with trio.fail_after(PATIENCE):
        walked = await walk(system, pairs)
    print(
        f"{system.id}: {walked.covered} of {walked.wanted} edges "
        f"in {walked.steps} steps of {walked.tours} tours"
    )
    assert walked.covered == walked.wanted == graph_of(system).statistics().transitions
