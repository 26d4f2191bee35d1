"""Dials TCP: all addresses of a name in one attempt, and not too many attempts at once.

What is bounded is shared by all links of one trio run (``Dials``):

* **Look-ups.** They run in threads of their own, so that names that do not resolve do not take
  trio's threads from the program. A name that many links ask for at once is looked up once.
* **Dials.** Each has a slot until it is decided whether the session is selected, so that a server
  which comes back is not asked by thousands at once. Neither TCP nor Select holds it for longer
  than ``HELD`` seconds, so that a dead address does not hold up the others.

A dial may be bound to an address of this machine (``Local``): then only those addresses of the peer
are tried that are of the same family.

``Began`` is called when the waiting is over and the peer is really dialled: no timer may run
against the peer before that. It gets a table that the dial keeps up to date: what has become of
each address that was tried, when the name has several.
"""

from __future__ import annotations

import copy
import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from itertools import chain, zip_longest

import trio

from hsms_engine.protocol.causes import each_with_reason

# As getaddrinfo gives it: family, type, protocol, canonical name, socket address.
_Found = tuple[
    socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]
]

Began = Callable[[Mapping[str, str]], None]
# Another dial may have the slot. The second time it changes nothing.
GiveBack = Callable[[], None]

# An address of IPv6 that is only good with the interface on which it is.
_LINK_LOCAL = IPv6Network("fe80::/10")
_WINDOWS = sys.platform == "win32"


@dataclass(frozen=True, slots=True)
class Local:
    """The address and the port of this machine from which to dial. Empty, and 0: the system's
    choice."""

    host: str = ""
    port: int = 0


ANYWHERE = Local()


def always() -> bool:
    """Nothing decides otherwise."""
    return True


def lease_over() -> OSError:
    """Why nobody is dialled."""
    return OSError(errno.ECANCELED, "the lease of this process is over: nobody is dialled")


_Address = tuple[str, int] | tuple[str, int, int, int]

# How many dials have a slot, and for how many seconds at most.
_SLOTS = 64
HELD = 1.0
# How many names are looked up at once, and for how many seconds at most: the system's resolver
# gives up after about as long.
_LOOK_UPS = 8
_LONGEST_LOOK_UP = 30.0
# RFC 8305: the seconds after which the next address is tried beside those that have not answered.
_STAGGER = 0.25
# What a connect that does not wait says of one that has begun; the last one is Windows's.
_UNDER_WAY = (errno.EINPROGRESS, errno.EINTR, errno.EWOULDBLOCK)


class _LookUp:
    """One look-up that runs for all who ask for its name meanwhile."""

    def __init__(self) -> None:
        # The first of them does it; when it is cancelled, another one does.
        self.is_led = False
        self.news = trio.lowlevel.ParkingLot()
        self.outcome: Sequence[_Found] | OSError | None = None


class Dials:
    """What the dials of one trio run share. ``look_up`` gives the addresses of a name."""

    def __init__(self, look_up: Callable[[str], Awaitable[Sequence[_Found]]] | None = None) -> None:
        self.slots = trio.CapacityLimiter(_SLOTS)
        self.threads = trio.CapacityLimiter(_LOOK_UPS)
        self._look_up = look_up or self._ask_the_system
        self._running: dict[str, _LookUp] = {}

    async def addresses(self, host: str) -> Sequence[_Found]:
        """The addresses of ``host``, with port 0. Raises ``OSError`` when there is none.

        An address in numbers needs no look-up.
        """
        try:
            return _resolve(host, flags=socket.AI_NUMERICHOST)
        except UnicodeError as error:
            raise OSError(f"{host!r} is no host name: {error}") from None
        except socket.gaierror:
            if (scope := _scope_of(host)) is not None:
                raise _scope_error(scope) from None
        shared = self._running.setdefault(host, _LookUp())
        while (outcome := shared.outcome) is None:
            if shared.is_led:
                await shared.news.park()
            else:
                await self._lead(host, shared)
        match outcome:
            case OSError():
                # An exception carries the traceback of one raise: each caller gets its own.
                raise copy.copy(outcome)
            case found:
                return found

    async def _lead(self, host: str, shared: _LookUp) -> None:
        shared.is_led = True
        try:
            shared.outcome = await self._look_up(host)
        except OSError as error:
            shared.outcome = error
        finally:
            shared.is_led = False
            shared.news.unpark_all()
        # Whoever asks from now on gets a new answer.
        del self._running[host]

    async def _ask_the_system(self, host: str) -> Sequence[_Found]:
        # Infinite while it waits for a thread.
        scope = trio.CancelScope()

        def begin() -> None:
            scope.deadline = trio.current_time() + _LONGEST_LOOK_UP

        def ask() -> Sequence[_Found]:
            trio.from_thread.run_sync(begin)
            return _resolve(host)

        with scope:
            return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self.threads)
        raise OSError(f"no address of {host!r} was found within {_LONGEST_LOOK_UP:g} s")


