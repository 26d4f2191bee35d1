"""How the charts are joined: which of them run together and tell each other what happens.

``ACTIVE_LINK`` is the end that dials: its connection asks the breaker before each attempt, and
tells it the result. ``PASSIVE_LINK`` is one accepted connection, with what happens when another
one asks for its session. ``OWNED_LINK`` is an end that dials while its process has the lease of the
tool.

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart
from statecharts.router import System

from .active import ACTIVE, OWNED_ACTIVE
from .breaker import BREAKER
from .lease import LEASE
from .linktest import LINKTEST
from .passive import PASSIVE
from .receiver import RECEIVER
from .second_host import SECOND_HOST
from .transaction import TRANSACTION
from .transmitter import TRANSMITTER

CHARTS: tuple[Chart, ...] = (
    ACTIVE,
    PASSIVE,
    BREAKER,
    LINKTEST,
    SECOND_HOST,
    RECEIVER,
    TRANSMITTER,
    TRANSACTION,
    LEASE,
)
"""All charts of HSMS."""

ACTIVE_LINK = System(
    id="active_link",
    title="Link of the end that dials",
    charts=(ACTIVE, BREAKER, LINKTEST, RECEIVER, TRANSMITTER),
)

PASSIVE_LINK = System(
    id="passive_link",
    title="Connection of the end that listens",
    charts=(PASSIVE, LINKTEST, SECOND_HOST, RECEIVER, TRANSMITTER),
)

OWNED_LINK = System(
    id="owned_link",
    title="Link of the process that has the lease",
    charts=(LEASE, OWNED_ACTIVE, BREAKER, LINKTEST, RECEIVER, TRANSMITTER),
)
