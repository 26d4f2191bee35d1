"""The transmitter: the write timeout runs exactly while bytes are queued and the peer takes none.

Diagram: ``diagrams/transmitter.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, State, Tell

from .timers import WRITE_TIMEOUT
from .vocabulary import rule

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
        rule("send/waits", "write_blocked", "drained", "backlogged"),
        rule("send/progress", "write_progressed", "backlogged", "backlogged"),
        rule("send/drained", "write_drained", "backlogged", "drained"),
        rule(
            "send/stuck-ns send/stuck-s",
            WRITE_TIMEOUT.expired,
            "backlogged",
            "stalled",
            Tell("communication_failed"),
        ),
        rule("send/cut", "transmitting_ended", "drained"),
        rule("send/cut", "transmitting_ended", "backlogged", "drained"),
        rule("send/stuck-ns send/stuck-s", "transmitting_ended", "stalled", "drained"),
    ),
)