DIALS: trio.lowlevel.RunVar[Dials] = trio.lowlevel.RunVar("hsms_engine.dials")


class _Slot:
    """The right to dial, which is given back once, however often that is called."""

    __slots__ = ("_slots",)

    def __init__(self, slots: trio.CapacityLimiter) -> None:
        self._slots: trio.CapacityLimiter | None = slots

    def give_back(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release_on_behalf_of(self)


def _dials() -> Dials:
    """Those of this trio run."""
    try:
        return DIALS.get()
    except LookupError:
        DIALS.set(made := Dials())
        return made


def _resolve(host: str, flags: int = 0) -> Sequence[_Found]:
    return socket.getaddrinfo(  # type: ignore[return-value]  # a Python without IPv6 is not ours
        host, 0, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags
    )


def _scope_of(host: str) -> str | None:
    """The interface in an address of IPv6, as in ``fe80::1%eth0``; None when there is none."""
    try:
        return IPv6Address(host).scope_id
    except ValueError:
        return None


def _scope_error(scope: str) -> OSError:
    """Why the system takes no address with this interface."""
    try:
        socket.if_nametoindex(scope)
    except OSError:
        return OSError(errno.ENODEV, f"this machine has no interface {scope!r}")
    return OSError(
        errno.EINVAL,
        f"only an address of fe80::/10 has an interface: leave out %{scope}",
    )


def expect_scope(address: object) -> None:
    """Raise ``OSError`` for an address of a socket that needs an interface and has none."""
    match address:
        case (str(host), _, _, 0) if IPv6Address(host) in _LINK_LOCAL:
            raise OSError(
                errno.EINVAL,
                f"{host} is good on one link only: name the interface, as in {host}%eth0",
            )
        case _:
            pass


async def dial(
    host: str,
    port: int,
    began: Began,
    local: Local = ANYWHERE,
    may_dial: Callable[[], bool] = always,
) -> tuple[trio.SocketStream, GiveBack]:
    """Connect to the address of ``host`` that answers first. Its slot is to be given back.

    ``may_dial`` is asked right before each address is tried, and when it says no, that fails.
    Raises ``OSError`` when none answers. When cancelled, no socket stays open.
    """
    dials = _dials()
    found = _interleaved(await dials.addresses(host))
    sources = await _sources(dials, local)
    if sources is not None:
        fitting = [each for each in found if each[0] in sources]
        if not fitting:
            raise OSError(
                errno.EAFNOSUPPORT,
                f"local_host={local.host!r} has addresses of {_family(*sources)} only, and "
                f"{host} of {_family(found[0][0])}",
            )
        found = fitting
    slot = _Slot(dials.slots)
    await dials.slots.acquire_on_behalf_of(slot)
    with ExitStack() as unless_connected:
        unless_connected.callback(slot.give_back)
        tried: dict[str, str] = {}
        began(tried)
        if len(found) == 1:
            connected = await _connect(found[0], port, slot.give_back, sources, may_dial)
        else:
            connected = await _connect_to_any(found, port, slot.give_back, tried, sources, may_dial)
        unless_connected.pop_all()
    return trio.SocketStream(trio.socket.from_stdlib_socket(connected)), slot.give_back


# By family, from where to dial.
_Sources = Mapping[socket.AddressFamily, _Address]


async def _sources(dials: Dials, local: Local) -> _Sources | None:
    """The addresses from which to dial; None when the system chooses."""
    if not local.host:
        any_address: dict[socket.AddressFamily, _Address] = {
            socket.AF_INET: ("0.0.0.0", local.port),  # it does not listen
            socket.AF_INET6: ("::", local.port, 0, 0),
        }
        return any_address if local.port else None
    sources: dict[socket.AddressFamily, _Address] = {}
    try:
        for family, _, _, _, (address, _, *rest) in await dials.addresses(local.host):
            source: _Address = (address, local.port, *rest)  # type: ignore[assignment]  # as it was
            expect_scope(source)
            # The first of each family is the one that the system prefers.
            sources.setdefault(family, source)
    except OSError as error:
        why = f"local_host={local.host!r}: {error.strerror or error}"
        raise OSError(error.errno, why) from None
    return sources


def _family(family: socket.AddressFamily) -> str:
    return "IPv6" if family == socket.AF_INET6 else "IPv4"


def _interleaved(found: Sequence[_Found]) -> list[_Found]:
    """The addresses in the system's order, but of the two families by turns (RFC 8305)."""
    preferred = [each for each in found if each[0] == found[0][0]]
    others = [each for each in found if each[0] != found[0][0]]
    by_turns = chain.from_iterable(zip_longest(preferred, others))
    return list(dict.fromkeys(each for each in by_turns if each is not None))


async def _connect_to_any(
    found: Sequence[_Found],
    port: int,
    give_back: Callable[[], None],
    tried: dict[str, str],
    sources: _Sources | None,
    may_dial: Callable[[], bool],
) -> socket.socket:
    """The socket that is connected first; all others are closed."""
    connected: list[socket.socket] = []
    numbers: set[int | None] = set()

    async def try_one(each: _Found, failed: trio.Event) -> None:
        address = each[4][0]
        tried[address] = "no answer"
        try:
            made = await _connect(each, port, give_back, sources, may_dial)
            connected.append(opened.enter_context(made))
        except OSError as error:
            tried[address] = str(error.strerror)
            numbers.add(error.errno)
            failed.set()
        else:
            nursery.cancel_scope.cancel()

    with ExitStack() as opened:
        async with trio.open_nursery() as nursery:
            for each in found:
                failed = trio.Event()
                nursery.start_soon(try_one, each, failed)
                with trio.move_on_after(_STAGGER):
                    await failed.wait()
        if not connected:
            # One error for the attempt: each address with its own reason.
            text = each_with_reason(tried)
            raise OSError(*numbers, text) if len(numbers) == 1 else OSError(text)
        for other in connected[1:]:
            other.close()
        opened.pop_all()
    return connected[0]


async def _connect(
    each: _Found,
    port: int,
    give_back: Callable[[], None],
    sources: _Sources | None,
    may_dial: Callable[[], bool],
) -> socket.socket:
    """A connected socket. ``give_back`` is called when the slot has been held long enough.

    Not by trio's connect, which waits in one piece.
    """
    family, kind, protocol, _, (address, _, *rest) = each
    expect_scope(each[4])
    source = None if sources is None else sources[family]
    with ExitStack() as opened:
        made = opened.enter_context(socket.socket(family, kind, protocol))
        made.setblocking(False)
        if source is not None:
            _bind(made, source)
        if not may_dial():
            raise lease_over()
        error = made.connect_ex((address, port, *rest))
        if error in _UNDER_WAY:
            with trio.move_on_after(HELD) as held:
                await trio.lowlevel.wait_writable(made)
            if held.cancelled_caught:
                give_back()
                await trio.lowlevel.wait_writable(made)
            error = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not error and made.getsockname() == made.getpeername():
            # A connect to a free port in the range of source ports may connect to itself.
            error = errno.ECONNREFUSED
        if error:
            raise _system_error(error) if source is None else _from(source, error)
        opened.pop_all()
    return made


def _bind(made: socket.socket, source: _Address) -> None:
    """Let it be connected from ``source``. Raises ``OSError``, which says why it cannot be."""
    if source[1] and not _WINDOWS:
        # A connection that is over may have the port for a minute. On Windows this option would
        # take a port from a program that has it.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(source)
    except OSError as error:
        here = _text(source)
        match error.errno:
            case errno.EADDRNOTAVAIL:
                why = f"local_host: {source[0]} is no address of this machine"
            case errno.EADDRINUSE:
                why = f"local_port: another socket has {here}"
            case errno.EACCES:
                why = f"local_port: this program may not use {here}"
            case _:
                why = f"cannot dial from {here}"
        raise OSError(error.errno, f"{why}: {error.strerror}") from None


def _from(source: _Address, number: int) -> OSError:
    """The error of a connect from ``source``."""
    error, here = _system_error(number), _text(source)
    if number == errno.EADDRNOTAVAIL and source[1]:
        why = (
            f"{error.strerror}: TCP may keep local_port {source[1]} for the connection before this "
            "one, for a minute (TIME_WAIT), or another link has it"
        )
        return OSError(number, why)
    if number == errno.EINVAL:
        # As Linux says it of 127.0.0.1 and a peer on another machine.
        why = f"local_host: no way leads from {source[0]} to this peer: {error.strerror}"
        return OSError(number, why)
    return OSError(number, f"{error.strerror} (from {here})")


def _text(source: _Address) -> str:
    """An address from which to dial, without a port that the system chooses."""
    host, port = source[:2]
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _system_error(number: int) -> OSError:
    """What the system would raise for the number of an error of a socket, in its own words."""
    if sys.platform == "win32":
        import ctypes

        # ``os.strerror`` knows the numbers of C there, and not those of sockets.
        return ctypes.WinError(number)
    else:
        return OSError(number, os.strerror(number))
