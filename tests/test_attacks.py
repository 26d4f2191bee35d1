"""The heart of each attack, in memory: only its own connection ends, and little is kept.

``python -m tests.attacks`` does the same over loopback, with figures.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsConnection, Message
from hsms_engine.secs2 import DecodeError
from hsms_engine.wire import Decoder, Frame
from tests.attacks import hostile
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import MemoryListener, Switchboard, link_end, server_end
from tests.support.raw_peer import (
    REJECT_REQ,
    RawPeer,
    data,
    deselect_req,
    linktest_req,
    raw,
    reject_req,
    select_req,
    select_rsp,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"max_sessions": 100, "linktest_interval": None}
SYSTEM = 0x0BAD


async def reads(connection: HsmsConnection) -> None:
    """Reads the item of every primary; what is no SECS-II is answered with SxF0."""
    async for primary in connection:
        function = primary.function + 1
        try:
            repr(primary.item)
        except DecodeError:
            function = 0
        if primary.wait:
            await connection.reply(primary, Message(primary.stream, function))


async def selected(listener: MemoryListener) -> RawPeer:
    peer = await listener.raw()
    await peer.select()
    return peer


async def is_served(peer: RawPeer) -> None:
    """The honest session goes on."""
    await peer.send(data(1, 1, SYSTEM, wait=True))
    await peer.expect(data(1, 2, SYSTEM))


async def rest(peer: RawPeer) -> int:
    """Read until the server closes; how many bytes came."""
    count = 0
    while True:
        try:
            more = await peer.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            return count
        if not more:
            return count
        count += len(more)


# What ends only its own connection, at once

_CUT = data(6, 11, 7, body=bytes(500))
ENDS = {
    **{f"length {length}": length.to_bytes(4) for length in hostile.BAD_LENGTHS},
    **{f"cut after {at}": _CUT[:at] for at in (1, 4, 5, 13, 14, 300)},
    "separate": separate_req(1) * 20,
}


@pytest.mark.parametrize("selects", [False, True], ids=["unselected", "selected"])
@pytest.mark.parametrize("sent", ENDS.values(), ids=ENDS)
async def test_it_ends_its_own_connection_and_no_other(sent: bytes, selects: bool) -> None:
    async with server_end(reads, **QUIET) as (server, listener):
        honest = await selected(listener)
        peer = await (selected(listener) if selects else listener.raw())
        await peer.send(sent)
        await wait_all_tasks_blocked()
        await peer.close()
        await wait_all_tasks_blocked()
        assert len(server.connections) == 1
        await is_served(honest)
        assert (server.failed_connections, server.handlers) == (0, 1)


# What is answered, frame by frame, and ends nothing


@pytest.mark.parametrize("selects", [False, True], ids=["unselected", "selected"])
async def test_every_undefined_type_is_rejected_with_its_reason(selects: bool) -> None:
    frames = hostile.every_ptype_and_stype()
    assert len(frames) == 255 + 247
    async with server_end(reads, **QUIET) as (_, listener):
        peer = await (selected(listener) if selects else listener.raw())
        for frame, reason in frames:
            await peer.send(frame)
            got = await peer.frame()
            assert (got.stype, got.byte2, got.byte3) == (REJECT_REQ, got.system, reason)
        await peer.ping()


STORMS = {
    "rejects": reject_req(7, 1, 3),
    "deselects and selects": deselect_req(7) + select_req(8),
    "unasked secondaries": hostile.unasked_secondaries(10),
    "foreign sessions": data(6, 11, 7, session=9),
}


@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS)
async def test_after_a_storm_both_sessions_go_on_and_the_log_is_short(
    storm: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(reads, **QUIET) as (_, listener):
        honest, peer = await selected(listener), await selected(listener)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_on, peer, SYSTEM)
            await peer.send(storm * 500, data(1, 1, SYSTEM, wait=True))
        await is_served(honest)
    assert len(caplog.records) < 30


async def test_a_peer_that_selects_and_deselects_without_end_makes_twenty_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(reads, **QUIET) as (_, listener):
        for number in (1, 2):
            caplog.clear()
            peer = await selected(listener)
            for _ in range(50):
                await peer.send(deselect_req(7) + select_req(8))
                await peer.frame()
                await peer.frame()
            name = f"memory peer {number} passive"
            lines = [each.getMessage() for each in caplog.records]
            assert len(lines) == 20
            assert lines[:2] == [
                f"{name}: not selected: TCP is open (T7 = 10 s)",
                f"{name}: selected",
            ]
            assert lines[-1] == (
                f"{name}: selected (only the first 20 such changes of a connection are logged here)"
            )


async def _read_on(peer: RawPeer, system: int) -> None:
    """Read until the answer with these system bytes."""
    while (await peer.frame()).system != system:
        pass


@pytest.mark.parametrize("is_equipment", [False, True], ids=["host", "equipment"])
async def test_each_hostile_body_is_answered(is_equipment: bool) -> None:
    async with server_end(reads, is_equipment=is_equipment, **QUIET) as (server, listener):
        peer = await selected(listener)
        bad = 0
        for number, body in enumerate(hostile.bodies()):
            await peer.send(data(2, 41, number, wait=True, body=body))
            await wait_all_tasks_blocked()
            await peer.send(linktest_req(SYSTEM))
            answers = [await peer.frame()]
            while answers[-1].system != SYSTEM:
                answers.append(await peer.frame())
            streams = [each.byte2 for each in answers[:-1]]
            assert sorted(streams) in ([2], [2, 9]), body
            bad += 9 in streams
        assert server.failed_handlers == 0
        # A host counts them and reports nothing.
        counted = server.statistics().counts["unreadable_bodies"]
        assert counted > 1_000
        assert bad == (counted if is_equipment else 0)


async def test_random_bytes_end_nothing_but_their_connection() -> None:
    async with server_end(reads, **QUIET) as (server, listener):
        honest = await selected(listener)
        for number, piece in enumerate(hostile.random_pieces(3, 100, 300)):
            peer = await (selected(listener) if number % 2 else listener.raw())
            await peer.send(piece)
            await peer.close()
        await wait_all_tasks_blocked()
        await is_served(honest)
        assert (len(server.connections), server.failed_connections) == (1, 0)


# What is bounded


@pytest.mark.parametrize("size", [0, 20_000])
async def test_primaries_without_end_end_at_the_bound_of_the_inbox(size: int) -> None:
    async def takes_none(_: HsmsConnection) -> None:
        await trio.sleep_forever()

    bounds: dict[str, Any] = {"inbox_size": 1_000, "inbox_bytes": 400_000, "t6": 1.0}
    async with server_end(takes_none, **QUIET, **bounds) as (server, listener):
        peer = await selected(listener)
        await peer.send(data(6, 11, 1, body=bytes(size)) * 1_100)
        await rest(peer)
        counted = server.statistics()
        assert counted.counts["primaries_without_room"] == 1
        assert counted.waiting_primaries <= 1_000
        assert counted.waiting_bytes <= 400_000 + 200 * counted.waiting_primaries


async def test_handlers_that_outlive_their_connections_keep_no_more_than_the_bound() -> None:
    async def takes_none(_: HsmsConnection) -> None:
        await trio.sleep_forever()

    async with server_end(takes_none, **QUIET, server_inbox_bytes=100_000, t6=1.0) as (
        server,
        listener,
    ):
        kept = []
        for _ in range(6):
            peer = await selected(listener)
            await peer.send(data(6, 11, 1, body=bytes(10_000)) * 5)
            await wait_all_tasks_blocked()
            await peer.close()
            await trio.sleep(2)
            kept.append(server.waiting_bytes)
        assert max(kept) <= 100_000
        assert server.dropped_primaries > 0


@pytest.mark.parametrize("attackers", [1, 8])
async def test_few_frames_of_others_are_handled_between_a_request_and_its_answer(
    attackers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = 0
    real = Decoder.take

    def take(decoder: Decoder, piece: bytes, start: int, most: int) -> tuple[list[Frame], int]:
        nonlocal total
        found = real(decoder, piece, start, most)
        total += len(found[0])
        return found

    monkeypatch.setattr(Decoder, "take", take)
    async with server_end(reads, inbox_size=100_000, **QUIET) as (_, listener):
        honest = await selected(listener)
        others = [await selected(listener) for _ in range(attackers)]
        for other in others:
            await other.send(raw(99, 7) * 4_000)
        await is_served(honest)
        for _ in range(10):
            before = total
            await is_served(honest)
            # At most one short slice of 64 frames in each of 8 passes.
            assert total - before <= 8 * 64 + 1


async def test_reconnects_leave_no_task() -> None:
    """A hundred here; ``python -m tests.attacks reconnects`` measures memory too."""
    async with server_end(reads, **QUIET) as (server, listener):
        for number in range(100):
            peer = await selected(listener)
            await is_served(peer)
            if number % 2:
                await peer.send(separate_req(9))
            await peer.close()
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(100):
            peer = await selected(listener)
            await peer.close()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert (server.handlers, server.connections) == (0, [])


async def test_a_stepped_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    async with server_end(reads, max_sessions=100, linktest_interval=2) as (server, listener):
        peer = await selected(listener)
        for seconds in (3e7, -3e7, 3e8, -1e9):
            monkeypatch.setattr(time, "time", lambda seconds=seconds: real() + seconds)
            await trio.sleep(1)
            await is_served(peer)
        assert len(server.connections) == 1


# The peer that is dialled

HOSTILE_LISTENERS = {
    "closes": b"",
    "random": hostile.random_pieces(1, 1, 400)[0],
    "4 GiB": b"\xff\xff\xff\xff",
    "other system bytes": select_rsp(1) * 1_000,
    "selects": select_req(7) * 1_000 + b"\0\0\0\0",
    "junk": raw(99, 7) * 1_000 + b"\0\0\0\0",
    "bodies": data(6, 11, 1, body=b"\xff") * 1_000 + b"\0\0\0\0",
    "linktests": linktest_req(1) * 1_000 + b"\0\0\0\0",
    "cut": data(6, 11, 7, body=bytes(100_000))[:-1],
}


@pytest.mark.parametrize("selects", [False, True], ids=["unselected", "selected"])
@pytest.mark.parametrize("sent", HOSTILE_LISTENERS.values(), ids=HOSTILE_LISTENERS)
async def test_a_link_dials_again_after_a_hostile_listener(sent: bytes, selects: bool) -> None:
    board = Switchboard()
    async with link_end(board, linktest_interval=None) as link:
        peer = await board.peer()
        if selects:
            await peer.select_by_answering()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rest, peer)
            await peer.send(sent)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        await peer.close()
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        await peer.ping()
