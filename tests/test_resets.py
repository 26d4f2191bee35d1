"""After a communication failure the socket is closed with a reset, after any other end with FIN."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from hsms_engine import ConnectError, HsmsConnection, Message, open_hsms
from hsms_engine.driver.tcp import DirectStream
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import gate, patience, serving
from tests.support.pair import nothing
from tests.support.raw_peer import SELECT_REQ, RawPeer, data, raw, select_req, separate_req

__all__ = ["leak_check", "no_task_left", "patience"]

SHORT: dict[str, Any] = {"allow_short_timers": True, "linktest_interval": None}
SOON = 0.01


async def is_reset(stream: DirectStream) -> bool:
    """How the connection ends for the peer, which reads what has come before."""
    try:
        while await stream.receive_some(65_536):
            pass
    except trio.BrokenResourceError as error:
        return isinstance(error.__cause__, ConnectionResetError)
    return False


Acts = Callable[[DirectStream, RawPeer], Awaitable[None]]


async def stops_inside_a_frame(_: DirectStream, peer: RawPeer) -> None:
    await peer.send(data(1, 1, 7)[:9])


async def declares_a_bad_length(_: DirectStream, peer: RawPeer) -> None:
    await peer.send(raw(1, 7, length=9))


async def sends_nothing(_: DirectStream, __: RawPeer) -> None:
    pass


async def separates(_: DirectStream, peer: RawPeer) -> None:
    await peer.send(separate_req(9))


async def finishes(stream: DirectStream, _: RawPeer) -> None:
    await stream.send_eof()


@pytest.mark.parametrize(
    ("acts", "settings", "expected"),
    [
        (stops_inside_a_frame, {"t8": SOON}, True),
        (stops_inside_a_frame, {"frame_deadline": SOON}, True),
        (declares_a_bad_length, {}, True),
        (sends_nothing, {"linktest_interval": SOON, "t6": SOON}, True),
        (separates, {}, False),
        (finishes, {}, False),
    ],
    ids=["T8", "frame deadline", "bad length", "linktest", "separate", "FIN"],
)
async def test_a_selected_connection_ends_with_a_reset_after_a_failure_only(
    acts: Acts, settings: dict[str, Any], expected: bool
) -> None:
    async with serving(nothing, **{**SHORT, **settings}) as server:
        stream = DirectStream(await trio.open_tcp_stream("127.0.0.1", server.port))
        peer = RawPeer(stream)
        await peer.select()
        await acts(stream, peer)
        assert await is_reset(stream) is expected
        stream.close()


async def test_t7_of_a_listening_end_ends_with_a_reset() -> None:
    async with serving(nothing, **SHORT, t7=SOON) as server:
        stream = DirectStream(await trio.open_tcp_stream("127.0.0.1", server.port))
        assert await is_reset(stream)
        stream.close()


async def test_a_refused_session_ends_with_fin_so_that_its_status_is_read() -> None:
    async with serving(nothing, **SHORT) as server:
        one, two = [
            DirectStream(await trio.open_tcp_stream("127.0.0.1", server.port)) for _ in range(2)
        ]
        await RawPeer(one).select()
        other = RawPeer(two)
        await other.send(select_req(5))
        assert (await other.frame()).byte3 == 3
        assert not await is_reset(two)
        for each in (one, two):
            each.close()


async def test_a_peer_that_reads_nothing_hears_of_the_end_where_its_data_is_stuck() -> None:
    """Both directions are full: a FIN would wait behind megabytes for ever."""
    heard = trio.Event()

    async def send_much(connection: HsmsConnection) -> None:
        while True:
            await connection.send(Message(6, 11, body=bytes(1_000_000)))

    async with serving(send_much, **SHORT, write_timeout=0.1) as server:
        stream = DirectStream(await trio.open_tcp_stream("127.0.0.1", server.port))
        await RawPeer(stream).select()
        try:
            # Never reads; its system tells it when it writes.
            while True:
                await stream.send_all(data(6, 11, 7, body=bytes(100_000)))
        except trio.BrokenResourceError:
            heard.set()
        stream.close()
    assert heard.is_set()


@pytest.mark.parametrize("answers", [False, True])
async def test_t6_and_a_refusal_of_the_end_that_dials(answers: bool) -> None:
    ends: list[bool] = []
    ended = trio.Event()

    async def treat(stream: DirectStream) -> None:
        peer = RawPeer(stream)
        system = await peer.control(SELECT_REQ)
        if answers:
            await peer.send(raw(2, system, byte3=2))
        ends.append(await is_reset(stream))
        stream.close()
        ended.set()

    async with gate(treat) as listener:
        with pytest.raises(ConnectError):
            async with open_hsms("127.0.0.1", listener.port, **SHORT, t6=0.2 if answers else SOON):
                pass
        await ended.wait()
    assert ends == [not answers]


async def test_a_close_by_a_call_ends_with_fin() -> None:
    async def close(connection: HsmsConnection) -> None:
        await connection.send(Message(6, 11))

    async with serving(close, **SHORT) as server:
        stream = DirectStream(await trio.open_tcp_stream("127.0.0.1", server.port))
        peer = RawPeer(stream)
        await peer.select()
        assert (await peer.frame()).byte3 == 11
        assert not await is_reset(stream)
        stream.close()


async def test_what_a_server_could_not_write_before_a_close_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def send_much(connection: HsmsConnection) -> None:
        for _ in range(20):
            await connection.send(Message(6, 11, body=bytes(1_000_000)))

    caplog.set_level("WARNING", "hsms_engine.link")
    settings = {**SHORT, "write_timeout": 0.1, "outbox_size": 30_000_000}
    async with serving(send_much, **settings) as server:
        stream = DirectStream(await trio.open_tcp_stream("127.0.0.1", server.port))
        await RawPeer(stream).select()
        while not caplog.records:
            await trio.lowlevel.checkpoint()
        stream.close()
    assert "bytes accepted for sending were not written" in caplog.records[0].getMessage()
