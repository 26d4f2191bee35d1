"""Who may connect to a listening end, and how often, before a byte of it is read."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsServer, Settings, open_hsms, serve_hsms, settings
from hsms_engine.admission import Rates, Sparing, is_exposed, party, sessions_of
from hsms_engine.events import PeerTurnedAway
from hsms_engine.fake import serve_fake
from tests.support.certificates import listening
from tests.support.leaks import leak_check
from tests.support.pair import MemoryListener, nothing, server_end
from tests.support.raw_peer import RawPeer
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
NOT_ALLOWED = "its address is in none of the allowed_networks"
TOO_OFTEN = "its address connects more than 1 times a second (accept_rate_per_address)"
TOO_MANY = "more than 3 connections come in a second (accept_rate)"


async def is_let_in(server: HsmsServer, listener: MemoryListener, peer: str) -> bool:
    """Whether a peer at this address gets a place; it leaves again."""
    before = server.accepted
    stream = await listener.dial(peer)
    await wait_all_tasks_blocked()
    was = server.accepted > before
    if not was:
        await RawPeer(stream).end()
    await stream.aclose()
    await wait_all_tasks_blocked()
    return was


# Networks


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (("10.1.0.0/16",), "10.1.255.3", "10.2.0.1"),
        (("10.1.0.0/16",), "::ffff:10.1.2.3", "::ffff:10.2.0.1"),
        (("::ffff:10.1.0.0/112",), "10.1.2.3", "10.2.0.1"),
        (("::ffff:10.1.2.3",), "10.1.2.3", "10.1.2.4"),
        (("10.1.2.3",), "10.1.2.3", "10.1.2.4"),
        (("fd00::/8",), "fd12::1", "fe80::1"),
        (("::/0",), "fd12::1", "10.1.2.3"),
        (("0.0.0.0/0",), "::ffff:1.2.3.4", "::1"),
        (("::1",), "::1", "127.0.0.1"),
        (("fe80::/10",), "fe80::1%eth0", "fd00::1"),
        (("10.0.0.0/8", "fd00::/8"), "fd00::7", "192.168.0.1"),
    ],
)
async def test_only_peers_of_the_allowed_networks_get_a_place(
    networks: tuple[str, ...], inside: str, outside: str
) -> None:
    def of(host: str) -> str:
        return f"[{host}]:1" if ":" in host else f"{host}:1"

    async with server_end(allowed_networks=networks, **QUIET) as (server, listener):
        reader = server.events()
        assert await is_let_in(server, listener, of(inside))
        assert not await is_let_in(server, listener, of(outside))
        assert not await is_let_in(server, listener, "a-name:1")
        told = [event async for event in turned_away(reader, 2)]
        assert [each.peer for each in told] == [of(outside), "a-name:1"]
        assert {each.why for each in told} == {NOT_ALLOWED}
        assert (server.turned_away, server.not_allowed, server.accepted) == (2, 2, 1)
        assert server.statistics().not_allowed == 2


async def turned_away(reader: Any, count: int) -> Any:
    async for event in reader:
        if isinstance(event, PeerTurnedAway):
            yield event
            count -= 1
            if not count:
                return


async def test_a_peer_without_an_address_is_let_in() -> None:
    async with server_end(allowed_networks=("10.0.0.0/8",), **QUIET) as (server, listener):
        for peer in ("/run/hsms.sock", "a Unix socket", "memory peer 1"):
            assert await is_let_in(server, listener, peer)


async def test_who_may_connect_is_changed_at_once_and_who_has_a_place_keeps_it() -> None:
    async with server_end(**QUIET) as (server, listener):
        peer = await listener.raw("10.1.2.3:1")
        await peer.select()
        server.configure(allowed_networks=("10.2.0.0/16",))
        assert not await is_let_in(server, listener, "10.1.2.3:2")
        assert await is_let_in(server, listener, "10.2.2.3:2")
        server.configure(allowed_networks=())
        assert await is_let_in(server, listener, "10.1.2.3:3")
        await peer.ping()


async def test_a_peer_that_may_not_connect_takes_no_place_of_another() -> None:
    changes: dict[str, Any] = {"allowed_networks": ("10.0.0.0/8",), "max_connections": 1, **QUIET}
    async with server_end(**changes) as (server, listener):
        await listener.raw("10.0.0.1:1")
        await wait_all_tasks_blocked()
        for _ in range(5):
            assert not await is_let_in(server, listener, "11.0.0.1:1")
        assert (server.gave_way, len(server.connections)) == (0, 1)


# Rates


async def test_an_address_that_comes_too_often_is_turned_away_and_others_are_not() -> None:
    changes: dict[str, Any] = {"accept_rate_per_address": 1, **QUIET}
    async with server_end(**changes) as (server, listener):
        reader = server.events()
        came = [await is_let_in(server, listener, f"10.0.0.1:{each}") for each in range(5)]
        assert came == [True, True, False, False, False]
        assert await is_let_in(server, listener, "10.0.0.2:1")
        told = [event async for event in turned_away(reader, 3)]
        assert {each.why for each in told} == {TOO_OFTEN}
        assert (server.turned_away, server.too_frequent) == (3, 3)
        assert server.statistics().too_frequent == 3
        await trio.sleep(1)
        came = [await is_let_in(server, listener, f"10.0.0.1:{each}") for each in range(2)]
        assert came == [True, False]


async def test_all_addresses_together_have_a_rate() -> None:
    async with server_end(accept_rate=3, **QUIET) as (server, listener):
        reader = server.events()
        came = [await is_let_in(server, listener, f"10.0.0.{each}:1") for each in range(8)]
        assert came == [True] * 6 + [False] * 2
        (told, _) = [event async for event in turned_away(reader, 2)]
        assert told.why == TOO_MANY
        await trio.sleep(1)
        came = [await is_let_in(server, listener, f"10.0.0.{each}:1") for each in range(4)]
        assert came == [True] * 3 + [False]
        server.configure(accept_rate=None)
        assert await is_let_in(server, listener, "10.0.0.9:1")


async def test_an_address_above_its_own_rate_takes_nothing_from_that_of_all() -> None:
    changes: dict[str, Any] = {"accept_rate": 2, "accept_rate_per_address": 1, **QUIET}
    async with server_end(**changes) as (server, listener):
        for each in range(50):
            await is_let_in(server, listener, f"10.0.0.1:{each}")
        assert await is_let_in(server, listener, "10.0.0.2:1")


def test_a_host_that_dials_by_t5_never_meets_the_lowest_rate() -> None:
    rates, now = Rates(), 100.0
    for turn in range(1_000):
        # T5 is at least 1 s, and the network is a little slower now and then.
        late = 0.9 if turn % 2 else 0.0
        assert rates.why_not("a", now + turn + late, None, 1) == ""


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("fd00:1:2:3:4:5:6:7", "fd00:1:2:3::/64"),
        ("fd00:1:2:3::1", "fd00:1:2:3::/64"),
        ("fd00:1:2:4::1", "fd00:1:2:4::/64"),
        ("a-name", "a-name"),
        ("", ""),
    ],
)
def test_an_address_is_one_of_ipv4_or_a_network_of_ipv6(host: str, address: str) -> None:
    assert party(host) == address


async def test_the_addresses_of_one_ipv6_network_count_as_one() -> None:
    changes: dict[str, Any] = {"max_connections_per_address": 1, "max_sessions": 2, **QUIET}
    async with server_end(**changes) as (server, listener):
        peer = await listener.raw("[fd00::1]:1")
        await peer.select()
        assert not await is_let_in(server, listener, "[fd00::2]:1")
        assert await is_let_in(server, listener, "[fd00:0:0:1::2]:1")


def test_what_is_kept_of_addresses_is_bounded() -> None:
    rates = Rates()
    for each in range(20_000):
        assert rates.why_not(str(each), 0.0, None, 1) == ""
    assert len(rates._of) == 4_096
    # The one that came last is known.
    assert rates.why_not("19999", 0.0, None, 1) == ""
    assert rates.why_not("19999", 0.0, None, 1) == TOO_OFTEN


def test_a_clock_that_stands_still_gives_no_room() -> None:
    rates = Rates()
    assert [rates.why_not("", 5.0, 3, None) for _ in range(8)] == [""] * 6 + [TOO_MANY] * 2


# The log


def test_lines_that_peers_cause_are_bounded_and_say_how_many_were_left_out() -> None:
    sparing = Sparing()
    assert [sparing.before(0.0) for _ in range(25)] == [0] * 20 + [None] * 5
    assert sparing.before(9.9) is None
    assert sparing.before(10.0) == 6
    assert sparing.before(10.0) is None
    assert sparing.before(1_000.0) == 1


LEFT_OUT = f"10.0.0.1:80 passive: turned away: {NOT_ALLOWED} (80 more such lines were left out)"


async def test_a_flood_of_peers_that_are_turned_away_is_no_flood_of_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(allowed_networks=("11.0.0.0/8",), **QUIET) as (server, listener):
        for each in range(100):
            await is_let_in(server, listener, f"10.0.0.1:{each}")
        await trio.sleep(10)
        await is_let_in(server, listener, "10.0.0.1:80")
        assert server.turned_away == 101
    lines = [each for each in caplog.messages if "turned away" in each]
    assert lines[0] == f"10.0.0.1:0 passive: turned away: {NOT_ALLOWED}"
    assert len(lines) == 21
    assert lines[-1] == LEFT_OUT


async def test_a_flood_of_connections_is_no_flood_of_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")

    def of(peer: str) -> list[str]:
        before = f"{peer} passive: "
        return [each.removeprefix(before) for each in caplog.messages if each.startswith(before)]

    async with server_end(t7=10, **QUIET) as (_, listener):
        begun = "not selected: TCP is open (T7 = 10 s)"
        for each in range(100):
            await (await listener.raw(f"a:{each}")).close()
            await wait_all_tasks_blocked()
        assert [len(of(f"a:{each}")) for each in range(100)] == [2] * 20 + [0] * 80
        selected = await listener.raw("a:selected")
        await selected.select()
        assert of("a:selected") == ["selected"]
        # What should be looked at is left out too: a peer causes it as often as it likes.
        for each in range(3):
            await (await listener.raw(f"a:late-{each}")).send(b"")
        await trio.sleep(10)
        assert [of(f"a:late-{each}") for each in range(3)] == [[]] * 3
        await listener.raw("a:last")
        await wait_all_tasks_blocked()
        assert of("a:last") == [f"{begun} (84 other connections were left out)"]


# The warning

EXPOSED = (
    "a listening end that other machines reach, without allowed_networks and without TLS: whoever "
    "reaches its port can take the session, read and send messages; set allowed_networks, or TLS "
    "(tls_certificate, tls_authorities), or listen on 127.0.0.1"
)


@pytest.mark.parametrize(
    ("host", "exposed"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("localhost", False),
        ("", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.1.2.3", True),
        ("memory", False),
    ],
)
def test_whether_other_machines_reach_a_listener(host: str, exposed: bool) -> None:
    assert is_exposed(host) is exposed


@pytest.fixture
def unwarned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_warned", set())


async def listen(host: str, **options: Any) -> None:
    with trio.move_on_after(1):
        await serve_hsms(nothing, host, 0, **options)


@pytest.mark.usefixtures("unwarned")
async def test_a_listener_that_anybody_reaches_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.warns(UserWarning, match="^a listening end") as caught:
        await listen("0.0.0.0")
    assert [str(each.message) for each in caught] == [EXPOSED]
    assert caught[0].filename == __file__
    assert caplog.messages == [f"0.0.0.0:0 passive: {EXPOSED}"]
    await listen("0.0.0.0")


@pytest.mark.usefixtures("unwarned")
async def test_a_listener_with_a_door_is_not_warned_of() -> None:
    await listen("127.0.0.1")
    await listen("0.0.0.0", allowed_networks=("10.0.0.0/8",))
    await listen("0.0.0.0", tls=listening())


@pytest.mark.usefixtures("unwarned")
async def test_a_fake_equipment_that_anybody_reaches_is_warned_of() -> None:
    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            equipment = await nursery.start(serve_fake, Settings(host="0.0.0.0", port=0))
            async with open_hsms("127.0.0.1", equipment.port):
                pass
            nursery.cancel_scope.cancel()

    with pytest.warns(UserWarning, match="^a listening end that other machines reach"):
        await serve()


@pytest.mark.usefixtures("unwarned")
async def test_a_warning_that_is_an_error_leaves_no_listener_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            await serve_hsms(nothing, "0.0.0.0", 0)


# Names of certificates


def test_the_session_ids_of_a_certificate_are_those_of_all_its_names() -> None:
    rules = ("host-1=0,3", "HOST-2=5-7", "host-1=9", "CN=x=1")
    assert sessions_of(["host-1"], rules) == {0, 3, 9}
    assert sessions_of(["Host-2", "host-1"], rules) == {0, 3, 5, 6, 7, 9}
    assert sessions_of(["host-3"], rules) == sessions_of([], rules) == frozenset()
    assert sessions_of(["cn=X"], rules) == {1}
