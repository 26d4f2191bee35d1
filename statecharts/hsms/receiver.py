"""The receiver: T8 and the frame deadline, exactly while a frame has begun and is not complete.

Every byte starts T8 anew; nothing extends the frame deadline, without which one byte every few
seconds would hold a connection for years. Between frames the first byte may take its time.

Diagram: ``diagrams/receiver.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, On, State, Tell

from .timers import FRAME_DEADLINE, T8

RECEIVER = Chart(
    id="receiver",
    title="Receiver of frames",
    reported=("frame_began", "frame_progressed", "frame_completed", "receiving_ended"),
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
        On("frame_began", "between_frames", to="in_frame"),
        On("frame_progressed", "receiving", to="receiving"),
        On("frame_completed", "in_frame", to="between_frames"),
        On(T8.expired, "receiving", to="broken_off", do=(Tell("communication_failed"),)),
        On(FRAME_DEADLINE.expired, "in_frame", to="broken_off", do=(Tell("communication_failed"),)),
        On("receiving_ended", "between_frames"),
        On("receiving_ended", "in_frame", to="between_frames"),
        On("receiving_ended", "broken_off", to="between_frames"),
    ),
)
