"""The assumptions of claims about time and fairness. A claim names the one it uses."""

from __future__ import annotations

from statecharts.explore.moves import Kind
from statecharts.explore.properties import Assumption

QUIET = Assumption(
    "quiet",
    "no user acts and nothing breaks any more; a move that stays possible is made at some time",
    never=frozenset({Kind.USER, Kind.FAULT}),
    fair=frozenset({Kind.DELIVERY, Kind.REPORT, Kind.TIMER}),
)
SETTLED = Assumption(
    "settled",
    "as quiet, and the cable is repaired at some time; a timer fires only where no frame can be "
    "delivered and no report is due: frames are faster than timers",
    never=frozenset({Kind.USER, Kind.FAULT}),
    patient=True,
    fair=frozenset({Kind.DELIVERY, Kind.REPORT, Kind.TIMER, Kind.REPAIR}),
)
TIME_PASSES = Assumption(
    "time passes",
    "the peer and the users fall silent; a timer that runs fires at some time",
    never=frozenset({Kind.USER, Kind.PEER, Kind.FAULT, Kind.REPORT}),
    fair=frozenset({Kind.TIMER}),
)
