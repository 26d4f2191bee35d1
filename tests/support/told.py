"""What recordings of runs that no clock of the wall has seen have in common."""

from __future__ import annotations

from typing import Final

WALL: Final = 946_684_800.0
"""The clock of the wall when such a run begins: the first second of the year 2000, UTC."""

NOTE: Final = "Note"
"""The event of what no end does: a fault, a call of a user, a remark. Its field is ``what``."""
