"""How far bytes are that take their time: a long message, or a peer that takes or sends slowly."""

from __future__ import annotations

from typing import NamedTuple


class Transfer(NamedTuple):
    """Bytes on their way in one direction: ``done`` of ``total``, length fields included.

    ``number`` is another one for each transfer of a direction, so that the next one of the same
    length is not taken for this one.
    """

    number: int
    done: int
    total: int


def transfer(number: int, done: int, total: int) -> Transfer | None:
    """What is under way; None when the numbers are of two moments, as another thread may see them,
    and belong to two transfers."""
    return Transfer(number, done, total) if 0 <= done < total else None


class Transfers(NamedTuple):
    """What is under way on the present connection; None in a direction: nothing is."""

    sending: Transfer | None = None
    """What was queued since some of it had to wait for the peer: ``total`` grows with each message
    that is queued meanwhile. ``done`` has been handed to the system, which holds some megabytes."""
    receiving: Transfer | None = None
    """The frame of which the length has come, and not all of its bytes."""
