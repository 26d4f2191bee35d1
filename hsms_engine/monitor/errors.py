"""The error of this room."""

from __future__ import annotations


class RefusedError(Exception):
    """A request gets no answer, and the message says why. ``status`` is that of HTTP."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
