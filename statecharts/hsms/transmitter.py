"""The transmitter: its two timers run exactly while bytes are queued that the peer has not taken.

The write timeout runs from the latest byte that the peer has taken, which is no event here: its
deadline is computed from the time of that byte. The write deadline does not; without it, a peer
that takes one byte every few seconds could hold a connection for years. The driver adds the length
of what was queued when it started, at 64 KiB/s. When all of that is taken and newer bytes are
queued, it starts again for these.

Diagram: ``diagrams/transmitter.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, State, Tell

from .timers import WRITE_DEADLINE, WRITE_TIMEOUT
from .vocabulary import rule

_FAILED = Tell("communication_failed")
_STUCK = "send/stuck-ns send/stuck-s"

TRANSMITTER = Chart(
    id="transmitter",
    title="Transmitter of frames",
    reported=(
        "write_blocked",
        "write_caught_up",
        "write_drained",
        "transmitting_ended",
    ),
    states=(
        State("drained", "Drained"),
        State(
            "backlogged",
            "Backlogged",
            timer=WRITE_DEADLINE,
            children=(State("writing", "Writing", timer=WRITE_TIMEOUT),),
        ),
        State("stalled", "Stalled"),
    ),
    transitions=(
        rule("send/waits", "write_blocked", "drained", "backlogged"),
        rule("send/caught-up", "write_caught_up", "backlogged", "backlogged"),
        rule("send/drained", "write_drained", "backlogged", "drained"),
        rule(_STUCK, WRITE_TIMEOUT.expired, "writing", "stalled", _FAILED),
        rule(_STUCK, WRITE_DEADLINE.expired, "backlogged", "stalled", _FAILED),
        rule("send/cut", "transmitting_ended", "drained"),
        rule("send/cut", "transmitting_ended", "backlogged", "drained"),
        rule(_STUCK, "transmitting_ended", "stalled", "drained"),
    ),
)
