"""Where a program ends, what writes is closed; in a child process it is left to the parent."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Final, Protocol

# How long the end of a program, or of a block, waits for the disk.
PATIENCE: Final = 5.0


class Writing(Protocol):
    """What has a thread that writes."""

    def close(self) -> None:
        """Write what waits, for not longer than ``PATIENCE`` seconds."""

    def leave(self) -> None:
        """In a child process: it is its parent's, and so is the thread."""


_LIVE: Final[weakref.WeakSet[Writing]] = weakref.WeakSet()


def end_with_program(writing: Writing) -> None:
    """Close it when the program ends, if it is there then; leave it in a child process."""
    _LIVE.add(writing)


def _close_all() -> None:
    for writing in list(_LIVE):
        writing.close()


def _leave_all() -> None:
    for writing in list(_LIVE):
        writing.leave()


atexit.register(_close_all)
if sys.platform == "win32":
    pass  # It has no forks.
else:
    os.register_at_fork(after_in_child=_leave_all)
