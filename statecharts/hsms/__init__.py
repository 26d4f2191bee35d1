"""The charts of HSMS, their timers, effects and rules, and how the charts are joined."""

from .active import ACTIVE, OWNED_ACTIVE
from .breaker import BREAKER
from .lease import LEASE
from .linktest import LINKTEST
from .passive import PASSIVE
from .receiver import RECEIVER
from .second_host import SECOND_HOST
from .systems import ACTIVE_LINK, CHARTS, OWNED_LINK, PASSIVE_LINK
from .transaction import TRANSACTION
from .transmitter import TRANSMITTER

__all__ = [
    "ACTIVE",
    "ACTIVE_LINK",
    "BREAKER",
    "CHARTS",
    "LEASE",
    "LINKTEST",
    "OWNED_ACTIVE",
    "OWNED_LINK",
    "PASSIVE",
    "PASSIVE_LINK",
    "RECEIVER",
    "SECOND_HOST",
    "TRANSACTION",
    "TRANSMITTER",
]
