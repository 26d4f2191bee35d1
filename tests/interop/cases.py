"""What is tried with each engine, in each direction. A case returns how often it was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, assert_never

import trio

from hsms_engine import HsmsError, Message
from hsms_engine.secs2 import U4, B, L
from tests.interop.bench import (
    Bench,
    DisagreedError,
    Opened,
    Ours,
    Peer,
    PeerError,
    reply_to,
    run_peer,
)

S1F1 = Message(1, 1, wait=True)
S1F13 = Message(1, 13, wait=True, item=L("OURS", "1"))
S2F41 = Message(
    2,
    41,
    wait=True,
    item=L("START", L(L("LOT", "L-1"), L("SLOTS", U4(100_000)), L("RECIPE", "etch 7"))),
)
MEGABYTE = Message(2, 25, wait=True, item=B(bytes(range(250)) * 4_000))
AT_ONCE = [Message(2, 25, wait=True, item=B(number.to_bytes(4, "big"))) for number in range(100)]


def expect(reply: tuple[int, int, bytes], wanted: Message) -> None:
    if reply != (wanted.stream, wanted.function, wanted.body):
        stream, function, body = reply
        raise DisagreedError(
            f"the reply is S{stream}F{function} {body[:40].hex()}, not {wanted.name} "
            f"{wanted.body[:40].hex()}"
        )


async def we_ask(ours: Ours, message: Message) -> None:
    reply = await ours.request(message)
    expect((reply.stream, reply.function, reply.body), reply_to(message, "PEER"))


async def they_ask(peer: Peer, message: Message) -> None:
    asked = message.stream, message.function, message.body.hex() or "-"
    stream, function, body = (await peer.call("ask", *asked)).split()
    read = b"" if body == "-" else bytes.fromhex(body)
    expect((int(stream), int(function), read), reply_to(message, "OURS"))


async def both_ask(bench: Bench, ours: Ours, message: Message) -> int:
    await we_ask(ours, message)
    await they_ask(bench.peer, message)
    return 2


async def ask_at_once(bench: Bench, ours: Ours) -> None:
    """Ask before we know that the peer has seen the select too, as programs do."""
    await we_ask(ours, S1F1)
    await bench.peer.call("selected")
    await they_ask(bench.peer, S1F1)


async def at_once(calls: Sequence[Callable[[], Awaitable[object]]]) -> int:
    """Make the calls at the same time. Raises what the first that failed has raised."""
    errors: list[Exception] = []

    async def note(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except (HsmsError, PeerError, DisagreedError) as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(note, call)
    if errors:
        raise errors[0]
    return len(calls)


# The cases


async def select(_bench: Bench, _opened: Opened) -> int:
    return 1


def exchange(message: Message) -> Callable[[Bench, Opened], Awaitable[int]]:
    async def run(bench: Bench, opened: Opened) -> int:
        return await both_ask(bench, opened.ours, message)

    return run


async def hundred(bench: Bench, opened: Opened) -> int:
    done = await at_once([partial(we_ask, opened.ours, each) for each in AT_ONCE])
    return done + await at_once([partial(they_ask, bench.peer, each) for each in AT_ONCE])


async def our_linktest(_bench: Bench, opened: Opened) -> int:
    await opened.ours.linktest()
    return 1


async def their_linktest(bench: Bench, _opened: Opened) -> int:
    await bench.peer.call("linktest")
    return 1


async def both_linktests(bench: Bench, opened: Opened) -> int:
    return await at_once([opened.ours.linktest, partial(bench.peer.call, "linktest")])


async def select_again(bench: Bench, opened: Opened) -> int:
    """The end that dials selects again, and the session can be used."""
    match bench.direction:
        case "we dial":
            await opened.ours.select()
        case "they dial":
            await bench.peer.call("select")
        case _:
            assert_never(bench.direction)
    await both_ask(bench, opened.ours, S1F1)
    return 1


async def our_deselect(bench: Bench, opened: Opened) -> int:
    await opened.ours.deselect()
    return await select_again(bench, opened)


async def their_deselect(bench: Bench, opened: Opened) -> int:
    await bench.peer.call("deselect")
    return await select_again(bench, opened)


async def our_separate(bench: Bench, opened: Opened) -> int:
    await opened.ours.aclose()
    await bench.peer.call("gone")
    return 1


async def their_separate(bench: Bench, opened: Opened) -> int:
    await bench.peer.call("separate")
    await opened.until_gone()
    if "< Separate.req" not in bench.wire:
        raise DisagreedError("it closed without Separate.req")
    return 1


async def killed(bench: Bench, opened: Opened) -> int:
    """SIGKILL; a new process takes its place, and the link is back without a call of ours."""
    await bench.peer.kill()
    await opened.until_gone()
    async with run_peer(bench.engine) as bench.peer:
        await bench.peer.call("start", bench.mode, bench.port)
        ours = await opened.next_selected()
        await ask_at_once(bench, ours)
    return 1


def once(run: Callable[[Bench, Opened], Awaitable[int]]) -> Callable[[Bench], Awaitable[int]]:
    """A case that needs one connection, selected as both ends see it."""

    async def with_one(bench: Bench) -> int:
        async with bench.opened() as opened:
            await bench.peer.call("selected")
            return await run(bench, opened)

    return with_one


async def cycle(bench: Bench) -> int:
    """Connect, ask both ways and separate; the end that dials separates."""
    async with bench.opened() as opened:
        await ask_at_once(bench, opened.ours)
        match bench.direction:
            case "we dial":
                await opened.ours.aclose()
            case "they dial":
                await bench.peer.call("separate")
                await opened.until_gone()
            case _:
                assert_never(bench.direction)
    return 1


@dataclass(frozen=True, slots=True)
class Case:
    """``name`` is the row of the table; ``run`` is done until it has returned ``times`` together.

    It raises one of ``TROUBLE`` when something went another way.
    """

    name: str
    run: Callable[[Bench], Awaitable[int]]
    times: int = 1


# Anything else that a case raises is a mistake of the case.
TROUBLE: Final = (HsmsError, PeerError, DisagreedError, trio.TooSlowError)


def cases(cycles: int) -> tuple[Case, ...]:
    """All cases, in the order of the table."""
    return (
        Case("select", once(select)),
        Case("S1F1", once(exchange(S1F1))),
        Case("S1F13", once(exchange(S1F13))),
        Case("S2F41 with lists", once(exchange(S2F41))),
        Case("100 requests at once", once(hundred)),
        Case("1 MB", once(exchange(MEGABYTE))),
        Case("our linktest", once(our_linktest)),
        Case("their linktest", once(their_linktest)),
        Case("linktests of both at once", once(both_linktests)),
        Case("our deselect, select again", once(our_deselect)),
        Case("their deselect, select again", once(their_deselect)),
        Case("our separate", once(our_separate)),
        Case("their separate", once(their_separate)),
        Case("killed and started again", once(killed)),
        Case("cycles", cycle, cycles),
    )
