"""Sends commands to all tools by the store, each with the epoch of the owner that is to send it.

It goes on asking an owner until the store names another one, and then asks the earlier one once
more: so there are always commands on the way to owners that may own no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import count

import trio

from hsms_engine.errors import ConnectionLostError, LeaseError
from hsms_engine.fleet.asking import Watch
from hsms_engine.fleet.forms import Asked, read_message, read_outcome, write_asked
from hsms_engine.fleet.reader import stream_name
from hsms_engine.fleet.streams import BEGINNING, NewEntry, Streams
from hsms_engine.lease import Held
from hsms_engine.lease.redis import RedisStore
from hsms_engine.message import Message
from hsms_engine.messages import S2F41, S2F42, S6F11, read
from tests.fleet_demo.tools import EPOCH, RCMD

_CALLER = "commander"
# How long a command waits for its owner, in seconds: longer than one is stopped.
_WITHIN = 60.0
_LONGEST = 1_000


class Commander:
    """Commands to all tools, and what became of them."""

    def __init__(self, store: RedisStore, streams: Streams, tools: Collection[str]) -> None:
        self._store = store
        self._streams = streams
        self._tools = tools
        self._watches = {name: Watch(store.lease(name), store.duration / 20) for name in tools}
        self._numbers = count(1)
        # By number of a request: its tool and its epoch.
        self._asked: dict[int, tuple[str, int]] = {}
        self._epochs: dict[str, int] = {}
        # By tool, the greatest epoch whose command was done.
        self._done: dict[str, int] = {}
        self._news = trio.Event()
        self.outcomes: Counter[str] = Counter()
        """How many commands were done, denied by the tool, or came to which error."""

    def epoch(self, tool: str) -> int | None:
        """That of the present owner, as far as the store has told."""
        match self._watches[tool].seen:
            case Held(owner=owner, epoch=epoch) if owner:
                return epoch
            case _:
                return None

    @property
    def obeyed(self) -> int:
        """How many tools have done a command of their present owner."""
        return sum(
            (epoch := self.epoch(each)) is not None and self._done.get(each) == epoch
            for each in self._tools
        )

    async def until_obeyed(self) -> None:
        """Wait until each tool has done a command of its present owner."""
        while self.obeyed < len(self._tools):
            await self._news.wait()

    async def run(self, every: float) -> None:
        """Send a command to each tool this often, until cancelled."""
        async with trio.open_nursery() as nursery:
            for watch in self._watches.values():
                nursery.start_soon(watch.run)
            nursery.start_soon(self._hear)
            while True:
                try:
                    with trio.move_on_after(self._store.duration / 5):
                        await self._streams.append([*self._round()])
                except LeaseError:
                    # What is not sent now is sent in the next round.
                    pass
                await trio.sleep(every)

    def _round(self) -> list[NewEntry]:
        entries = []
        for tool in self._tools:
            epoch = self.epoch(tool)
            if epoch is None:
                continue
            before = self._epochs.get(tool, epoch)
            self._epochs[tool] = epoch
            entries += [self._entry(tool, each) for each in {before, epoch}]
        return entries

    def _entry(self, tool: str, epoch: int) -> NewEntry:
        number = next(self._numbers)
        self._asked[number] = tool, epoch
        command = S2F41(RCMD, {EPOCH: str(epoch)})
        asked = Asked(epoch, _CALLER, number, _WITHIN, command)
        stream = stream_name(self._streams.prefix, tool, "request")
        return NewEntry(stream, write_asked(asked), _LONGEST)

    async def _hear(self) -> None:
        stream, after = stream_name(self._streams.prefix, _CALLER, "reply"), BEGINNING
        while True:
            try:
                found = await self._streams.read({stream: after}, 1_000, 1.0)
            except LeaseError:
                await trio.sleep(self._store.duration / 20)
                continue
            for entry in found.get(stream, ()):
                after = entry.id
                self._take(*read_outcome(entry.fields))
            self._news.set()
            self._news = trio.Event()

    def _take(self, number: int, outcome: object) -> None:
        if number not in self._asked:
            # Answered by an earlier owner too.
            return
        tool, epoch = self._asked.pop(number)
        match outcome:
            case Message() as reply:
                match read(reply):
                    case S2F42(hcack=0):
                        self.outcomes["done"] += 1
                        self._done[tool] = max(epoch, self._done.get(tool, 0))
                    case _:
                        self.outcomes["denied"] += 1
            case ConnectionLostError():
                self.outcomes["owner over"] += 1
            case _:
                self.outcomes[type(outcome).__name__] += 1

    async def published(self, tool: str) -> set[int]:
        """The numbers of the events that the stream of a tool has now."""
        found: set[int] = set()
        name, after = stream_name(self._streams.prefix, tool, "primary"), BEGINNING
        while entries := (await self._streams.read({name: after}, 100, 0.0)).get(name):
            for entry in entries:
                after = entry.id
                # Each owner says at the end that this was all.
                if entry.fields[b"kind"] == b"primary":
                    match read(read_message(entry.fields)):
                        case S6F11(dataid=int(number)):
                            found.add(number)
                        case _:
                            pass
        return found
