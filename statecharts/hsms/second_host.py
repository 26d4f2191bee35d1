"""A second host asks for the session of a selected connection.

It gets Select.rsp 3 on its own connection, and this one is probed at once: a peer that answers
keeps its session, and one that has vanished without a word is found out. A host that asks again and
again causes one probe in each T6, and no more.

Diagram: ``diagrams/second_host.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, Parameter, State, Tell

from .timers import T6_SECOND_HOST
from .vocabulary import rule

SECOND_HOST = Chart(
    id="second_host",
    title="Second host",
    # 0: the second host is refused, and nothing else is done.
    parameters=(Parameter("probes", default=1, lowest=0, highest=1),),
    reported=("session_wanted", "session_ended"),
    states=(
        State("unasked", "Nobody else asks"),
        State("asked", "A second host has asked", timer=T6_SECOND_HOST),
    ),
    transitions=(
        rule(
            "second-host/probed second-host/probing",
            "session_wanted",
            "unasked",
            "asked",
            Tell("probe_wanted"),
            when="probes == 1",
        ),
        rule("second-host/refused", "session_wanted", "unasked", when="probes == 0"),
        rule("second-host/again", "session_wanted", "asked"),
        rule("second-host/over", T6_SECOND_HOST.expired, "asked", "unasked"),
        rule("second-host/ends", "session_ended", "unasked"),
        rule("second-host/forgets", "session_ended", "asked", "unasked"),
    ),
)
