"""How the charts are joined: the wires between them, as data.

``ACTIVE_LINK`` is what a host program keeps for months: the dialling connection asks the breaker
before each attempt and tells it how the attempt ended. ``PASSIVE_LINK`` is one accepted connection.

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart
from statecharts.router import System, Wire

from .breaker import BREAKER
from .connection import ACTIVE, PASSIVE
from .linktest import LINKTEST
from .receiver import RECEIVER
from .transaction import TRANSACTION
from .transmitter import TRANSMITTER
from .vocabulary import (
    AskBreaker,
    BeginWatch,
    EndTraffic,
    EndWatch,
    FailFraming,
    FailLinktest,
    FailWriting,
    GrantPermit,
    OfferPermit,
    PassProbeAnswer,
    PassProbeReject,
    RefusePermit,
    ReportFailure,
    ReportSuccess,
    ReturnPermit,
    WithdrawPermit,
)

CHARTS: tuple[Chart, ...] = (
    ACTIVE,
    PASSIVE,
    BREAKER,
    LINKTEST,
    RECEIVER,
    TRANSMITTER,
    TRANSACTION,
)


def _breaker_wires(connection: str) -> tuple[Wire, ...]:
    return (
        Wire(connection, AskBreaker(), "breaker", "permit_requested"),
        Wire("breaker", GrantPermit(), connection, "permit_granted"),
        Wire("breaker", RefusePermit(), connection, "permit_refused"),
        Wire("breaker", OfferPermit(), connection, "permit_offered"),
        Wire("breaker", WithdrawPermit(), connection, "permit_withdrawn"),
        Wire(connection, ReportSuccess(), "breaker", "attempt_succeeded"),
        Wire(connection, ReportFailure(), "breaker", "attempt_failed"),
        Wire(connection, ReturnPermit(), "breaker", "attempt_cancelled"),
    )


def _linktest_wires(connection: str) -> tuple[Wire, ...]:
    return (
        Wire(connection, BeginWatch(), "linktest", "watch_began"),
        Wire(connection, EndWatch(), "linktest", "watch_ended"),
        Wire(connection, PassProbeAnswer(), "linktest", "probe_answered"),
        Wire(connection, PassProbeReject(), "linktest", "probe_rejected"),
        Wire("linktest", FailLinktest(), connection, "linktest_failed"),
    )


def _traffic_wires(connection: str) -> tuple[Wire, ...]:
    return (
        Wire(connection, EndTraffic(), "receiver", "receiving_ended"),
        Wire(connection, EndTraffic(), "transmitter", "transmitting_ended"),
        Wire("receiver", FailFraming(), connection, "communication_failed"),
        Wire("transmitter", FailWriting(), connection, "communication_failed"),
    )


ACTIVE_LINK = System(
    id="active_link",
    title="Link of the end that dials",
    charts=(ACTIVE, BREAKER, LINKTEST, RECEIVER, TRANSMITTER),
    wires=(
        *_breaker_wires(ACTIVE.id),
        *_linktest_wires(ACTIVE.id),
        *_traffic_wires(ACTIVE.id),
    ),
)

PASSIVE_LINK = System(
    id="passive_link",
    title="Connection of the end that listens",
    charts=(PASSIVE, LINKTEST, RECEIVER, TRANSMITTER),
    wires=(*_linktest_wires(PASSIVE.id), *_traffic_wires(PASSIVE.id)),
)
