"""The transmitter: the write timeout, exactly while bytes are queued and the peer takes none.

Diagram: ``diagrams/transmitter.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, On, State, Tell

from .timers import WRITE_TIMEOUT

TRANSMITTER = Chart(
    id="transmitter",
    title="Transmitter of frames",
    reported=("write_blocked", "write_progressed", "write_drained", "transmitting_ended"),
    states=(
        State("drained", "Drained"),
        State("backlogged", "Backlogged", timer=WRITE_TIMEOUT),
        State("stalled", "Stalled"),
    ),
    transitions=(
        On("write_blocked", "drained", to="backlogged"),
        On("write_progressed", "backlogged", to="backlogged"),
        On("write_drained", "backlogged", to="drained"),
        On(WRITE_TIMEOUT.expired, "backlogged", to="stalled", do=(Tell("communication_failed"),)),
        On("transmitting_ended", "drained"),
        On("transmitting_ended", "backlogged", to="drained"),
        On("transmitting_ended", "stalled", to="drained"),
    ),
)
