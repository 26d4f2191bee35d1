"""From which address of this machine a link dials, and which addresses a connection has."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any, NoReturn

import pytest
import trio

from hsms_engine import (
    ConnectError,
    HsmsConnection,
    Settings,
    SettingsError,
    admission,
    events,
    open_hsms,
    open_link,
    serve_hsms,
)
from hsms_engine.admission import is_allowed, network, party
from hsms_engine.driver import dialling, tcp
from hsms_engine.driver.dialling import DIALS, Dials, Local
from hsms_engine.driver.tcp import address_text, addresses_of, dial_tcp, host_of, listen_tcp
from hsms_engine.link import HsmsLink
from hsms_engine.server import HsmsServer
from hsms_engine.virtual.network import Network
from tests.support.certificates import host, listening
from tests.support.leaks import leak_check, no_task_left
from tests.support.names import every_name_has, found
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

HERE, ELSEWHERE, SIX = "127.0.0.1", "127.0.0.2", "::1"
KEPT = (
    "Cannot assign requested address: TCP may keep local_port 99 for the connection before this "
    "one, for a minute (TIME_WAIT), or another link has it"
)
NOT_HERE = "local_host: 192.0.2.7 is no address of this machine: Cannot assign requested address"
TAKEN = "local_port: another socket has 127.0.0.1:99: Address already in use"
FOUR_AND_SIX = "local_host='127.0.0.1' has addresses of IPv4 only, and ::1 of IPv6"
SIX_AND_FOUR = "local_host='::1' has addresses of IPv6 only, and 127.0.0.1 of IPv4"
NO_NAME = "local_host='me': no such name"
MAY_NOT = "local_port: this program may not use 127.0.0.1:99: no"
CANNOT = "cannot dial from 127.0.0.1:99: no"
REFUSED = "Connection refused (from 127.0.0.2)"
NO_INTERFACE = "this machine has no interface 'nosuch'"
WRITE_NAME = "write the name of interface 4, as in fe80::%eth0/64"
WRITE_NUMBER = "write the number of the interface 'eth0': Windows names none"
HAS_NONE = "only an address of fe80::/10 has an interface: leave out %lo"
NO_WAY = "local_host: no way leads from 127.0.0.1 to this peer: Invalid argument"
LINE = "selecting: TCP is open from 127.0.0.2:9 to 127.0.0.1:5 (T6 = 5 s)"
NO_SCOPE = "fe80::1 is good on one link only: name the interface, as in fe80::1%eth0"


async def nothing(connection: HsmsConnection) -> None:
    async for _ in connection:
        pass


@asynccontextmanager
async def server(at: str = HERE, **settings: Any) -> AsyncIterator[HsmsServer]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(
            lambda task_status: serve_hsms(nothing, at, 0, task_status=task_status, **settings)
        )
        nursery.cancel_scope.cancel()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@contextmanager
def kept_port(at: str = HERE) -> Iterator[int]:
    """A port at which nobody listens, and from which only who shares ports can dial meanwhile."""
    with socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((at, 0))
        yield made.getsockname()[1]


async def why_not(*address: Any, **settings: Any) -> str:
    """Why a link is not connected."""
    with pytest.raises(ConnectError) as caught:
        async with open_hsms(*address, **settings):
            pass
    return str(caught.value).partition("during TCP connect: ")[2]


# From where


async def test_a_link_dials_from_the_address_that_it_is_told() -> None:
    async with server() as there, open_hsms(HERE, there.port, local_host=ELSEWHERE) as here:
        assert host_of(here.local_address) == ELSEWHERE
        assert here.remote_address == f"{HERE}:{there.port}"
        (peer,) = there.connections
        assert (peer.peer, peer.remote_address) == (here.local_address, here.local_address)
        assert peer.local_address == here.remote_address


@pytest.mark.parametrize("at", [HERE, ELSEWHERE, SIX])
@pytest.mark.parametrize("is_named", [True, False])
async def test_a_link_dials_from_the_port_that_it_is_told(at: str, is_named: bool) -> None:
    with kept_port(at) as port:
        async with (
            server(at) as there,
            open_hsms(at, there.port, local_host=at if is_named else "", local_port=port) as here,
        ):
            assert port_of(here.local_address) == port
            if is_named:
                assert here.local_address == address_text((at, port))


async def test_a_new_connection_may_have_the_port_of_the_one_before() -> None:
    with kept_port() as port:
        async with (
            server() as there,
            open_link(HERE, there.port, local_host=HERE, local_port=port, t5=1) as link,
        ):
            for _ in range(2):
                await link.wait_selected()
                assert port_of(link.local_address) == port
                # With a reset, no end keeps the port.
                (peer,) = there.connections
                stream = peer._driver._transport
                assert stream is not None
                reset(stream)
                await until_lost(link)


def reset(transport: Any) -> None:
    transport._stream.reset()


async def until_lost(link: HsmsLink) -> None:
    await link._driver.until(lambda: not link.is_selected)


async def test_the_local_address_may_be_changed_for_the_next_attempt() -> None:
    async with server() as there, open_link(HERE, there.port, local_host=HERE) as link:
        await link.wait_selected()
        link.configure(local_host=ELSEWHERE)
        link.disable()
        link.enable()
        await link.wait_selected()
        assert host_of(link.local_address) == ELSEWHERE


async def test_of_several_addresses_only_those_of_its_family_are_tried() -> None:
    every_name_has([*found(SIX), *found(HERE)])
    async with server() as there, open_hsms("tool", there.port, local_host=ELSEWHERE) as here:
        assert here.remote_address == f"{HERE}:{there.port}"
        assert here.peer == f"tool:{there.port}"


async def test_a_name_of_this_machine_gives_an_address_of_each_family() -> None:
    every_name_has([*found(SIX), *found(ELSEWHERE), *found(HERE)])
    async with server() as there, open_hsms(HERE, there.port, local_host="me") as here:
        assert host_of(here.local_address) == ELSEWHERE
    async with server(SIX) as there, open_hsms(SIX, there.port, local_host="me") as here:
        assert host_of(here.local_address) == SIX


async def test_several_addresses_are_tried_from_one_port() -> None:
    every_name_has(found(ELSEWHERE, HERE))
    with kept_port() as port:
        async with server() as there, open_hsms("tool", there.port, local_port=port) as here:
            assert here.local_address == f"{HERE}:{port}"


# What is wrong


async def test_an_address_of_another_machine_is_told() -> None:
    told = await why_not(HERE, 5000, local_host="192.0.2.7")
    assert told.endswith(NOT_HERE)


async def test_a_port_that_another_socket_has_is_told() -> None:
    with socket.socket() as other:
        other.bind((HERE, 0))
        other.listen()
        port = other.getsockname()[1]
        told = await why_not(HERE, 5000, local_host=HERE, local_port=port)
    assert told.endswith(TAKEN.replace("99", str(port)))


@pytest.mark.parametrize(
    ("local", "peer", "told"),
    [
        (HERE, SIX, FOUR_AND_SIX),
        (SIX, HERE, SIX_AND_FOUR),
    ],
)
async def test_families_without_a_match_are_told(local: str, peer: str, told: str) -> None:
    assert (await why_not(peer, 5000, local_host=local)).endswith(told)


async def test_a_name_without_an_address_is_told_as_that_of_this_end() -> None:
    async def look_up(_: str) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    DIALS.set(Dials(look_up))
    told = await why_not(HERE, 5000, local_host="me")
    assert told.endswith(NO_NAME)


class Refusing(socket.socket):
    """A socket whose bind, or whose connect, fails in a way of the system."""

    bind_fails: int = 0
    connect_fails: int = 0

    def bind(self, address: Any, /) -> None:
        if self.bind_fails:
            raise OSError(self.bind_fails, "no")
        super().bind(address)

    def connect_ex(self, address: Any, /) -> int:
        return self.connect_fails or super().connect_ex(address)


@pytest.mark.parametrize(
    ("bind_fails", "connect_fails", "told"),
    [
        (errno.EACCES, 0, MAY_NOT),
        (errno.ENOBUFS, 0, CANNOT),
        (0, errno.EADDRNOTAVAIL, KEPT),
        (0, errno.EINVAL, NO_WAY),
        (0, errno.ENETUNREACH, "Network is unreachable (from 127.0.0.1:99)"),
    ],
)  # fmt: skip
async def test_other_errors_of_the_system_say_from_where(
    bind_fails: int, connect_fails: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refusing, "bind_fails", bind_fails)
    monkeypatch.setattr(Refusing, "connect_fails", connect_fails)
    if not bind_fails:
        monkeypatch.setattr(Refusing, "bind", lambda *_: None)
    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(OSError, match=r"127\.0\.0\.1|local_port 99") as caught:
        await dial_tcp(HERE, 5000, lambda _: None, Local(HERE, 99))
    assert caught.value.strerror == told
    assert caught.value.errno == (bind_fails or connect_fails)


async def test_a_refused_connect_says_from_which_address() -> None:
    with kept_port() as four, kept_port(SIX) as six, kept_port(SIX) as port:
        told = await why_not(HERE, four, local_host=ELSEWHERE)
        assert told.endswith(REFUSED)
        told = await why_not(SIX, six, local_host=SIX)
        assert told.endswith("Connection refused (from ::1)")
        told = await why_not(SIX, six, local_port=port)
        assert told.endswith(f"Connection refused (from [::]:{port})")


class BoundNowhere(socket.socket):
    """A socket that takes any address."""

    def bind(self, _: object, /) -> None:
        pass


@pytest.mark.skipif("sys.platform == 'win32'")
@pytest.mark.parametrize(("port", "is_shared"), [(0, False), (7, True)])
async def test_only_a_port_that_was_chosen_is_shared_with_what_is_over(
    port: int, is_shared: bool
) -> None:
    with BoundNowhere() as made:
        dialling._bind(made, (HERE, port))
        assert bool(made.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) == is_shared


async def test_on_windows_no_port_is_taken_from_another_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialling, "_WINDOWS", True)
    with BoundNowhere() as made:
        dialling._bind(made, (HERE, 7))
        assert not made.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


# Addresses that are good on one link only


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"host": "fe80::1%nosuch"}, NO_INTERFACE),
        ({"host": "fe80::1"}, NO_SCOPE),
        (
            {"host": SIX, "local_host": "fe80::1%nosuch"},
            "local_host='fe80::1%nosuch': this machine has no interface 'nosuch'",
        ),
        (
            {"host": SIX, "local_host": "fe80::1"},
            f"local_host='fe80::1': {NO_SCOPE}",
        ),
    ],
)  # fmt: skip
async def test_an_interface_that_is_missing_or_unknown_is_told(
    changes: dict[str, Any], told: str
) -> None:
    assert await why_not(**changes) == told


async def test_an_interface_at_an_address_that_has_none_is_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ((_, name), *_) = socket.if_nameindex()
    resolve = socket.getaddrinfo

    def with_numbers_only(host: str, *rest: Any, **options: Any) -> Any:
        if not host.startswith("fe80") and "%" in host:
            raise socket.gaierror(socket.EAI_NONAME, "as of glibc")
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", with_numbers_only)
    told = HAS_NONE.replace("lo", name)
    assert await why_not(f"{SIX}%{name}", 5000) == told
    assert (
        await why_not(SIX, 5000, local_host=f"{SIX}%{name}") == f"local_host='::1%{name}': {told}"
    )


async def test_a_listener_needs_the_interface_too() -> None:
    with pytest.raises(OSError, match="good on one link only"):
        await listen_tcp("fe80::1", 0)


async def test_an_interface_is_written_behind_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    ((number, name), *_) = socket.if_nameindex()
    assert address_text(("fe80::1", 5000, 0, number)) == f"[fe80::1%{name}]:5000"
    assert host_of(f"[fe80::1%{name}]:5000") == f"fe80::1%{name}"
    # One that is gone, and any on Windows.
    assert address_text(("fe80::1", 5000, 0, 999_999)) == "[fe80::1%999999]:5000"
    monkeypatch.setattr(sys, "platform", "win32")
    assert address_text(("fe80::1", 5000, 0, number)) == f"[fe80::1%{number}]:5000"


@pytest.mark.parametrize(
    ("allowed", "peer", "is_let_in"),
    [
        ("fe80::%eth0/64", "fe80::7%eth0", True),
        ("fe80::%eth0/64", "fe80::7%eth1", False),
        ("fe80::%eth0/64", "fe80::7", False),
        ("fe80::%eth0/64", "2001:db8::7", False),
        ("fe80::%eth0/64", "10.1.2.3", False),
        ("fe80::7%eth0", "fe80::7%eth0", True),
        ("fe80::7%eth0", "fe80::8%eth0", False),
        ("fe80::/10", "fe80::7%eth1", True),
        ("fe80::/10", "fe80::7", True),
        ("10.0.0.0/8", "fe80::7%eth0", False),
    ],
)
async def test_a_network_with_an_interface_has_only_what_comes_by_it(
    allowed: str, peer: str, is_let_in: bool
) -> None:
    assert is_allowed(peer, [network(allowed)]) == is_let_in


@pytest.mark.parametrize(
    ("on_windows", "right", "wrong", "told"),
    [(False, "fe80::%eth0/64", "fe80::%4/64", WRITE_NAME),
     (True, "fe80::%4/64", "fe80::%eth0/64", WRITE_NUMBER)],
)  # fmt: skip
async def test_a_network_names_the_interface_as_peers_are_named(
    on_windows: bool, right: str, wrong: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_WINDOWS", on_windows)
    Settings(allowed_networks=("fe80::/10", right))
    with pytest.raises(SettingsError) as caught:
        Settings(allowed_networks=(right, wrong))
    assert told in str(caught.value)


async def test_one_address_on_two_links_is_two_parties() -> None:
    assert party("fe80::7%eth0") == party("fe80::8%eth0") == "fe80::/64%eth0"
    assert party("fe80::7%eth1") == "fe80::/64%eth1"
    assert party("2001:db8::7") == "2001:db8::/64"


# Who is told


async def test_events_and_the_log_tell_both_addresses(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server() as there:
        reader = there.events()
        async with open_hsms(HERE, there.port, local_host=ELSEWHERE) as here:
            told = [each async for each in _until_selected(here)]
            (selecting,) = (each for each in told if isinstance(each, events.Selecting))
            assert (selecting.local, selecting.remote) == (here.local_address, here.remote_address)
            accepted = await anext(reader)
            assert isinstance(accepted, events.PeerAccepted)
            assert (accepted.local, accepted.peer) == (here.remote_address, here.local_address)
    lines = [each.getMessage() for each in caplog.records]
    line = LINE.replace("127.0.0.2:9", selecting.local).replace("127.0.0.1:5", selecting.remote)
    assert any(each.endswith(line) for each in lines)


async def _until_selected(connection: HsmsConnection) -> AsyncIterator[events.LinkEvent]:
    async for event in connection.events():
        yield event
        if isinstance(event, events.Selected):
            return


async def test_over_tls_the_addresses_are_those_of_tcp() -> None:
    async with (
        server(tls=listening()) as there,
        open_hsms(HERE, there.port, local_host=ELSEWHERE, tls=host(), tls_name="tool") as here,
    ):
        assert host_of(here.local_address) == ELSEWHERE
        assert here.remote_address == f"{HERE}:{there.port}"


async def test_a_stream_that_knows_no_address_has_none() -> None:
    one, other = trio.testing.memory_stream_pair()
    assert addresses_of(one) == ("", "")
    await one.aclose()
    await other.aclose()
    listener = await listen_tcp(HERE, 0)
    stream = await tcp.connect_tcp(HERE, listener.port)
    stream.close()
    assert addresses_of(stream) == ("", "")
    listener.close()


async def test_in_memory_the_addresses_are_the_machines() -> None:
    async with trio.open_nursery() as nursery:
        network = Network(Random(1))
        nursery.start_soon(network.run)
        machine, tool = network.machine("host"), network.machine("tool")
        post = tool.listen()
        socket = await machine.dial(tool, local_port=1_234)
        assert addresses_of(socket) == ("host:1234", "tool:5000")
        with pytest.raises(OSError, match="host:1234 is in use"):
            await machine.dial(tool, local_port=1_234)
        await socket.aclose()
        post.close()
        nursery.cancel_scope.cancel()
