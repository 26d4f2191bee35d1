"""Linktest: finds a dead link while the session is selected.

A probe is due an interval after the last byte that came. The deadline follows the traffic, so no
message goes through this chart. A probe waits T6 for its response. ``linktest_threshold`` probes in
a row without any sign of life close the connection, so at most ``threshold * (interval + T6)``
after the last sign of life.

``traffic_seen`` comes whenever bytes have come. It clears the misses, as a response does, and it
excuses the running probe: when T6 is over, that probe is no miss. The interval already runs then,
from these bytes, and when it is over first, the next probe takes the place of the excused one.

A new threshold counts from the next miss on, or from the moment at which the link is quiet.

Diagram: ``diagrams/linktest.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, Increment, Parameter, Set, State, Tell, Variable

from .timers import LINKTEST_INTERVAL, T6_LINKTEST
from .vocabulary import Count, Counter, Outgoing, Send, rule

_ALIVE = Set("misses", 0)
_PROBE = Send(Outgoing.LINKTEST_REQ)

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
        "probe_wanted",
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
                        State("probe_excused", "Bytes came instead", timer=LINKTEST_INTERVAL),
                    ),
                ),
                State("silent", "Silent"),
            ),
        ),
    ),
    transitions=(
        rule("linktest/begins", "watch_began", "unwatched", "quiet", _ALIVE),
        rule("linktest/ends", "watch_ended", "watching", "unwatched"),
        rule("linktest/due", LINKTEST_INTERVAL.expired, "quiet", "probing_link", _PROBE),
        rule(
            "linktest/excused-due",
            LINKTEST_INTERVAL.expired,
            "probe_excused",
            "probing_link",
            _PROBE,
        ),
        rule("linktest/due", "linktest_requested", "quiet", "probing_link", _PROBE),
        rule("linktest/running", "linktest_requested", "probing_link"),
        rule("second-host/probed", "probe_wanted", "quiet", "probing_link", _PROBE),
        rule("second-host/probing", "probe_wanted", "probing_link"),
        rule("linktest/unwatched", "traffic_seen", "unwatched"),
        rule("linktest/alive", "traffic_seen", "watching", None, _ALIVE),
        rule("linktest/excused", "traffic_seen", "probe_unanswered", "probe_excused", _ALIVE),
        # The response came after T6: it is not awaited any more.
        rule(
            "linktest-rsp/unawaited",
            "probe_answered",
            "quiet",
            None,
            Send(Outgoing.REJECT_NOT_OPEN),
        ),
        rule(
            "linktest-reject/unawaited",
            "probe_rejected",
            "quiet",
            None,
            Count(Counter.REJECT_UNKNOWN),
        ),
        rule("linktest-rsp/answered", "probe_answered", "probing_link", "quiet", _ALIVE),
        rule("linktest-reject/answered", "probe_rejected", "probing_link", "quiet", _ALIVE),
        rule(
            "linktest/excused-over",
            T6_LINKTEST.expired,
            "probe_excused",
            "quiet",
            keep=LINKTEST_INTERVAL,
        ),
        rule(
            "linktest/miss linktest/last-miss",
            T6_LINKTEST.expired,
            "probe_unanswered",
            "quiet",
            Increment("misses"),
            Count(Counter.LINKTESTS_UNANSWERED),
        ),
        rule(
            "linktest/last-miss",
            None,
            "quiet",
            "silent",
            Tell("linktest_failed"),
            when="misses >= linktest_threshold",
        ),
    ),
)
