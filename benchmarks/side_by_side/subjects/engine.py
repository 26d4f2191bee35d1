"""This engine, through its trio API. Its doors ask the same listener."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import assert_never

import trio

from benchmarks.side_by_side import in_trio
from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.subjects.frames import REPLY_BODY
from benchmarks.side_by_side.subjects.program import main, ready
from benchmarks.side_by_side.work import (
    SLOW,
    Connects,
    Events,
    Links,
    Start,
    Steps,
    Trips,
    Work,
)
from hsms_engine import (
    HsmsConnection,
    Message,
    Settings,
    SettingsChanges,
    TlsFiles,
    open_hsms,
    open_link,
    serve_hsms,
)
from hsms_engine.secs2 import B, decode, encode

HOST = "127.0.0.1"
SLOW_PRIMARY = Message(1, 3, wait=True)
_REPLY, _SLOW_REPLY = Message(1, 2, body=REPLY_BODY), Message(1, 4, body=REPLY_BODY)
# One session for each link, as a simulator of many tools has them.
_MANY: SettingsChanges = {"max_sessions": 100_000, "max_connections": 100_000}
_IDLE_LINKTEST = 30.0


def primary_of(work: Trips) -> Message:
    if work.size is None:
        return Message(1, 1, wait=True)
    return Message(2, 25, wait=True, body=encode(B(bytes(work.size))))


def tls_of(folder: str, name: str) -> TlsFiles | None:
    """The certificate of the end of this name, which checks that of the other."""
    if not folder:
        return None
    at = Path(folder)
    return TlsFiles(certificate=at / f"{name}.pem", authorities=at / "authority.pem")


async def answer(connection: HsmsConnection) -> None:
    async def answer_late(primary: Message) -> None:
        await trio.sleep(SLOW)
        await connection.reply(primary, _SLOW_REPLY)

    async with trio.open_nursery() as nursery:
        async for primary in connection:
            match primary.stream, primary.function:
                case 1, 1:
                    await connection.reply(primary, _REPLY)
                case 1, 3:
                    nursery.start_soon(answer_late, primary)
                case 6, 11:
                    decode(primary.body).to_python()
                case _:
                    await connection.reply(primary, Message(2, 26, body=primary.body))
        nursery.cancel_scope.cancel()


async def answer_s1f1(connection: HsmsConnection) -> None:
    """Without a nursery: it would count as memory of a link."""
    async for primary in connection:
        await connection.reply(primary, _REPLY)


async def serve(port: int, work: Work) -> None:
    settings, tls, handler = Settings(host=HOST, port=port), None, answer
    match work:
        case Links():
            settings, handler = settings.replace(**_MANY), answer_s1f1
        case Trips(tls=folder) | Connects(tls=folder):
            tls = tls_of(folder, "listening")
        case _:
            pass
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_hsms, handler, settings, tls=tls))
        ready()


async def make_trips(port: int, work: Trips, meter: Meter) -> dict[str, float]:
    primary = primary_of(work)
    async with open_hsms(HOST, port, tls=tls_of(work.tls, "dialling")) as connection:
        request = connection.request
        return await in_trio.trips(
            work, meter, [partial(request, primary)], partial(request, SLOW_PRIMARY)
        )


async def send_events(port: int, work: Events, meter: Meter) -> dict[str, float]:
    from benchmarks.events import our_event

    async with open_hsms(HOST, port) as connection:
        # Its reply tells that all before it was taken.
        await connection.request(Message(1, 1, wait=True))
        meter.begin()
        for _ in range(work.count):
            await connection.send(Message(6, 11, item=our_event()))
        await connection.request(Message(1, 1, wait=True))
        return meter.end(work.count)


async def start(port: int, work: Start) -> dict[str, float]:
    async with open_hsms(HOST, port):
        return {"start": time.monotonic() - work.began}


async def connect(port: int, work: Connects, meter: Meter) -> dict[str, float]:
    tls = tls_of(work.tls, "dialling")
    async with open_hsms(HOST, port, tls=tls):
        pass
    meter.begin()
    for _ in range(work.count):
        async with open_hsms(HOST, port, tls=tls):
            pass
    return meter.end(work.count)


async def hold_links(port: int, work: Links, meter: Meter) -> dict[str, float]:
    settings = Settings(host=HOST, port=port, linktest_interval=_IDLE_LINKTEST)
    began = time.perf_counter()
    async with AsyncExitStack() as stack:
        # A task for each would count as its memory.
        opening = [stack.enter_async_context(open_link(settings)) for _ in range(work.count)]
        links = [await each for each in opening]
        for link in links:
            await link.wait_selected()
        figures = {"selected": time.perf_counter() - began}
        figures |= await in_trio.idle(work, meter)
        if work.trips:
            primary = Message(1, 1, wait=True)
            ways = [partial(link.request, primary) for link in links]
            figures |= await in_trio.busy(work, meter, ways)
            one = Trips(work.trips)
            figures["rate_one"] = (await in_trio.trips(one, meter, ways[:1]))["rate"]
    return figures


def take_steps(work: Steps, meter: Meter) -> dict[str, float]:
    """Of a selected link: the linktest interval expires, and Linktest.rsp comes."""
    from statecharts import Router
    from statecharts.hsms import ACTIVE_LINK

    router = Router(ACTIVE_LINK)
    snapshot = router.initial
    for event in ("enable_requested", "tcp_opened", "select_rsp_accepted"):
        snapshot = router.step(snapshot, event).snapshot
    step = router.step
    meter.begin()
    for _ in range(work.count // 2):
        snapshot = step(snapshot, "linktest_interval_expired").snapshot
        snapshot = step(snapshot, "linktest_rsp_received").snapshot
    return meter.end(work.count)


class Engine:
    def listen(self, port: int, work: Work) -> None:
        trio.run(serve, port, work)

    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        match work:
            case Trips():
                return trio.run(make_trips, port, work, meter)
            case Events():
                return trio.run(send_events, port, work, meter)
            case Start():
                return trio.run(start, port, work)
            case Connects():
                return trio.run(connect, port, work, meter)
            case Links():
                return trio.run(hold_links, port, work, meter)
            case Steps():
                return take_steps(work, meter)
            case _:
                assert_never(work)


if __name__ == "__main__":
    main(Engine())
