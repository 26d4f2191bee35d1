"""Handshakes of TLS at both ends: what goes wrong is said to people, and costs nobody else."""

from __future__ import annotations

import errno
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from hsms_engine import (
    ConnectError,
    HsmsConnection,
    Message,
    SettingsError,
    events,
    open_hsms,
    open_link,
    serve_hsms,
)
from hsms_engine.driver.tls import TlsError, _reason, secure
from hsms_engine.events import PeerEnded
from hsms_engine.messages import S1F1
from hsms_engine.virtual import Network, Socket
from hsms_engine.wire import FrameLengthError
from tests.support.certificates import (
    dialling,
    expired,
    host,
    issued,
    listening,
    not_yet_valid,
)
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import echo, server_end
from tests.support.raw_peer import RawPeer, data, select_req
from tests.support.tls_records import Raw
from tests.support.virtual import tcp_pair, virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}


def at_most(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.maximum_version = version
    return context


def at_least(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.minimum_version = version
    return context


TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def with_ciphers(context: ssl.SSLContext, ciphers: str) -> ssl.SSLContext:
    context.set_ciphers(ciphers)
    return at_most(context, TLS_1_2)


# What is wrong with a certificate or a context: what the end that dials says, and what the end that
# listens says. Texts of OpenSSL are not ours, and are left out.
REFUSED = (
    "the peer refuses the certificate of this end: look at its authority, its dates and its names"
)
NOT_TRUSTED = "the TLS handshake failed: the certificate of the peer is not trusted:"
EXPIRED = "it has expired: the peer needs a new one, unless the clock of this machine is wrong"
TOO_EARLY = "it is not valid yet: compare the clocks of both machines"
UNKNOWN = "its authority is unknown here: put that into tls_authorities"
OTHER_NAME = "it is for another name: dial a name that is in it, or set tls_name"
NO_CERTIFICATE = (
    "the TLS handshake failed: the peer has sent no certificate, and this end wants one of "
    "tls_authorities: give the peer one (tls_certificate)"
)
WANTED = "TCP broke: the peer wants a certificate of this end: set tls_certificate and tls_key"
MAYBE_WANTED = (
    "the TLS handshake failed: the peer refuses the handshake: it may want a certificate of this "
    "end (tls_certificate), or another cipher"
)
VERSIONS = "the TLS handshake failed: the two ends have no version of TLS in common"
CIPHERS = "the TLS handshake failed: the two ends have no cipher in common"
HANDSHAKES: dict[str, tuple[Callable[[], ssl.SSLContext], Callable[[], ssl.SSLContext], str, str]]
HANDSHAKES = {
    "the server's is expired": (
        host,
        lambda: listening(expired("tool")),
        f"{NOT_TRUSTED} {EXPIRED}",
        f"the TLS handshake failed: {REFUSED}",
    ),
    "the server's is not valid yet": (
        host,
        lambda: listening(not_yet_valid("tool")),
        f"{NOT_TRUSTED} {TOO_EARLY}",
        f"the TLS handshake failed: {REFUSED}",
    ),
    "the server's is for another name": (
        host,
        lambda: listening(issued("other-tool")),
        f"{NOT_TRUSTED} {OTHER_NAME}",
        f"the TLS handshake failed: {REFUSED}",
    ),
    "the server's is of an unknown authority": (
        host,
        lambda: listening(issued("tool", by="elsewhere")),
        f"{NOT_TRUSTED} {UNKNOWN}",
        f"the TLS handshake failed: {REFUSED}",
    ),
    "the host's is of an unknown authority": (
        lambda: dialling(issued("host-1", by="elsewhere")),
        listening,
        f"TCP broke: {REFUSED}",
        f"{NOT_TRUSTED} {UNKNOWN}",
    ),
    "the host's is expired": (
        lambda: dialling(expired("host-1")),
        listening,
        f"TCP broke: {REFUSED}",
        f"{NOT_TRUSTED} {EXPIRED}",
    ),
    "the host has none": (dialling, listening, WANTED, NO_CERTIFICATE),
    "the host has none, TLS 1.2": (
        lambda: at_most(dialling(), TLS_1_2),
        listening,
        MAYBE_WANTED,
        NO_CERTIFICATE,
    ),
    "no common version": (
        lambda: at_most(host(), TLS_1_2),
        lambda: at_least(listening(), TLS_1_3),
        VERSIONS,
        VERSIONS,
    ),
    "no common cipher": (
        lambda: with_ciphers(host(), "ECDHE-ECDSA-AES128-GCM-SHA256"),
        lambda: with_ciphers(listening(), "ECDHE-ECDSA-AES256-GCM-SHA384"),
        MAYBE_WANTED,
        CIPHERS,
    ),
}


def without_openssl(text: str) -> str:
    """Without the words of OpenSSL, which stand in parentheses at the end."""
    return text.rpartition(" (")[0]


@pytest.mark.parametrize("how", HANDSHAKES)
async def test_a_handshake_that_fails_is_explained_at_both_ends(how: str) -> None:
    ours, theirs, here, there = HANDSHAKES[how]
    async with server_end(tls=theirs(), **QUIET) as (server, listener):
        reader = server.events()
        with pytest.raises(ConnectError) as caught:
            async with open_hsms("tool", 5000, dial=listener.dial, tls=ours(), **QUIET):
                pass
        where = "during select" if here.startswith("TCP broke") else "during TCP connect"
        assert without_openssl(str(caught.value)) == f"tool:5000: not connected, {where}: {here}"
        assert isinstance(caught.value.__cause__, TlsError)
        (ended,) = [each async for each in until_ended(reader)]
        assert without_openssl(ended.why) == there
        assert not ended.was_selected
        await wait_all_tasks_blocked()
        assert (server.failed_handshakes, server.never_selected) == (1, 1)
        assert (server.accepted, server.turned_away) == (1, 0)


async def until_ended(reader: Any) -> Any:
    """The next ``PeerEnded``."""
    async for event in reader:
        if isinstance(event, PeerEnded):
            yield event
            return


async def test_a_failed_handshake_counts_for_the_breaker() -> None:
    async with server_end(tls=listening(issued("other-tool")), **QUIET) as (server, listener):
        opened = open_link(
            host="tool", dial=listener.dial, tls=host(), breaker_threshold=2, backoff_jitter=0.0
        )
        async with opened as link:
            async for event in link.events():
                if isinstance(event, events.BreakerOpened):
                    break
            assert link.statistics().failed_attempts == 2
            assert server.failed_handshakes == 2


NO_TLS = "it may speak HSMS without TLS, or refuse this end, which its log may tell"
LATE = "TCP is open, and the TLS handshake is not over: it may speak HSMS without TLS"
CLOSED = f"the peer closed TCP in the TLS handshake: {NO_TLS}"
BROKE = (
    f"TCP broke in the TLS handshake ([Errno {errno.ECONNRESET}] Connection reset by peer): "
    f"{NO_TLS}"
)


async def test_tls_to_a_port_without_it_is_explained_at_both_ends() -> None:
    async with server_end(**QUIET) as (server, listener):
        reader = server.events()
        with pytest.raises(ConnectError) as caught:
            async with open_hsms("tool", 5000, dial=listener.dial, tls=host()):
                pass
        assert str(caught.value) == f"tool:5000: not connected, during TCP connect: {CLOSED}"
        (ended,) = [each async for each in until_ended(reader)]
        assert ended.why.endswith("the peer may not speak HSMS, but TLS, which this end has not")


async def test_a_length_that_is_no_tls_is_not_said_to_be() -> None:
    assert str(FrameLengthError(9, b"\0\0\0\x09")).endswith("the peer may not speak HSMS")


PLAIN = (
    r"the peer does not speak TLS, its first bytes are b'\x00\x00\x00\n\xff\xff\x00\x00': one end "
    "has TLS and the other has not"
)


async def test_hsms_without_tls_to_a_port_with_it_is_explained_there() -> None:
    async with server_end(tls=listening(), **QUIET) as (server, listener):
        reader = server.events()
        peer = await listener.raw()
        await peer.send(select_req(1))
        (ended,) = [each async for each in until_ended(reader)]
        assert ended.why == PLAIN
        await peer.end()


async def test_a_break_in_the_handshake_is_explained() -> None:
    one, other = await tcp_pair()
    async with trio.open_nursery() as nursery:

        async def dial() -> None:
            with pytest.raises(TlsError) as caught:
                await secure(one, host(), listens=False, name="tool")
            assert str(caught.value) == BROKE

        nursery.start_soon(dial)
        await wait_all_tasks_blocked()
        other.reset()


async def test_a_handshake_with_a_name_that_cannot_be_one_is_explained() -> None:
    one, _ = await tcp_pair()
    with pytest.raises(TlsError, match=f"^{re.escape(BAD_NAME)}"):
        await secure(one, host(), listens=False, name=".tool")


BAD_NAME = "TLS cannot begin with the name '.tool': "
BAD_CONTEXT = "TLS: this context cannot be used here: "
UNTRUSTED = "the certificate of the peer is not trusted: {} (so it is)"
ODD = "OpenSSL says: odd"
RARE: dict[int, str] = {
    18: "it is signed by itself: put it, or its authority, into tls_authorities",
    19: UNKNOWN,
    21: UNKNOWN,
    23: "it was revoked",
    26: "it is not made for this use: a listening end needs serverAuth, a dialling one clientAuth",
    64: "it is for another address: dial a name that is in it, or set tls_name",
    77: "OpenSSL does not take it",
}


@pytest.mark.parametrize("code", RARE)
async def test_a_rare_verdict_is_explained(code: int) -> None:
    error = ssl.SSLCertVerificationError(1, "verify failed")
    error.verify_code, error.verify_message = code, "so it is"
    assert _reason(error) == UNTRUSTED.format(RARE[code])


async def test_a_reason_that_nobody_knows_is_told_as_openssl_does() -> None:
    error = ssl.SSLError(1, "odd")
    error.reason = None  # type: ignore[assignment]  # as OpenSSL has it now and then
    assert _reason(error) == ODD
    error.reason = "ALERT_DECODE_ERROR"
    assert _reason(error) == "OpenSSL says: alert decode error"


# Deadlines


async def test_the_connect_timeout_covers_the_handshake_of_the_end_that_dials() -> None:
    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        kept.append(theirs)
        return ours

    kept: list[trio.abc.Stream] = []
    with pytest.raises(ConnectError) as caught:
        async with open_hsms("tool", 5000, dial=dial, tls=host(), connect_timeout=7):
            pass
    assert trio.current_time() == 7
    assert caught.value.cause == f"no answer for 7 s (connect_timeout): tool: {LATE}"


TOO_SLOW = "the TLS handshake was not over within T7 = 3 s"


async def test_t7_covers_the_handshake_of_the_end_that_listens_and_begins_anew_after_it() -> None:
    async with server_end(tls=listening(), t7=3, **QUIET) as (server, listener):
        reader = server.events()
        silent = await listener.raw()
        (ended,) = [each async for each in until_ended(reader)]
        assert (ended.at, ended.why) == (3, TOO_SLOW)
        await silent.end()
        stream = await secure(await listener.dial(), host(), listens=False, name="tool")
        begun = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert trio.current_time() == begun + 3
        await stream.aclose()


# Hostile handshakes


async def garbage(peer: RawPeer) -> None:
    await peer.send(b"\x16\x03\x01" + bytes(range(250)))


async def endless(peer: RawPeer) -> None:
    # A handshake message of 16 MB, in records of 16 kB.
    await peer.send(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16_380))
    for _ in range(100):
        await peer.send(b"\x16\x03\x01\x40\x00" + bytes(16_384))


async def huge_record(peer: RawPeer) -> None:
    await peer.send(b"\x16\x03\x01\xff\xff" + bytes(65_535))


async def half_hello(peer: RawPeer) -> None:
    bio_in, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = host().wrap_bio(bio_in, out, False, "tool")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    await peer.send(out.read()[:100])


async def half_and_gone(peer: RawPeer) -> None:
    await half_hello(peer)
    await peer.close()


async def drip(peer: RawPeer) -> None:
    for _ in range(100):
        await peer.send(b"\x16")
        await trio.sleep(1)


HOSTILE = (garbage, endless, huge_record, half_hello, half_and_gone, drip)


@pytest.mark.parametrize("does", HOSTILE)
async def test_a_hostile_handshake_costs_nobody_else_anything(
    does: Callable[[RawPeer], Awaitable[None]],
) -> None:
    async with (
        server_end(echo, tls=listening(), max_sessions=2, **QUIET) as (server, listener),
        open_hsms("tool", 5000, dial=listener.dial, tls=host(), **QUIET) as honest,
        trio.open_nursery() as nursery,
    ):

        async def attack() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await does(await listener.raw())

        for _ in range(5):
            nursery.start_soon(attack)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert (await honest.request(S1F1())).name == "S1F2"
        async with open_hsms("tool", 5000, dial=listener.dial, tls=host(), **QUIET) as second:
            assert second.is_selected
        assert trio.current_time() - began < 1
        await trio.sleep(20)
        assert server.failed_handshakes == 5
        assert len(server.connections) == 1
        nursery.cancel_scope.cancel()


LONG = "the peer sent more than 65536 bytes in its TLS handshake"


async def test_a_handshake_has_a_longest_length() -> None:
    one, other = await tcp_pair()
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            with pytest.raises(TlsError) as caught:
                await secure(other, listening(), listens=True)
            assert str(caught.value) == LONG

        nursery.start_soon(listen)
        raw = Raw(one, at_most(host(), TLS_1_2), listens=False)
        with pytest.raises(ssl.SSLWantReadError):
            raw.ssl.do_handshake()
        raw.flush()
        await wait_all_tasks_blocked()
        # A certificate of 96 kB; OpenSSL says nothing of one that is not whole.
        one.send_nowait(b"\x16\x03\x03\x40\x00\x0b\x01\x80\x00" + bytes(16_380))
        for _ in range(4):
            one.send_nowait(b"\x16\x03\x03\x40\x00" + bytes(16_384))
            await wait_all_tasks_blocked()
        one.close()


async def test_a_first_message_says_that_it_is_longer_than_any_and_gets_no_memory() -> None:
    said = b"\x16\x03\x01\x00\x04\x01\x00\x20"
    for last, why in ((b"\x01", TOO_LONG_HELLO), (b"\x00", CLOSED)):
        one, other = await tcp_pair()
        async with trio.open_nursery() as nursery:

            async def listen(other: Socket = other, why: str = why) -> None:
                with pytest.raises(TlsError) as caught:
                    await secure(other, listening(), listens=True)
                assert str(caught.value) == why

            nursery.start_soon(listen)
            for each in said + last:
                await wait_all_tasks_blocked()
                one.send_nowait(bytes([each]))
            await wait_all_tasks_blocked()
            one.close()


TOO_LONG_HELLO = "the first message of the peer has 8193 bytes of at most 8192"


async def test_of_all_handshakes_one_makes_a_step_in_each_pass_of_the_loop() -> None:
    async with server_end(tls=listening(), max_connections=64, **QUIET) as (_, listener):
        peers = [await listener.raw() for _ in range(20)]
        await wait_all_tasks_blocked()
        bio_in, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            host().wrap_bio(bio_in, out, False, "tool").do_handshake()
        hello = out.read()
        steps: list[int] = []
        passes = 0

        async def count() -> None:
            nonlocal passes
            while True:
                await trio.lowlevel.cancel_shielded_checkpoint()
                passes += 1
                await trio.lowlevel.checkpoint_if_cancelled()

        async def await_answer(peer: RawPeer) -> None:
            assert await peer.stream.receive_some()
            steps.append(passes)

        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as answers:
                for peer in peers:
                    answers.start_soon(await_answer, peer)
                nursery.start_soon(count)
                for peer in peers:
                    await peer.send(hello)
            nursery.cancel_scope.cancel()
        assert len(set(steps)) >= 15


# Places


async def test_a_peer_in_its_handshake_has_a_place_and_gives_way() -> None:
    async with server_end(echo, tls=listening(), max_connections=2, **QUIET) as (server, listener):
        silent = [await listener.raw() for _ in range(2)]
        await wait_all_tasks_blocked()
        assert len(server.connections) == 2
        async with open_hsms("tool", 5000, dial=listener.dial, tls=host(), **QUIET) as honest:
            await honest.request(S1F1())
            await silent[0].end()
            assert server.gave_way == 1


@pytest.mark.parametrize("t7", [2.0, 20.0])
async def test_a_t7_that_is_changed_reaches_a_handshake_that_runs(t7: float) -> None:
    async with server_end(tls=listening(), **QUIET) as (server, listener):
        reader = server.events()
        silent = await listener.raw()
        await trio.sleep(1)
        server.configure(t7=t7)
        await silent.end()
        assert trio.current_time() == t7
        (ended,) = [each async for each in until_ended(reader)]
        assert ended.why == f"the TLS handshake was not over within T7 = {t7:g} s"


async def test_a_connection_that_is_closed_in_its_handshake_is_closed_at_once() -> None:
    async with server_end(tls=listening(), **QUIET) as (server, listener):
        silent = await listener.raw()
        await wait_all_tasks_blocked()
        (connection,) = server.connections
        await connection.aclose()
        await silent.end()
        assert trio.current_time() < 1
        another = await listener.raw()
        await wait_all_tasks_blocked()
        await server.aclose()
        await another.end()


async def test_a_handshake_of_the_end_that_dials_can_be_cancelled() -> None:
    kept: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        kept.append(theirs)
        return ours

    with trio.move_on_after(3):
        async with open_hsms("tool", 5000, dial=dial, tls=host(), connect_timeout=7):
            pass
    (theirs,) = kept
    await RawPeer(theirs).stream.receive_some()
    assert await theirs.receive_some() == b""


# Which certificate may be which session

MAY_NOT = "its certificate (host-2) may use no session here (tls_sessions)"


NAMELESS = "its certificate (without a name) may use no session here (tls_sessions)"
PASSED_OVER = "session id not allowed for its certificate"


async def test_a_certificate_that_may_use_no_session_is_turned_away_after_the_handshake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(tls=listening(), tls_sessions=("HOST-1=0",), **QUIET) as (server, post):
        reader = server.events()
        tls = dialling(issued("host-2"))
        with pytest.raises(ConnectError, match="the peer closed TCP"):
            async with open_hsms("tool", 5000, dial=post.dial, tls=tls):
                pass
        (ended,) = [each async for each in until_ended(reader)]
        assert ended.why == MAY_NOT
        assert server.refused_certificates == server.statistics().refused_certificates == 1
        assert server.failed_handshakes == 0
        assert f"memory peer 1 passive: {MAY_NOT}" in caplog.messages
        async with open_hsms("tool", 5000, dial=post.dial, tls=host()) as connection:
            assert connection.peer_certificate is not None
            assert connection.peer_certificate.name == "tool"


async def test_without_certificates_nobody_may_be_a_session_of_a_table() -> None:
    tls = listening()
    tls.verify_mode = ssl.CERT_OPTIONAL
    async with server_end(tls=tls, tls_sessions=("host-1=0",), **QUIET) as (server, listener):
        reader = server.events()
        with pytest.raises(ConnectError):
            async with open_hsms("tool", 5000, dial=listener.dial, tls=dialling()):
                pass
        (ended,) = [each async for each in until_ended(reader)]
        assert ended.why == NAMELESS


async def test_a_message_with_a_session_id_of_another_certificate_is_foreign(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken: list[int | None] = []
    names: list[str] = []

    async def handler(connection: HsmsConnection) -> None:
        assert connection.peer_certificate is not None
        names.append(connection.peer_certificate.name)
        while True:
            taken.append((await connection.receive()).session_id)

    changes: dict[str, Any] = {
        "check_session_id": False,
        "is_equipment": True,
        "tls_sessions": ("host-1=1,3-4",),
        **QUIET,
    }
    async with server_end(handler, tls=listening(), **changes) as (server, listener):
        stream = await secure(await listener.dial(), host(), listens=False, name="tool")
        peer = RawPeer(stream)
        passed: list[str | None] = []
        server.on_message(lambda traffic: passed.append(traffic.passed_over))
        await peer.select()
        for number, session_id in enumerate((1, 2, 3, 0, 4), start=1):
            await peer.send(data(6, 11, number, session=session_id))
        for _ in range(2):
            assert (await peer.frame()).byte3 == 1
        await peer.ping()
        assert (taken, names) == ([1, 3, 4], ["host-1"])
        assert passed.count(PASSED_OVER) == 2
        assert server.statistics().counts["foreign_session_id"] == 2
        assert NOT_ITS in caplog.messages
        await stream.aclose()


NOT_ITS = (
    "memory peer 1 passive: S6F11 has session id 2, and its certificate may not use that (only the "
    "first one of a connection is logged here)"
)


# Contexts that cannot be used


async def test_a_context_for_the_other_end_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(SettingsError, match=f"^{BAD_CONTEXT}"):
        async with open_hsms("tool", 5000, tls=listening()):
            pass
    with pytest.raises(SettingsError, match=f"^{BAD_CONTEXT}"):
        await serve_hsms(echo, port=0, tls=dialling())


async def test_a_connection_of_tls_never_renegotiates() -> None:
    tls = host()
    assert not tls.options & ssl.OP_NO_RENEGOTIATION
    async with (
        server_end(echo, tls=listening(), **QUIET) as (_, listener),
        open_hsms("tool", 5000, dial=listener.dial, tls=tls) as connection,
    ):
        reply = await connection.request(Message(7, 3, wait=True, body=b""))
        assert reply.name == "S7F4"
    assert tls.options & ssl.OP_NO_RENEGOTIATION


# A link that is slow


async def test_a_slow_link_that_is_never_idle_is_not_taken_for_a_dead_one() -> None:
    network = Network(Random(1))
    here, there = network.machine("host"), network.machine("tool")
    listener = there.listen()
    # 8 kbit/s: 64 kB take a minute, and T6 is 5 s.
    network.way("host", "tool").rate = 1_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        serve = partial(serve_hsms, swallow, listener=listener, tls=listening())
        await nursery.start(partial(serve, linktest_interval=None))

        async def dial() -> trio.abc.Stream:
            return await here.dial(there)

        changes: dict[str, Any] = {"linktest_interval": 5, "linktest_threshold": 1, "t6": 5}
        async with open_hsms("tool", 5000, dial=dial, tls=host(), **changes) as connection:
            for _ in range(60):
                await connection.send(Message(6, 13, body=bytes(5_000)))
            await trio.sleep(400)
            assert connection.is_selected
            await connection.linktest()
        nursery.cancel_scope.cancel()


async def swallow(connection: HsmsConnection) -> None:
    async for _ in connection:
        pass
