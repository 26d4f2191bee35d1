"""What an owner does with requests for its tools that come by the store.

Invariants:

* A request is sent to the tool only by the owner for whose epoch it is, once, and only before the
  deadline of its caller. One with an earlier epoch is answered: an earlier owner may have sent it.
  One with a later epoch is left for that owner.
* Nothing that stands in a stream ends the desk, and what a caller gives it is not much: at most
  ``MOST_OPEN`` requests of a tool are open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from hsms_engine.errors import (
    ConnectionLostError,
    HsmsError,
    LeaseError,
    TransactionError,
)
from hsms_engine.fleet.failing import Failing
from hsms_engine.fleet.forms import (
    LONGEST_BODY,
    Asked,
    Outcome,
    UnreadableError,
    read_asked,
    write_outcome,
)
from hsms_engine.fleet.outbox import Outbox
from hsms_engine.fleet.reader import stream_name
from hsms_engine.fleet.streams import BEGINNING, Entry, NewEntry, Streams
from hsms_engine.link import HsmsLink
from hsms_engine.message import Message
from statecharts.nursery import open_bare_nursery

__all__ = ["MOST_OPEN", "Desk", "RequestCounts"]

MOST_OPEN: Final = 64
"""How many requests for one tool are open at a time."""
# How many requests of each tool are read at once, and how long one call waits for them, in seconds.
_MOST: Final = 16
_WAITS: Final = 0.25
# How long answers stay for callers that do not fetch them, in seconds, and how many of one.
_ANSWERS_LAST: Final = 60.0
_LONGEST_ANSWERS: Final = 1_000


@dataclass(slots=True)
class RequestCounts:
    """What has become of the requests that came for tools of this process."""

    taken: int = 0
    """And given to the link of the tool, once each."""
    refused: int = 0
    """For another epoch than ours, or one too many."""
    expired: int = 0
    """The deadline of the caller had passed, when it came here or before the reply came."""
    unreadable: int = 0
    """What was no request."""


@dataclass(slots=True)
class _Tool:
    """One that is owned here."""

    link: HsmsLink
    epoch: int
    open: int = 0
    after: str = field(default=BEGINNING)


class Desk:
    """Takes requests for the tools that are owned here; ``run`` reads them."""

    def __init__(
        self,
        streams: Streams,
        what: str,
        answers: Outbox,
        pause: float,
        store_time: Callable[[], float],
    ) -> None:
        self._streams = streams
        self._answers = answers
        self._pause = pause
        self._store_time = store_time
        self._tools: dict[str, _Tool] = {}
        self._some = trio.Event()
        self._failing = Failing(
            f"{what}: requests for its tools are not read", f"{what}: requests are read again"
        )
        self.counts: Final = RequestCounts()

    @property
    def error(self) -> LeaseError | None:
        """Why requests could not be read last; None: they were."""
        return self._failing.error

    def open(self, tool: str, link: HsmsLink, epoch: int) -> None:
        """This process owns a tool, by ``link``, since ``epoch``."""
        self._tools[tool] = _Tool(link, epoch)
        self._some.set()

    def close(self, tool: str) -> None:
        """This process owns it no more."""
        self._tools.pop(tool, None)

    async def run(self) -> None:
        """Read and answer, until cancelled."""
        async with open_bare_nursery() as nursery:
            while True:
                while not self._tools:
                    self._some = trio.Event()
                    await self._some.wait()
                await self._read(nursery)

    async def _read(self, nursery: trio.Nursery) -> None:
        name = {stream_name(self._streams.prefix, tool, "request"): tool for tool in self._tools}
        after = {stream: self._tools[tool].after for stream, tool in name.items()}
        try:
            found = await self._streams.read(after, _MOST, _WAITS)
        except LeaseError as error:
            self._failing.note(error)
            await trio.sleep(self._pause)
            return
        self._failing.note(None)
        # No checkpoint in here: what is taken is passed over from now on.
        for stream, entries in found.items():
            tool = self._tools.get(name[stream])
            if tool is None:
                continue
            for entry in entries:
                tool.after = entry.id
                self._take(nursery, name[stream], tool, entry)
            # The others are first the next time, if there is more than is read at once.
            self._tools[name[stream]] = self._tools.pop(name[stream])

    def _take(self, nursery: trio.Nursery, name: str, tool: _Tool, entry: Entry) -> None:
        try:
            asked = read_asked(entry.fields)
        except UnreadableError:
            self.counts.unreadable += 1
            return
        if asked.epoch > tool.epoch:
            self.counts.refused += 1
            return
        left = entry.written_at + asked.within - self._store_time()
        if left <= 0:
            # Those of earlier owners are not ours to count.
            self.counts.expired += asked.epoch == tool.epoch
            return
        if asked.epoch < tool.epoch:
            self.counts.refused += 1
            reason = f"its owner of epoch {asked.epoch} is over"
            what = f"{reason} (now it is {tool.epoch}): the tool may have got {asked.message.name}"
            self._answer(asked, ConnectionLostError(f"{name}: {what}", reason))
        elif tool.open >= MOST_OPEN:
            self.counts.refused += 1
            what = f"{tool.open} requests are open, and more are not taken: nothing was sent"
            self._answer(asked, TransactionError(f"{name}: {what}"))
        else:
            tool.open += 1
            nursery.start_soon(self._send, name, tool, asked, left)

    async def _send(self, name: str, tool: _Tool, asked: Asked, left: float) -> None:
        # Without one the caller is gone: its deadline has passed.
        outcome: Outcome | None = None
        try:
            with trio.move_on_after(left):
                if self._is_ours(name, tool):
                    self.counts.taken += 1
                    outcome = await tool.link.request(asked.message)
                else:
                    what = f"it was given up (epoch {tool.epoch}): nothing was sent"
                    outcome = TransactionError(f"{name}: {what}")
        except HsmsError as error:
            outcome = error
        finally:
            tool.open -= 1
        if outcome is None:
            self.counts.expired += 1
        else:
            self._answer(asked, outcome)

    def _is_ours(self, name: str, tool: _Tool) -> bool:
        """Whether the tool is owned here still, and in the same epoch, at this moment."""
        ownership = tool.link.ownership
        return (
            self._tools.get(name) is tool
            and ownership is not None
            and ownership.is_in_force
            and ownership.lease_epoch == tool.epoch
        )

    def _answer(self, asked: Asked, outcome: Outcome) -> None:
        if isinstance(outcome, Message) and len(outcome.body) > LONGEST_BODY:
            # Nobody could read it: the caller would wait until its deadline.
            outcome = TransactionError(
                f"the reply {outcome.name} has {len(outcome.body)} bytes, and one by the store has "
                f"at most {LONGEST_BODY}: the tool has got {asked.message.name}"
            )
        stream = stream_name(self._streams.prefix, asked.caller, "reply")
        written = write_outcome(asked.number, outcome)
        self._answers.put(NewEntry(stream, written, _LONGEST_ANSWERS, _ANSWERS_LAST))
