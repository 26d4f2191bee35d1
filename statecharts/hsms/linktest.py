"""Linktest: finds a silent dead link while the session is selected.

``quiet`` runs from the last frame in either direction (the driver looks at the traffic, so that no
message passes through this chart); ``probing`` awaits one response for T6. As many probes in a row
as ``threshold`` without any sign of life end the connection, hence at most
``threshold * (interval + T6)`` after the last one.

``t6_linktest_excused`` is reported instead of the timer's own event when a frame arrived while the
response was awaited; it restarts the count as a response does. ``traffic_seen`` says the same of
the time between two probes.

Diagram: ``diagrams/linktest.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, Increment, On, Parameter, Set, State, Variable

from .timers import LINKTEST_INTERVAL, T6_LINKTEST
from .vocabulary import Count, Counter, FailLinktest, Outgoing, Send

_ALIVE = (Set("misses", 0),)
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
        "t6_linktest_excused",
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
                State("probing_link", "Probing", timer=T6_LINKTEST),
                State("silent", "Silent"),
            ),
        ),
    ),
    transitions=(
        On("watch_began", "unwatched", to="quiet", do=_ALIVE),
        On("watch_ended", "watching", to="unwatched"),
        On(LINKTEST_INTERVAL.expired, "quiet", to="probing_link", do=_PROBE),
        On("linktest_requested", "quiet", to="probing_link", do=_PROBE),
        On("traffic_seen", "quiet", do=_ALIVE),
        # The response came after T6: nobody waits for it.
        On("probe_answered", "quiet", do=(Send(Outgoing.REJECT_NOT_OPEN),)),
        On("probe_rejected", "quiet", do=(Count(Counter.REJECT_UNKNOWN),)),
        On("linktest_requested", "probing_link"),
        On("probe_answered", "probing_link", to="quiet", do=_ALIVE),
        On("probe_rejected", "probing_link", to="quiet", do=_ALIVE),
        On("t6_linktest_excused", "probing_link", to="quiet", do=_ALIVE),
        On(T6_LINKTEST.expired, "probing_link", to="quiet", do=(Increment("misses"),)),
        On(None, "quiet", to="silent", when="misses >= linktest_threshold", do=(FailLinktest(),)),
        On("linktest_reconfigured", "unwatched"),
        On("linktest_reconfigured", "watching"),
    ),
)
