"""What is asked of the store again and again, and how the log tells that it fails."""

from __future__ import annotations

import logging

from hsms_engine.errors import LeaseError
from hsms_engine.logs import LINK, say

__all__ = ["Failing"]


class Failing:
    """A line when it begins to fail, when the reason changes, and when it is over."""

    __slots__ = ("_fails", "_goes_on", "error")

    def __init__(self, fails: str, goes_on: str) -> None:
        self._fails = fails
        self._goes_on = goes_on
        self.error: LeaseError | None = None
        """Why the latest try has failed; None when it has not."""

    def note(self, error: LeaseError | None) -> None:
        """What has come of a try."""
        was, self.error = self.error, error
        if error is not None and str(error) != str(was):
            say(LINK, logging.WARNING, "%s: %s", self._fails, str(error))
        elif error is None and was is not None:
            say(LINK, logging.INFO, "%s", self._goes_on)
