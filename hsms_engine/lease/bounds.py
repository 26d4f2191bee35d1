"""How long a tool can be without an owner at the most, as formulas of the times of its lease.

They are what a search of two processes and a store with clocks finds, neither more nor less
(``docs/lease-proof.md``); a process that is to become the owner runs, and its calls are answered.
``delay`` is the longest time of a call, or of its answer, on its way to the store or back, what the
store takes for it included. All times are in seconds.
"""

from __future__ import annotations

CLOCK_ERROR = 0.01
"""The rate of a clock is wrong by this fraction at most."""


def takeover_bound(duration: float, poll: float, delay: float) -> float:
    """From the death of an owner, or its silence, to the link enabled by another process.

    ``duration`` is that of the lease, ``poll`` the time between two attempts to get it. The last
    renewal of the owner may be on its way still (1 delay). Another process may ask right before
    the lease is over, is told so (2), waits for its next attempt, and gets it (2).
    """
    return (duration + poll + 5 * delay) / (1 - CLOCK_ERROR)


def handover_bound(poll: float, delay: float, linger: float) -> float:
    """From the withdrawal of an owner to the link enabled by another process, by polling alone.

    The link leaves (``linger``), and the lease is given back (1 delay); the rest is as in
    ``takeover_bound``. Where the link is stuck, or the store does not get the lease back,
    ``takeover_bound`` holds. A watch that tells of the free lease makes it shorter.
    """
    return (linger + poll + 5 * delay) / (1 - CLOCK_ERROR)


def restart_bound(duration: float, poll: float, delay: float, timeout: float) -> float:
    """From a store that has forgotten something to the link enabled by a process.

    A call is lost with the old store, ``timeout`` passes until it is given up. At the next attempt
    (1 delay) the store sees that it has forgotten, and gives no lease for one ``duration``, unless
    an owner renews its own.
    """
    return (duration + 2 * poll + max(timeout, 2 * delay) + 5 * delay) / (1 - CLOCK_ERROR)
