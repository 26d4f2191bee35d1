"""A replay that is not as its recording."""

from __future__ import annotations

from collections.abc import Sequence


class ReplayError(Exception):
    """What happens now is not what has happened in the recording. ``str`` has several lines.

    ``problem`` is one line, which names the message; ``details`` are the lines that follow it: the
    message that came, a line an item, with ``-`` before what was expected and ``+`` before what was
    found, and the messages before it. ``path`` leads to the first difference, as ``[2][1]``, and
    ``expected`` and ``found`` are the SML of both; all three are None when no messages differ: when
    none came, or the connection is over. ``__cause__`` is the ``HsmsError`` behind it, if any.
    """

    def __init__(
        self,
        problem: str,
        details: Sequence[str] = (),
        *,
        path: str | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        super().__init__(problem, tuple(details))
        self.problem = problem
        self.details = tuple(details)
        self.path = path
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return "\n".join((self.problem, *self.details))
