"""A dial cancelled at each of its steps, and the order in which addresses are tried."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock

from hsms_engine.driver.dialling import _interleaved
from hsms_engine.driver.tcp import connect_tcp
from tests.support.leaks import open_sockets
from tests.support.names import every_name_has, found
from tests.support.network import Hole

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


class CancelAt(trio.abc.Instrument):
    """Cancels a scope before a given step of the run's tasks."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.scope = trio.CancelScope()

    def before_task_step(self, _: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


@pytest.mark.parametrize("order", [(HERE, ELSEWHERE), (ELSEWHERE, HERE), (ELSEWHERE,)], ids=str)
def test_no_socket_stays_open_wherever_a_dial_is_cancelled(order: tuple[str, ...]) -> None:
    """Of the two addresses, only the second answers."""
    connected = 0

    async def dial(port: int, cancel: CancelAt) -> None:
        nonlocal connected
        dials, before = every_name_has(found(*order)), open_sockets()
        trio.lowlevel.add_instrument(cancel)
        with cancel.scope:
            stream = await connect_tcp("tool", port)
            stream.close()
            connected += 1
        assert open_sockets() == before
        assert dials.slots.borrowed_tokens == 0

    with Hole() as hole, socket.create_server((ELSEWHERE, hole.port)):
        cancels = [CancelAt(step) for step in range(1, 100)]
        for cancel in cancels:
            trio.run(dial, hole.port, cancel, clock=MockClock(autojump_threshold=0))
    # It was cancelled at every step that there is.
    assert 0 < connected < len(cancels)
    assert cancels[-1].left > 0


def test_the_families_take_turns_in_the_order_of_the_system() -> None:
    one, two, three, six, seven = found("10.0.0.1", "10.0.0.2", "10.0.0.3", "::6", "::7")
    assert _interleaved([one, two, three, six, seven, one]) == [one, six, two, seven, three]
    assert _interleaved([six, one, two]) == [six, one, two]
    assert _interleaved([one]) == [one]
