"""How far long messages are: a line for each, on standard error, drawn again and again.

* Only a transfer that has taken more than a second is shown, and only on a terminal that can move
  its cursor.
* The lines are gone before anything else is written, and when there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from hsms_engine.protocol import Transfer, Transfers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Progress, TaskID

# Seconds.
_LONG: Final = 1.0
_EVERY: Final = 0.2


@dataclass(slots=True)
class _Known:
    """A transfer that is looked at. ``line``: what draws it, once it is long."""

    number: int
    since: float
    line: TaskID | None = None


class TransferLines:
    """The lines of all connections of a program."""

    def __init__(self, console: Callable[[], Console] | None = None) -> None:
        """``console``: for tests. It is made when something is to be drawn."""
        self._console = console or _terminal
        self._clock = trio.lowlevel.current_clock().current_time
        self._known: dict[tuple[str, str], _Known] = {}
        # None: nothing was ever drawn.
        self._lines: Progress | None = None

    async def follow(self, peer: str, transfers: Callable[[], Transfers]) -> None:
        """Show what ``transfers`` says of the connection of ``peer``, until this is cancelled."""
        with self._following(peer):
            while True:
                await trio.sleep(_EVERY)
                now = transfers()
                self._look((peer, "sending"), now.sending)
                self._look((peer, "receiving"), now.receiving)
                self._draw()

    def hide(self) -> None:
        """Take the lines away. They are there again when somebody looks the next time."""
        # The terminal may be gone, and then nobody looks at it.
        with suppress(OSError):
            if self._lines is not None:
                self._lines.stop()

    @contextmanager
    def _following(self, peer: str) -> Iterator[None]:
        try:
            yield
        finally:
            self._forget((peer, "sending"))
            self._forget((peer, "receiving"))
            self._draw()

    def _look(self, key: tuple[str, str], transfer: Transfer | None) -> None:
        known = self._known.get(key)
        if transfer is None:
            self._forget(key)
        elif known is None or known.number != transfer.number:
            self._forget(key)
            self._known[key] = _Known(transfer.number, self._clock())
        elif self._clock() - known.since > _LONG:
            lines = self._begun()
            if known.line is None:
                known.line = lines.add_task(key[1], completed=transfer.done, total=transfer.total)
            lines.update(known.line, completed=transfer.done, total=transfer.total)

    def _forget(self, key: tuple[str, str]) -> None:
        known = self._known.pop(key, None)
        if self._lines is not None and known is not None and known.line is not None:
            self._lines.remove_task(known.line)

    def _begun(self) -> Progress:
        if self._lines is None:
            # It takes its time to import, and most programs draw nothing.
            from rich import progress

            self._lines = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(compact=True),
                console=self._console(),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                get_time=self._clock,
            )
        return self._lines

    def _draw(self) -> None:
        if self._lines is None or not self._lines.tasks:
            self.hide()
            return
        with suppress(OSError):
            self._lines.start()
            self._lines.refresh()


def _terminal() -> Console:
    from rich.console import Console

    return Console(stderr=True)
