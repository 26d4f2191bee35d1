"""How much a host may make a tool keep, or answer at once. Beyond it, it is denied.

A tool has such bounds too, of its own. These are far above what a fab uses.
"""

from __future__ import annotations

from typing import Final

ASKED: Final = 10_000
"""Ids in one request; as many as the model has are always answered."""

REPORTS: Final = 10_000
"""Reports that are defined at a time."""

IN_REPORTS: Final = 1_000_000
"""Variables in all reports together, and in those of all events together."""

SENT_AT_ONCE: Final = 10_000
"""Variables in one report, in all reports of one event, and in the samples of a trace that are sent
together."""

TRACES: Final = 100
"""Traces that run at a time."""

TRACED: Final = 1000
"""Variables of a trace."""

SAMPLED: Final = 100_000
"""Values that all traces together read in a second."""

VALUE: Final = 4096
"""Bytes of a value that a host sets; as many as the first value of the variable has are allowed."""

PROGRAMS: Final = 1000
"""Process programs."""

PROGRAM_BYTES: Final = 32_000_000
"""Bytes of all process programs together."""
