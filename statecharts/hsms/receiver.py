"""The receiver: T8 and the frame deadline run exactly while a frame has begun and is not complete.

T8 runs from the latest byte, which is no event here: its deadline is computed from the time of that
byte. The frame deadline runs from the first; without it, one byte every few seconds could hold a
connection for years. The driver adds the length of the frame at 64 KiB/s to it, so that a long
frame has the time it needs. Between frames, the first byte has no deadline.

Diagram: ``diagrams/receiver.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, State, Tell

from .timers import FRAME_DEADLINE, T8
from .vocabulary import rule

_FAILED = Tell("communication_failed")

RECEIVER = Chart(
    id="receiver",
    title="Receiver of frames",
    reported=("frame_began", "frame_completed", "receiving_ended"),
    states=(
        State("between_frames", "Between frames"),
        State(
            "in_frame",
            "In a frame",
            timer=FRAME_DEADLINE,
            children=(State("receiving", "Receiving", timer=T8),),
        ),
        State("broken_off", "Broken off"),
    ),
    transitions=(
        rule("receive/begins", "frame_began", "between_frames", "in_frame"),
        rule("receive/complete", "frame_completed", "in_frame", "between_frames"),
        # ``communication_failed`` is taken in ``connected.py``: the connection ends there.
        rule("receive/late-ns receive/late-s", T8.expired, "receiving", "broken_off", _FAILED),
        rule(
            "receive/late-ns receive/late-s",
            FRAME_DEADLINE.expired,
            "in_frame",
            "broken_off",
            _FAILED,
        ),
        rule("receive/cut", "receiving_ended", "between_frames"),
        rule("receive/cut", "receiving_ended", "in_frame", "between_frames"),
        rule("receive/late-ns receive/late-s", "receiving_ended", "broken_off", "between_frames"),
    ),
)
