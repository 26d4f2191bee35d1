"""The timers of HSMS (E37) and our own timers, with default, range and meaning.

Settings take defaults and ranges from here, pictures take labels, and states name their timers.
"""

from __future__ import annotations

from statecharts.declare import Timer

T3 = Timer("t3", "T3", "reply: a data transaction with W is open", 45, 1, 120)
T5 = Timer("t5", "T5", "connect separation: between the starts of two attempts", 10, 1, 240)
T6 = Timer("t6", "T6", "control transaction: Select or Deselect awaits its response", 5, 1, 240)
T6_LINKTEST = Timer(
    "t6_linktest", "T6", "control transaction: Linktest awaits its response", 5, 1, 240
)
T6_SECOND_HOST = Timer(
    "t6_second_host",
    "T6 (second host)",
    "a second host has asked for the session: no new probe",
    5,
    1,
    240,
)
T7 = Timer("t7", "T7", "not selected: TCP is open and the session is not selected", 10, 1, 240)
T8 = Timer("t8", "T8", "inter-character: a frame has begun and is not complete", 5, 1, 120)

CONNECT_TIMEOUT = Timer("connect_timeout", "connect timeout", "TCP does not answer", 10, 0.1, 240)
FRAME_DEADLINE = Timer(
    "frame_deadline",
    "frame deadline",
    "a frame has begun; one byte at a time does not extend it",
    60,
    1,
    3600,
)
WRITE_TIMEOUT = Timer(
    "write_timeout", "write timeout", "bytes are queued and the peer takes none", 30, 0.1, 3600
)
WRITE_DEADLINE = Timer(
    "write_deadline",
    "write deadline",
    "bytes are queued; taking one at a time does not extend it",
    60,
    1,
    3600,
)
LINGER = Timer(
    "linger", "linger", "the last frame is written, and the peer has not closed", 0.5, 0.01, 10
)
LINKTEST_INTERVAL = Timer("linktest_interval", "linktest interval", "no byte came", 30, 0.1, 86400)
OPEN_TIME = Timer("open_time", "open time", "the breaker refuses attempts", 60, 0.01, 86400)

# A lease. The times follow from its length (``hsms_engine.lease``); these are those of 10 s.
LEASE_POLL = Timer("lease_poll", "lease poll", "another process has the lease", 2.5, 0.25, 150)
STORE_TIMEOUT = Timer(
    "store_timeout",
    "store timeout",
    "the store of leases was asked and has not answered",
    2,
    0.2,
    120,
)
RENEWAL = Timer("renewal", "renewal", "the lease is in force", 2.5, 0.25, 150)
RENEWAL_RETRY = Timer("renewal_retry", "renewal retry", "a renewal had no answer", 0.5, 0.05, 30)
OWN_DEADLINE = Timer(
    "own_deadline", "own deadline", "the lease was asked for and not renewed since", 8.8, 0.88, 528
)
LEASE_END = Timer(
    "lease_end", "end of the lease", "the lease was asked for and not renewed since", 9.8, 0.98, 588
)
