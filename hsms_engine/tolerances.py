"""Deviations of tools from SEMI E37 and E5 that are read as what was meant: which there are.

Each is a setting, ``tolerate_`` and its name. While that is on, the deviation is read as what was
meant, counted, and told in the log the first time on each connection. While it is off, the message
is passed over as any other that fits nowhere. What is written never deviates, but for
``Settings.write_direction_bit``.

docs/tolerances.md says of which kind of tool each is to be expected, and what it risks.
"""

from __future__ import annotations

from dataclasses import dataclass

DIRECTION = 0x8000
"""The direction bit in a session id, from SECS-I (SEMI E4): set by the equipment."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One of them. ``default``: whether it is on. ``deviation``: what a peer does, for people."""

    name: str
    default: bool
    deviation: str

    @property
    def setting(self) -> str:
        """The name of its setting."""
        return f"tolerate_{self.name}"

    @property
    def counter(self) -> str:
        """The name of its count: messages that were read so."""
        return f"tolerated_{self.name}"


W_IN_REPLY = Tolerance("w_in_reply", True, "a secondary with W")
DIRECTION_BIT = Tolerance(
    "direction_bit", True, "a session id whose top bit, the direction bit of SECS-I, is set"
)
CONTROL_SESSION_ID = Tolerance(
    "control_session_id", True, "a control message with another session id than 65535"
)
SELECT_RSP_1 = Tolerance("select_rsp_1", False, "Select.rsp 1, already active, meant as 0")
OTHER_FUNCTION = Tolerance(
    "other_function", False, "a reply of another even function, in the stream of its primary"
)
SYSTEM_BYTES_ALONE = Tolerance(
    "system_bytes_alone", False, "a reply of which only the system bytes fit"
)

TOLERANCES = (
    W_IN_REPLY,
    DIRECTION_BIT,
    CONTROL_SESSION_ID,
    SELECT_RSP_1,
    OTHER_FUNCTION,
    SYSTEM_BYTES_ALONE,
)
