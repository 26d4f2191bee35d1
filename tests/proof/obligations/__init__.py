"""What an HSMS end owes for every event in every state: E37's message table, clause by clause.

Written from the standard's table and not derived from the charts. NS is NOT SELECTED, S is
SELECTED. ``DIALS`` holds for the end that dials, ``DIALS_ONCE`` for one that does not dial again,
``LISTENS`` for the end that listens, ``TRANSACTS`` for one data transaction, ``BREAKS`` for the
breaker by itself. All are for a breaker and a linktest with a threshold of 2.
"""

from statecharts.explore.obligations import Obligation

from .breaker import BREAKS, breaker
from .dialling import dialling, select
from .listening import LISTENS
from .messages import both
from .transaction import TRANSACTS

__all__ = ["BREAKS", "DIALS", "DIALS_ONCE", "LISTENS", "TRANSACTS"]

_SELECT_RSP = "select_rsp_accepted select_rsp_already_active select_rsp_refused select_rejected"

DIALS: tuple[Obligation, ...] = (
    *dialling(),
    *select("waiting"),
    *breaker(),
    *both("waiting", _SELECT_RSP),
)
DIALS_ONCE: tuple[Obligation, ...] = (*select("closed"), *both("closed", _SELECT_RSP))
