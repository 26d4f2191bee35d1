"""The engine takes every edge of the receiver and of the transmitter.

Their tours need no driver: bytes come in pieces, and the stream takes some, all or none of ours.
When a timer expires, the connection ends in the same step, so one step may be two edges of a tour.
"""

from __future__ import annotations

from collections import deque

import pytest

from hsms_engine import Message
from hsms_engine.protocol import Output, Step
from statecharts import Chart, Hop, Machine, Start
from statecharts.explore import Graph, alone
from statecharts.hsms import RECEIVER, TRANSMITTER
from statecharts.hsms.vocabulary import CloseTcp, ResetTcp
from statecharts.testgen import coverage, tours
from tests.support.engines import selected
from tests.support.raw_peer import data

COMING = data(1, 3, 7, body=bytes(10_000))
GOING = Message(1, 3, body=bytes(10_000))


class Bytes:
    """A connection, selected, and what one chart of it did."""

    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        self._hops: deque[Hop] = deque()
        self.outputs: list[Output] = []
        self._connect()

    def _connect(self) -> None:
        self._end = selected()
        self._engine = self._end.engine
        self._life = self._engine._life
        # Of the frame that comes, the bytes that have not come yet.
        self._coming = b""

    def take(self, event: str) -> Hop:
        """Make ``event`` happen, unless it has happened already behind the one before."""
        if not self._hops:
            if not self._engine.is_selected:
                self._connect()
            self._cause(event)
        return self._hops.popleft()

    def _cause(self, event: str) -> None:
        self._end.now += 1
        engine = self._engine
        queued = engine.statistics().queued_bytes
        match event:
            case "frame_began":
                self._come(COMING, 1)
            case "frame_completed":
                self._come(self._coming, len(self._coming))
            case "write_blocked":
                engine.send(GOING)
                self._end.is_read = False
            case "write_caught_up":
                engine.send(GOING)
                engine.wrote(queued)
            case "write_drained":
                engine.wrote(queued)
            case "receiving_ended" | "transmitting_ended":
                engine.tcp_closed()
            case _:
                self._life.timers.started[event.removesuffix("_expired")] -= 1_000_000
                epoch = engine._context.epoch
                assert epoch is not None
                # T8 and the write timeout run from these.
                if event == "t8_expired":
                    epoch.last_received -= 1_000_000
                if event == "write_timeout_expired":
                    epoch.outbox.taken_at -= 1_000_000
                self._life.timers.retime()
                engine.tick()
        self._collect()

    def _come(self, piece: bytes, count: int) -> None:
        self._coming = piece[count:]
        self._engine.receive(piece[:count])

    def _collect(self) -> None:
        self.outputs = []
        while (output := self._engine.next_output()) is not None:
            self.outputs.append(output)
            match output:
                case bytes():
                    self._engine.wrote(len(output) if self._end.is_read else 0)
                case Step():
                    self._hops += [hop for hop in output.hops if hop.chart == self._chart.id]
                case _:
                    pass

    def timers(self) -> set[str]:
        """The timers of the chart that run."""
        return {each.id for each in self._chart.timers} & set(self._life.timers.started)

    def started(self, timer: str) -> bool:
        """Whether the running timer was started by the latest event."""
        return self._life.timers.started[timer] == self._end.now


@pytest.mark.parametrize("chart", [RECEIVER, TRANSMITTER], ids=lambda chart: str(chart.id))
def test_the_engine_takes_every_edge(chart: Chart) -> None:
    graph = Graph(alone(Machine(chart)))
    made = tours(graph)
    for tour in made:
        link = Bytes(chart)
        for stop in tour:
            move, here = stop.move, graph.states[stop.state]
            hop = link.take(move.event)
            assert (hop.event, hop.after.leaves) == (move.event, here.snapshot[chart.id].leaves)
            assert link.timers() == here.world
            begun = {effect.timer.id for effect in move.effects if isinstance(effect, Start)}
            assert {timer for timer in here.world if link.started(timer)} == begun
            if move.event.endswith("_expired"):
                closed = [each for each in link.outputs if each in (CloseTcp(), ResetTcp())]
                assert closed == [CloseTcp(), ResetTcp()]
    covered, wanted = coverage(graph, made)
    assert covered == wanted
