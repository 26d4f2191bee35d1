"""Linktest: finds a silent dead link while the session is selected.

The interval runs from the last frame in either direction (its deadline follows the traffic, so no
message passes through this chart); a probe awaits its response for T6. As many probes in a row as
``linktest_threshold`` without any sign of life end the connection, hence at most
``threshold * (interval + T6)`` after the last one.

``traffic_seen`` is told whenever bytes have come. It excuses the probe that runs, which then counts
as no miss when T6 is over, and clears the misses, as a response does.

Diagram: ``diagrams/linktest.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, Increment, On, Parameter, Set, State, Tell, Variable

from .timers import LINKTEST_INTERVAL, T6_LINKTEST
from .vocabulary import Count, Counter, Outgoing, Send

_ALIVE = (Set("misses", 0),)
_FAIL = (Tell("linktest_failed"),)
_PROBE = (Send(Outgoing.LINKTEST_REQ),)

LINKTEST = Chart(
    id="linktest",
    title="Linktest",
    parameters=(Parameter("linktest_threshold", default=1, lowest=1, highest=100),),
    variables=(Variable("misses", highest="linktest_threshold"),),
    local=("linktest_requested",),
    reported=(
        "watch_began",
        "watch_ended",
        "probe_answered",
        "probe_rejected",
        "traffic_seen",
        "linktest_reconfigured",
    ),
    states=(
        State("unwatched", "Off"),
        State(
            "watching",
            "Watching",
            children=(
                State("quiet", "Quiet", timer=LINKTEST_INTERVAL),
                State(
                    "probing_link",
                    "Probing",
                    timer=T6_LINKTEST,
                    children=(
                        State("probe_unanswered", "No sign of life yet"),
                        State("probe_excused", "A frame came instead"),
                    ),
                ),
                State("silent", "Silent"),
            ),
        ),
    ),
    transitions=(
        On("watch_began", "unwatched", to="quiet", do=_ALIVE),
        On("watch_ended", "watching", to="unwatched"),
        On(LINKTEST_INTERVAL.expired, "quiet", to="probing_link", do=_PROBE),
        On("linktest_requested", "quiet", to="probing_link", do=_PROBE),
        On("traffic_seen", "unwatched"),
        On("traffic_seen", "watching", do=_ALIVE),
        On("traffic_seen", "probe_unanswered", to="probe_excused", do=_ALIVE),
        # The response came after T6: nobody waits for it.
        On("probe_answered", "quiet", do=(Send(Outgoing.REJECT_NOT_OPEN),)),
        On("probe_rejected", "quiet", do=(Count(Counter.REJECT_UNKNOWN),)),
        On("linktest_requested", "probing_link"),
        On("probe_answered", "probing_link", to="quiet", do=_ALIVE),
        On("probe_rejected", "probing_link", to="quiet", do=_ALIVE),
        On(T6_LINKTEST.expired, "probe_excused", to="quiet"),
        On(T6_LINKTEST.expired, "probe_unanswered", to="quiet", do=(Increment("misses"),)),
        On(
            None,
            "quiet",
            to="silent",
            when="misses >= linktest_threshold",
            do=_FAIL,
        ),
        On("linktest_reconfigured", "unwatched"),
        On("linktest_reconfigured", "watching"),
    ),
)
