"""Every public coroutine is cancelled at its k-th checkpoint, for every k, in several situations.

After each of these runs no task, socket, transaction or waiting entry is left, nothing is counted
as a fault of the peer, and the connection goes on or has ended as documented. A coroutine without a
scenario fails the audit at the end.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from trio.testing import lockstep_stream_pair

import hsms_engine
from hsms_engine import (
    CircuitBreaker,
    ConnectionLostError,
    HsmsConnection,
    HsmsError,
    HsmsLink,
    HsmsServer,
    Message,
    events,
    open_hsms,
    open_link,
    serve_health,
    serve_hsms,
)
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.tcp import Listener, connect_tcp, listen_tcp
from hsms_engine.driver.tls import TlsError, secure
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.health import ask_health
from tests.support.cancelling import Cancelled, Cut, Outcome, Raised, Returned, nothing_runs
from tests.support.certificates import host, listening
from tests.support.leaks import leak_check
from tests.support.names import every_name_has, found
from tests.support.pair import MemoryListener, Pair, Switchboard, direct_pair
from tests.support.raw_peer import (
    SEPARATE_REQ,
    Got,
    RawPeer,
    data,
    deselect_rsp,
    linktest_rsp,
    select_req,
    select_rsp,
)
from tests.support.seeded import run, seeded_scheduler

__all__ = ["leak_check", "seeded_scheduler"]

QUIET: dict[str, Any] = {
    "linktest_interval": None,
    "backoff_jitter": 0.0,
    "linktest_threshold": 3,
    "host": "tool",
}
S1F1, S1F2, S6F11 = Message(1, 1, wait=True), Message(1, 2), Message(6, 11)
LONG = Message(6, 13, body=b"\0" * 10)
SEED = 1
HERE = "127.0.0.1"
# Of virtual time: a deadlock is an hour that passes.
HOUR = 3_600


@contextmanager
def suppress_group(kind: type[Exception]) -> Iterator[None]:
    """Errors of this kind, also in groups."""
    try:
        yield
    except* kind:
        pass


# Scenarios

Play = Callable[[Cut], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """``play`` sets the stage, lets ``cut`` do the operation, and judges what is left."""

    of: str
    situation: str
    play: Play
    is_virtual: bool = True

    def __str__(self) -> str:
        return f"{self.of}, {self.situation}"


SCENARIOS: list[Scenario] = []
TRIED: dict[str, int] = {}


def scenario(of: str, situation: str, *, is_virtual: bool = True) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        SCENARIOS.append(Scenario(of, situation, play, is_virtual))
        return play

    return add


def once(each: Scenario, at: int, more: int | None) -> bool:
    """Play it with the cancellation after step ``at``. Returns whether it lived so long."""
    cut = Cut(at, more, is_virtual=each.is_virtual)

    async def main() -> None:
        with trio.fail_after(HOUR):
            await each.play(cut)
        nothing_runs()

    try:
        run(main, SEED, [cut], is_virtual=each.is_virtual)
    except BaseException as error:
        error.add_note(f"{each}: cancelled after step {at}, and again {more} later")
        raise
    return cut.is_made


# The peer of a connection


@dataclass
class Tool:
    """A peer of bytes: it reads whole frames, and answers those that it is to answer."""

    answers: bool = True
    # It reads while this is set.
    reads: trio.Event = field(default_factory=trio.Event)
    got: list[Got] = field(default_factory=list)
    peer: RawPeer | None = None
    # What it has not answered yet.
    owed: list[Got] = field(default_factory=list)
    selected: trio.Event = field(default_factory=trio.Event)
    has_ended: bool = False
    sending: trio.Lock = field(default_factory=trio.Lock)

    def __post_init__(self) -> None:
        self.reads.set()

    async def serve(self, peer: RawPeer) -> None:
        self.peer, self.has_ended = peer, False
        while True:
            await self.reads.wait()
            got = await peer.next_frame()
            if got is None or got.stype == SEPARATE_REQ:
                break
            self.got.append(got)
            self.owed.append(got)
            await self.answer()
        if got is not None:
            self.got.append(got)
        self.has_ended = True
        await peer.close()

    async def answer(self) -> None:
        """Answer what is owed, late or not."""
        while self.answers and self.owed:
            got = self.owed.pop(0)
            match got.stype:
                case 0 if got.byte2 & 0x80:
                    await self.send(data(got.byte2 & 0x7F, got.byte3 + 1, got.system))
                case 1:
                    await self.send(select_rsp(got.system))
                    self.selected.set()
                case 2:
                    self.selected.set()
                case 3:
                    await self.send(deselect_rsp(got.system))
                case 5:
                    await self.send(linktest_rsp(got.system))

    async def send(self, *frames: bytes) -> None:
        assert self.peer is not None
        async with self.sending:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.peer.send(*frames)

    async def wake(self) -> None:
        """From now on it does all that it has not done."""
        self.answers = True
        self.reads.set()
        await self.answer()

    def count(self, stream: int, function: int) -> int:
        return sum((each.byte2 & 0x7F, each.byte3) == (stream, function) for each in self.got)


@dataclass
class End:
    """A selected end of the engine, of any kind, and its peer."""

    m: Any
    tool: Tool
    board: Switchboard | None
    nursery: trio.Nursery
    # What was received, and what others have got.
    primary: Any = None
    replies: list[Message] = field(default_factory=list)
    # Whether another task asks too.
    has_company: bool = False

    @property
    def is_up(self) -> bool:
        """Whether the first connection lives, and no timer is about to end it."""
        is_first, engine = self.m.statistics().epoch == 1, self.m._engine
        return is_first and engine.phase in ("selected", "not selected") and not engine.is_due()

    @property
    def left(self) -> object:
        """What an operation must leave as it was."""
        statistics, driver = self.m.statistics(), self.m._driver
        counts = statistics.counts
        return (
            statistics.failed_attempts,
            statistics.breaker_failures,
            statistics.open_transactions,
            counts["replies_timed_out"],
            counts["rejects_sent"],
            dict(driver._waiting),
        )

    async def goes_on(self) -> None:
        """The connection is the same as before, and answers."""
        await self.tool.wake()
        await trio.testing.wait_all_tasks_blocked()
        if self.m.phase == "not selected":
            # What was asked before the cancellation was done.
            if isinstance(self.m, HsmsConnection) and self.board is None:
                await self.tool.send(select_req(77))
                await self.m._driver.until(lambda: self.m.is_selected)
            else:
                await self.m.select()
        assert self.m.is_selected
        assert (await self.m.request(S1F1)).name == "S1F2"
        await self.m.linktest()
        assert self.m.statistics().epoch == 1
        assert not self.m._driver._waiting


async def stay(peers: Callable[[], Awaitable[RawPeer]], tool: Tool) -> None:
    while True:
        await tool.serve(await peers())


async def secured(raw: RawPeer, *, listens: bool) -> RawPeer | None:
    """The peer of bytes above TLS; None when the handshake did not come to its end."""
    context = listening() if listens else host()
    try:
        return RawPeer(await secure(raw.stream, context, listens=listens, name="tool"))
    except TlsError:
        await raw.stream.aclose()
        return None


async def secured_peer(board: Switchboard) -> RawPeer:
    """The peer of the next connection whose handshake comes to its end."""
    while True:
        if (peer := await secured(await board.peer(), listens=True)) is not None:
            return peer


@asynccontextmanager
async def link_of(tool: Tool, pair: Pair, **changes: Any) -> AsyncIterator[End]:
    board = Switchboard(pair)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay, board.peer, tool)
        async with open_link(dial=board.dial, random=Random(1), **QUIET, **changes) as link:
            yield End(link, tool, board, nursery)
            await tool.wake()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def selected_link(tool: Tool, pair: Pair, **changes: Any) -> AsyncIterator[End]:
    async with link_of(tool, pair, **changes) as end:
        await end.m.wait_selected()
        yield end


@asynccontextmanager
async def active(tool: Tool, pair: Pair, **changes: Any) -> AsyncIterator[End]:
    board = Switchboard(pair)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay, board.peer, tool)
        async with open_hsms(dial=board.dial, random=Random(1), **QUIET, **changes) as opened:
            yield End(opened, tool, board, nursery)
            await tool.wake()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def passive(tool: Tool, pair: Pair, **changes: Any) -> AsyncIterator[End]:
    listener = MemoryListener(pair)
    here: list[HsmsConnection] = []
    is_here = trio.Event()

    async def handler(connection: HsmsConnection) -> None:
        here.append(connection)
        is_here.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        quiet = {name: value for name, value in QUIET.items() if name != "host"}
        serve = partial(serve_hsms, handler, listener=listener, random=Random(2))
        await nursery.start(partial(serve, **quiet, **changes))
        nursery.start_soon(tool.serve, await listener.raw())
        await trio.testing.wait_all_tasks_blocked()
        await tool.send(select_req(1))
        await is_here.wait()
        yield End(here[0], tool, None, nursery)
        await tool.wake()
        nursery.cancel_scope.cancel()


Stage = Callable[..., Any]
STAGES: dict[str, tuple[type[Any], Stage]] = {
    "a link": (HsmsLink, selected_link),
    "an active connection": (HsmsConnection, active),
    "a passive connection": (HsmsConnection, passive),
}


# The calls of a connection and of a link

Call = Callable[[End], Awaitable[Any]]
Prepare = Callable[[End], Awaitable[None]]


async def nothing_to_do(_: End) -> None:
    pass


async def silent(end: End) -> None:
    end.tool.answers = False


async def full(end: End) -> None:
    end.tool.reads = trio.Event()
    # What the peer waits in takes the first one.
    while not end.m._engine.is_full:
        await end.m.send(LONG)
        await trio.testing.wait_all_tasks_blocked()


async def down(end: End) -> None:
    if end.board is not None:
        end.board.hang()
    assert end.tool.peer is not None
    await end.tool.peer.close()
    await trio.testing.wait_all_tasks_blocked()


async def close_beside(end: End) -> None:
    async def close() -> None:
        await trio.lowlevel.checkpoint()
        await end.m.aclose()

    end.nursery.start_soon(close)


async def another_asks(end: End) -> None:
    end.has_company = True

    async def ask() -> None:
        end.replies.append(await end.m.request(Message(1, 11, wait=True)))

    end.nursery.start_soon(ask)


SITUATIONS: dict[str, Prepare] = {
    "the peer answers": nothing_to_do,
    "the peer is silent": silent,
    "its queue is full": full,
    "it is down": down,
    "it is closed beside": close_beside,
    "another asks": another_asks,
}
CALLS: dict[str, Call] = {
    "request": lambda end: end.m.request(S1F1),
    "send": lambda end: end.m.send(S6F11),
    "reply": lambda end: end.m.reply(end.primary, S1F2),
    "linktest": lambda end: end.m.linktest(),
    "deselect": lambda end: end.m.deselect(),
    "select": lambda end: end.m.select(),
}


async def tried(cut: Cut, end: End, call: Call) -> Outcome:
    """The outcome of ``call``; a cancellation leaves no count and no entry of its own."""
    before = end.left
    cut.look = lambda: end.is_up
    outcome = await cut(lambda: call(end))
    if outcome == Cancelled() and cut.seen and not end.has_company:
        assert end.left == before
    return outcome


def add_call(stage: str, name: str, situation: str) -> None:
    kind, open_end = STAGES[stage]
    call, prepare = CALLS[name], SITUATIONS[situation]

    @scenario(f"{kind.__name__}.{name}", f"{stage}, {situation}")
    async def play(cut: Cut) -> None:
        pair = lockstep_stream_pair if prepare is full else direct_pair
        changes = {"outbox_size": 1} if prepare is full else {}
        # A peer that takes nothing may be lost meanwhile.
        with suppress_group(ConnectionLostError):
            async with open_end(Tool(), pair, **changes) as end:
                if name == "reply":
                    await end.tool.send(data(1, 1, 99, wait=True))
                    end.primary = await end.m.receive()
                if name == "select":
                    await end.m.deselect()
                await prepare(end)
                outcome = await tried(cut, end, call)
                is_closing = prepare is close_beside
                was_up = outcome == Cancelled() and bool(cut.seen)
                if name == "reply" and was_up and not is_closing:
                    # None was sent, so it may be given now.
                    await end.tool.wake()
                    await end.m.reply(end.primary, S1F2)
                if was_up and not is_closing:
                    await end.goes_on()
                if prepare is another_asks:
                    await trio.testing.wait_all_tasks_blocked()
                    # Only one of the two was cancelled, or the session was taken from both.
                    assert end.replies or not end.m.is_selected or name == "deselect"
                if isinstance(outcome, Returned) and prepare is not down:
                    await (end.m.aclose() if is_closing else end.goes_on())
                if was_up or isinstance(outcome, Returned):
                    # Whole, or not at all; and the frames before and after it were whole.
                    was_sent = isinstance(outcome, Returned)
                    assert end.tool.count(6, 11) == (name == "send" and was_sent)
                    assert end.tool.count(1, 2) == (
                        name == "reply" and (was_sent or not is_closing)
                    )


for _stage in STAGES:
    for _name in CALLS:
        # Nothing can be sent before a Select.
        for _situation in list(SITUATIONS)[: None if _name != "select" else 2]:
            add_call(_stage, _name, _situation)


# Closing

CLOSES: dict[str, Call] = {
    "aclose": lambda end: end.m.aclose(),
    "until_closed": lambda end: end.m.until_closed(),
}


def add_close(stage: str, name: str, situation: str) -> None:
    kind, open_end = STAGES[stage]
    prepare = SITUATIONS[situation]

    @scenario(f"{kind.__name__}.{name}", f"{stage}, {situation}")
    async def play(cut: Cut) -> None:
        pair = lockstep_stream_pair if prepare is full else direct_pair
        changes = {"outbox_size": 1} if prepare is full else {}
        with suppress_group(HsmsError):
            async with open_end(Tool(), pair, **changes) as end:
                await prepare(end)
                await cut(lambda: CLOSES[name](end))
                # Also when it was cancelled before it began.
                assert end.m.phase == "closed"
                assert not end.m._driver._waiting
                assert end.m.statistics().open_transactions == 0
                if prepare not in (full, down):
                    await trio.testing.wait_all_tasks_blocked()
                    assert end.tool.got[-1].stype == SEPARATE_REQ


for _stage in STAGES:
    for _name in CLOSES:
        for _situation in SITUATIONS:
            add_close(_stage, _name, _situation)


# Reading

READS: dict[str, Call] = {
    "receive": lambda end: end.m.receive(),
    "__anext__": lambda end: end.m.__anext__(),
}
FUNCTIONS = [2 * number + 1 for number in range(5)]


def frames_of(functions: list[int]) -> list[bytes]:
    return [data(6, function, function) for function in functions]


async def here_already(end: End) -> None:
    await end.tool.send(*frames_of(FUNCTIONS))
    await trio.testing.wait_all_tasks_blocked()


async def come_one_by_one(end: End) -> None:
    async def send() -> None:
        for frame in frames_of(FUNCTIONS):
            await trio.sleep(1)
            await end.tool.send(frame)

    end.nursery.start_soon(send)


async def another_reads(end: End) -> None:
    async def read() -> None:
        for _ in range(2):
            end.replies.append(await end.m.receive())

    end.nursery.start_soon(read)
    await come_one_by_one(end)


READINGS: dict[str, Prepare] = {
    "some are here": here_already,
    "they come": come_one_by_one,
    "another reads": another_reads,
}


def add_read(stage: str, name: str, situation: str) -> None:
    kind, open_end = STAGES[stage]
    prepare = READINGS[situation]

    @scenario(f"{kind.__name__}.{name}", f"{stage}, {situation}")
    async def play(cut: Cut) -> None:
        async with open_end(Tool(), direct_pair) as end:
            await prepare(end)
            outcome = await tried(cut, end, READS[name])
            if prepare is another_reads:
                await trio.sleep(10)
            mine = [outcome.value] if isinstance(outcome, Returned) else []
            others = 2 if prepare is another_reads else 0
            while len(mine) + others < len(FUNCTIONS):
                mine.append(await end.m.receive())
            for taken in (mine, end.replies):
                assert [each.function for each in taken] == sorted(each.function for each in taken)
            assert sorted(each.function for each in mine + end.replies) == FUNCTIONS
            await end.goes_on()


def add_read_of_closed(stage: str, name: str) -> None:
    kind, open_end = STAGES[stage]

    @scenario(f"{kind.__name__}.{name}", f"{stage}, it is closed beside")
    async def play_closed(cut: Cut) -> None:
        async with open_end(Tool(), direct_pair) as end:
            await close_beside(end)
            await tried(cut, end, READS[name])


for _stage in STAGES:
    for _name in READS:
        add_read_of_closed(_stage, _name)
        for _situation in READINGS:
            add_read(_stage, _name, _situation)


def add_events(name: str) -> None:
    @scenario(f"EventReader.{name}", "they come")
    async def play(cut: Cut) -> None:
        async with link_of(Tool(), direct_pair) as end:
            reader = end.m.events()
            outcome = await cut(getattr(reader, name))
            found = [outcome.value] if isinstance(outcome, Returned) else []
            while not isinstance(found[-1] if found else None, events.Selected):
                found.append(await reader.receive())
            kinds = [type(each) for each in found]
            assert kinds == [events.Connecting, events.Selecting, events.Selected]

    @scenario(f"EventReader.{name}", "there are no more")
    async def play_over(cut: Cut) -> None:
        async with selected_link(Tool(), direct_pair) as end:
            reader = end.m.events()
            await reader.receive()
            await reader.receive()
            await reader.receive()
            await close_beside(end)
            outcome = await cut(getattr(reader, name))
            if outcome == Cancelled():
                kinds = [type(each) async for each in reader]
                assert kinds[-1] is events.Closed


for _name in ("receive", "__anext__"):
    add_events(_name)


# A link that is not selected


async def selected_already(end: End) -> None:
    await end.m.wait_selected()


async def connecting(end: End) -> None:
    assert end.board is not None
    end.board.hang()


async def selecting(end: End) -> None:
    end.tool.answers = False


async def refused(end: End) -> None:
    assert end.board is not None
    end.board.refuse()


async def breaker_open(end: End) -> None:
    await refused(end)
    reader = end.m.events()
    while not isinstance(await reader.receive(), events.BreakerOpened):
        pass


async def disabled(end: End) -> None:
    end.m.disable()


WAITS: dict[str, Prepare] = {
    "selected already": selected_already,
    "connecting": connecting,
    "selecting": selecting,
    "refused": refused,
    "the breaker is open": breaker_open,
    "disabled": disabled,
    "it is closed beside": close_beside,
}


def add_wait(name: str, situation: str, *, two: bool) -> None:
    prepare = WAITS[situation]

    @scenario(f"HsmsLink.{name}", situation + (", two callers" if two else ""))
    async def play(cut: Cut) -> None:
        async with link_of(Tool(), direct_pair, breaker_threshold=2, t5=5) as end:
            board = end.board
            assert board is not None
            outcomes: list[str] = []

            async def other() -> None:
                try:
                    await getattr(end.m, name)()
                except HsmsError as error:
                    outcomes.append(str(error))
                else:
                    outcomes.append("selected")

            async def recover() -> None:
                await trio.sleep(1)
                if prepare is connecting:
                    board.answers.set()
                if prepare is disabled:
                    end.m.enable()
                await end.tool.wake()
                await trio.sleep(9)
                board.refusal = None

            await prepare(end)
            if two:
                end.nursery.start_soon(other)
            end.nursery.start_soon(recover)
            outcome = await cut(getattr(end.m, name))
            if prepare is close_beside:
                return
            await end.m.wait_selected()
            await trio.testing.wait_all_tasks_blocked()
            statistics = end.m.statistics()
            failed = board.dialled - 1 if prepare in (refused, breaker_open) else 0
            assert (statistics.failed_attempts, statistics.breaker_failures) == (failed, 0)
            assert (await end.m.request(S1F1)).name == "S1F2"
            if two:
                # The other one has what it would have had alone.
                (found,) = outcomes
                if isinstance(outcome, Raised):
                    assert found == str(outcome.error)
                elif isinstance(outcome, Returned):
                    assert found == "selected"


for _name in ("wait_selected", "connect"):
    for _situation in WAITS:
        for _two in (False, True):
            add_wait(_name, _situation, two=_two)


# A task of each session


def add_session_task(situation: str) -> None:
    prepare = SITUATIONS[situation]

    @scenario("HsmsLink.on_selected", situation)
    async def play(cut: Cut) -> None:
        async with selected_link(Tool(), direct_pair) as end:
            running = 0

            async def task(link: HsmsLink) -> None:
                nonlocal running
                assert not running
                running += 1
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(link.request, S1F1)
                        nursery.start_soon(link.receive)
                finally:
                    running -= 1

            before = end.left
            await prepare(end)
            if prepare is close_beside:
                with suppress(HsmsError), cut.watching(end.m.on_selected(task)):
                    await end.m.until_closed()
                return
            cut.look = lambda: end.is_up
            with cut.watching(end.m.on_selected(task)):
                # Not until T5 is over, which wakes tasks: a cut then would leave the task no turn.
                await trio.sleep(11)
            if cut.is_made:
                assert not running
                if cut.seen:
                    assert prepare is another_asks or end.left == before
                    await end.goes_on()


for _situation in ("the peer answers", "the peer is silent", "it is down", "it is closed beside"):
    add_session_task(_situation)


# Blocks

Body = Callable[[Any], Awaitable[None]]


async def asks(m: Any) -> None:
    await m.request(S1F1)


async def has_nurseries(m: Any) -> None:
    """As programs have it: tasks in tasks, one of them cleans up."""

    async def deeper() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(m.request, S1F1)
            async with trio.open_nursery() as innermost:
                innermost.start_soon(m.request, S1F1)
                innermost.start_soon(trio.sleep, 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deeper)
        nursery.start_soon(trio.sleep, 2)


async def cleans_up(m: Any) -> None:
    """What is shielded may still ask."""
    try:
        await trio.sleep(1)
    finally:
        if m.is_selected:
            with trio.CancelScope(shield=True):
                m.cleaned_up = await m.request(S1F1)


async def raises(m: Any) -> None:
    await m.request(S1F1)
    raise ValueError("the program's own")


async def closes(m: Any) -> None:
    await m.aclose()


async def watches(m: HsmsLink) -> None:
    """Tasks of the session run in the nursery of the link."""

    async def task(link: HsmsLink) -> None:
        await link.receive()

    m.on_selected(task)
    m.on_selected(task)
    await trio.sleep(1)


BODIES: dict[str, Body] = {
    "its body asks": asks,
    "its body has nurseries": has_nurseries,
    "its body cleans up": cleans_up,
    "its body raises": raises,
    "its body closes it": closes,
}
LINK_BODIES: dict[str, Body] = BODIES | {"it has tasks for its session": watches}


def add_block(
    of: str,
    situation: str,
    body: Body,
    prepare: Callable[[Tool, Switchboard], None],
    *,
    has_tls: bool = False,
) -> None:
    @scenario(of, situation)
    async def play(cut: Cut) -> None:
        tool, board = Tool(), Switchboard(direct_pair)
        prepare(tool, board)
        opened = False

        async def block() -> None:
            nonlocal opened
            open_end = open_link if of == "open_link" else open_hsms
            tls = host() if has_tls else None
            async with open_end(dial=board.dial, random=Random(1), tls=tls, **QUIET) as m:
                opened = True
                cut.look = lambda: m.is_selected
                if isinstance(m, HsmsLink):
                    await m.wait_selected()
                await body(m)

        async def recover() -> None:
            await trio.sleep(2)
            board.answers.set()
            board.refusal = None
            await tool.wake()

        async with trio.open_nursery() as nursery:
            peers = partial(secured_peer, board) if has_tls else board.peer
            nursery.start_soon(stay, peers, tool)
            nursery.start_soon(recover)
            outcome = await cut(block) if body is not cleans_up else await cut.patiently(block)
            nothing_runs()
            await trio.testing.wait_all_tasks_blocked()
            if isinstance(outcome, Raised):
                # The user's own, bare; nothing of ours in place of a cancellation.
                assert (body is raises and type(outcome.error) is ValueError) or not opened
            if opened and (cut.seen or not cut.is_made):
                assert [each.stype for each in tool.got].count(SEPARATE_REQ) == 1
            if tool.peer is not None:
                assert tool.has_ended
            nursery.cancel_scope.cancel()


def comes_up(_: Tool, __: Switchboard) -> None:
    pass


def does_not_answer(tool: Tool, _: Switchboard) -> None:
    tool.answers = False


def hangs(_: Tool, board: Switchboard) -> None:
    board.hang()


for _situation, _body in LINK_BODIES.items():
    add_block("open_link", _situation, _body, comes_up)
for _situation, _body in BODIES.items():
    add_block("open_hsms", _situation, _body, comes_up)
for _of in ("open_link", "open_hsms"):
    add_block(_of, "selecting", asks, does_not_answer)
    add_block(_of, "connecting", asks, hangs)
    add_block(_of, "with TLS", asks, comes_up, has_tls=True)


# A server


async def two_peers(
    listener: MemoryListener, nursery: trio.Nursery, *, has_tls: bool = False
) -> list[Tool]:
    """One is selected and asked, one is not selected."""
    tools = [Tool(), Tool()]

    async def serve(tool: Tool, raw: RawPeer) -> None:
        peer = await secured(raw, listens=False) if has_tls else raw
        if peer is not None:
            await tool.serve(peer)

    for tool in tools:
        nursery.start_soon(serve, tool, await listener.raw())
    await trio.testing.wait_all_tasks_blocked()
    await tools[0].send(select_req(1))
    return tools


async def ask_and_wait(connection: HsmsConnection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.request, S1F1)
        nursery.start_soon(connection.receive)


async def wait_only(_: HsmsConnection) -> None:
    await trio.sleep_forever()


def add_server(
    situation: str,
    handler: Callable[[HsmsConnection], Awaitable[None]],
    *,
    has_tls: bool = False,
) -> None:
    tls = listening() if has_tls else None

    @scenario("serve_hsms", situation)
    async def play(cut: Cut) -> None:
        listener = MemoryListener(direct_pair)
        tools: list[Tool] = []

        async def serve() -> None:
            async with trio.open_nursery() as serving:
                server: HsmsServer = await serving.start(
                    partial(serve_hsms, handler, listener=listener, random=Random(2), tls=tls)
                )
                tools.extend(await two_peers(listener, nursery, has_tls=has_tls))
                await trio.sleep(1)
                await server.aclose()

        async with trio.open_nursery() as nursery:
            await cut(serve)
            nothing_runs()
            await trio.testing.wait_all_tasks_blocked()
            assert listener.closed
            assert all(tool.has_ended for tool in tools if tool.peer is not None)
            nursery.cancel_scope.cancel()

    @scenario("HsmsServer.aclose", situation)
    async def play_close(cut: Cut) -> None:
        listener = MemoryListener(direct_pair)
        async with trio.open_nursery() as nursery:
            server: HsmsServer = await nursery.start(
                partial(serve_hsms, handler, listener=listener, random=Random(2), tls=tls)
            )
            tools = await two_peers(listener, nursery, has_tls=has_tls)
            await trio.testing.wait_all_tasks_blocked()
            reader = server.events()
            tools[0].answers = False
            await cut(server.aclose)
            await trio.testing.wait_all_tasks_blocked()
            nothing_runs()
            assert listener.closed
            assert tools[0].got[-1].stype == SEPARATE_REQ
            assert all(tool.has_ended for tool in tools)
            assert [type(each) async for each in reader][-1] is events.Closed


add_server("its handlers wait", wait_only)
add_server("its handlers ask", ask_and_wait)
add_server("with TLS", wait_only, has_tls=True)


# A breaker


def add_attempt(state: str) -> None:
    @scenario("CircuitBreaker.attempt", state)
    async def play(cut: Cut) -> None:
        breaker = CircuitBreaker(2, 10, trio.current_time)

        async def attempt() -> None:
            with breaker.attempt():
                await trio.sleep(1)
                await trio.sleep(1)

        def fail() -> None:
            with suppress(ValueError), breaker.attempt():
                raise ValueError

        fail()
        if state == "probing":
            fail()
            await trio.sleep(10)
        cut.look = lambda: breaker.state
        outcome = await cut(attempt)
        if outcome == Cancelled():
            # Also before it has begun.
            assert cut.seen == ("ready" if state == "probing" and not cut.at else state)
            # Neither a success nor a failure.
            assert breaker.state == ("ready" if state == "probing" else "closed")
            assert breaker.failures == (2 if state == "probing" else 1)
            assert breaker.counts["attempt_cancelled"] == 1
        fail()
        assert breaker.counts["attempt_failed"] == (3 if state == "probing" else 2)


for _state in ("closed", "probing"):
    add_attempt(_state)


# Over TCP, in real time


@asynccontextmanager
async def tcp_tool(tool: Tool) -> AsyncIterator[Listener]:
    """Where ``tool`` is dialled."""
    listener = await listen_tcp(HERE, 0)

    async def accept() -> RawPeer:
        return RawPeer((await listener.accept())[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay, accept, tool)
        yield listener
        nursery.cancel_scope.cancel()
    listener.close()


def add_dial(of: str, addresses: list[str], situation: str) -> None:
    @scenario(of, situation, is_virtual=False)
    async def play(cut: Cut) -> None:
        open_end = open_link if of == "open_link" else open_hsms
        tool = Tool()
        async with tcp_tool(tool) as listener:
            every_name_has(found(*addresses))

            async def block() -> None:
                changes = {**QUIET, "port": listener.port}
                async with open_end(random=Random(1), **changes) as m:
                    cut.look = lambda: m.is_selected
                    if isinstance(m, HsmsLink):
                        await m.wait_selected()
                    await m.request(S1F1)

            outcome = await cut(block)
            assert not isinstance(outcome, Raised)
            nothing_runs()
            while tool.peer is not None and not tool.has_ended:
                await trio.lowlevel.checkpoint()
            if cut.seen or not cut.is_made:
                assert [each.stype for each in tool.got].count(SEPARATE_REQ) == 1


for _of in ("open_link", "open_hsms"):
    add_dial(_of, [HERE], "over TCP")
    add_dial(_of, ["127.0.0.2", HERE], "over TCP, the second address answers")


@scenario("serve_hsms", "over TCP", is_virtual=False)
async def _play_serve(cut: Cut) -> None:
    tool = Tool()

    async def serve() -> None:
        async with trio.open_nursery() as serving:
            server: HsmsServer = await serving.start(partial(serve_hsms, ask_and_wait, HERE, 0))
            nursery.start_soon(tool.serve, RawPeer(await connect_tcp(HERE, server.port)))
            while not server.connections or tool.peer is None:
                await trio.lowlevel.checkpoint()
            await tool.send(select_req(1))
            while not tool.selected.is_set():
                await trio.lowlevel.checkpoint()
            await server.aclose()

    async with trio.open_nursery() as nursery:
        await cut(serve)
        nothing_runs()
        while tool.peer is not None and not tool.has_ended:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


# Health


def add_health(situation: str, where: Callable[[str], int | str]) -> None:
    @scenario("serve_health", situation, is_virtual=False)
    async def play(cut: Cut) -> None:
        with TemporaryDirectory() as folder:

            async def tell() -> None:
                async with trio.open_nursery() as nursery:
                    told = await nursery.start(partial(serve_health, [], where(folder)))
                    assert not (await ask_health(told.where)).is_ready
                    nursery.cancel_scope.cancel()

            await cut(tell)
            nothing_runs()
            assert [*Path(folder).iterdir()] == []  # noqa: ASYNC240  # nothing waits for it


add_health("over TCP", lambda _: 0)
add_health("over a Unix socket", lambda folder: f"{folder}/health")


# The fake equipment

FAST: dict[str, Any] = {"t5": 0.001, "linger": 0.01, "allow_short_timers": True}


async def answer_all(link: HsmsLink) -> None:
    async for primary in link:
        if primary.wait:
            await link.reply(primary, Message(primary.stream, primary.function + 1))


@asynccontextmanager
async def fake() -> AsyncIterator[tuple[FakeEquipment, HsmsLink, trio.Nursery]]:
    """A fake equipment and a host that answers it."""
    async with trio.open_nursery() as nursery:
        tool: FakeEquipment = await nursery.start(serve_fake)
        changes = {**QUIET, **FAST, "breaker_threshold": 1_000}
        changes |= {"host": HERE, "port": tool.port}
        async with open_link(random=Random(1), **changes) as link:
            nursery.start_soon(answer_all, link)
            await link.wait_selected()
            await tool.until(lambda: tool.counts["selected"] == 1)
            yield tool, link, nursery
        await tool.aclose()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def add_fake(name: str, situation: str, call: Callable[[FakeEquipment], Awaitable[Any]]) -> None:
    @scenario(f"FakeEquipment.{name}", situation, is_virtual=False)
    async def play(cut: Cut) -> None:
        async with fake() as (tool, link, nursery):
            if situation == "killed":
                await tool.kill()
            if situation == "refusing":
                await tool.behave("refuse-tcp")
            if situation == "told by others":
                nursery.start_soon(link.request, S1F1)
            before = tool.behaviours
            outcome = await cut(lambda: call(tool))
            match name:
                case "aclose":
                    assert tool.closed.is_set()
                    return
                case "kill":
                    # Also when it was cancelled.
                    assert not tool.connections
                    await tool.restart()
                case "restart" if outcome == Cancelled():
                    await tool.restart()
                case "behave":
                    assert outcome != Cancelled() or tool.behaviours == before
                    await tool.behave()
                case _:
                    pass
            assert not isinstance(outcome, Raised)
            await link.wait_selected()
            assert (await link.request(S1F1)).name == "S1F2"


add_fake("until", "told by others", lambda tool: tool.until(lambda: tool.counts["replied"] > 0))
add_fake("expect", "told by others", lambda tool: tool.expect("S1F2"))
add_fake("send", "selected", lambda tool: tool.send(S6F11))
add_fake("request", "selected", lambda tool: tool.request(S1F1))
add_fake("behave", "listening", lambda tool: tool.behave("refuse-tcp"))
add_fake("behave", "refusing", lambda tool: tool.behave())
add_fake("kill", "selected", lambda tool: tool.kill())
add_fake("restart", "killed", lambda tool: tool.restart())
add_fake("aclose", "selected", lambda tool: tool.aclose())


@scenario("serve_fake", "over TCP", is_virtual=False)
async def _play_fake(cut: Cut) -> None:
    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            tool: FakeEquipment = await nursery.start(serve_fake)
            async with open_hsms(**{**QUIET, "host": HERE, "port": tool.port}) as connection:
                await connection.request(S1F1)
            await tool.aclose()

    assert not isinstance(await cut(serve), Raised)
    nothing_runs()


# All of it

# What is not called by programs.
INNER = {"HsmsServer.serve"}
KINDS = (HsmsLink, HsmsConnection, HsmsServer, EventReader, FakeEquipment, CircuitBreaker)
# No coroutines, but what they begin can be cancelled.
BESIDE = {"HsmsLink.on_selected", "CircuitBreaker.attempt"}


def public_coroutines() -> set[str]:
    """All that a program can await, or enter, by reflection."""
    found = {
        f"{kind.__name__}.{name}"
        for kind in KINDS
        for name in dir(kind)
        if name == "__anext__" or not name.startswith("_")
        if inspect.iscoroutinefunction(getattr(kind, name))
    }
    for module in (hsms_engine, hsms_engine.fake):
        for name in module.__all__:
            value = inspect.unwrap(getattr(module, name))
            if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
                found.add(name)
    return found - INNER | BESIDE


def test_every_public_coroutine_has_its_scenarios() -> None:
    assert public_coroutines() == {each.of for each in SCENARIOS}
    assert len(set(map(str, SCENARIOS))) == len(SCENARIOS)


@pytest.fixture(scope="module", autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """How many points were tried is printed at the end."""
    yield
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        points, scenarios = sum(TRIED.values()), len(TRIED)
        print(f"\ncancelled at {points:,} points in {scenarios} scenarios")


# Where a second cancellation finds something that the first has begun.
TWICE = {"open_link", "open_hsms", "serve_hsms", "aclose", "until_closed"}


@pytest.mark.search
@pytest.mark.parametrize("each", SCENARIOS, ids=str)
def test_cancelled_after_every_step(each: Scenario) -> None:
    is_twice = each.is_virtual and each.of.rpartition(".")[2] in TWICE
    for more in (None, 1) if is_twice else (None,):
        for at in count():
            if not once(each, at, more):
                break
            TRIED[str(each)] = TRIED.get(str(each), 0) + 1
    assert TRIED[str(each)]
