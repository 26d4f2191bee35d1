"""Who may connect to a listening end, and how often: decided by the address, before a byte is read.

Nothing here waits or reads. An address is one IPv4 address, also when it is written as IPv6
(``::ffff:10.1.2.3``), or the /64 network of an IPv6 address, because a single machine has all of
it. A peer of a Unix socket has no address, and is always let in.

Invariant: what is kept about addresses is bounded, however many there are.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import assert_never

Network = IPv4Network | IPv6Network

# The bits of an IPv6 address before the IPv4 address in it, and those that are one address here.
_MAPPED, _SITE = 96, 64
# How many addresses are remembered for their rate.
_REMEMBERED = 4_096
# A bucket holds as much as comes in so many seconds.
_SECONDS = 2.0
_LARGEST_ID = 32_767
_WINDOWS = sys.platform == "win32"
# Lines of the log: so many at once, and then one in so many seconds.
_LINES, _PAUSE = 20, 10.0


def network(text: str) -> Network:
    """A network as people write it: ``10.1.0.0/16``, ``fd00::/8``, or a single address.

    ``fe80::%eth0/64`` and ``fe80::1%eth0`` have only what comes by that interface. Raises
    ``ValueError``, which says why it is none.
    """
    found = ip_network(text)
    match found:
        case IPv6Network(network_address=IPv6Address(scope_id=str(scope))):
            # Peers are compared with it as they are named here.
            if _WINDOWS and not scope.isdecimal():
                raise ValueError(f"write the number of the interface {scope!r}: Windows names none")
            if not _WINDOWS and scope.isdecimal():
                raise ValueError(f"write the name of interface {scope}, as in fe80::%eth0/64")
        case _:
            pass
    if found.version == 6 and found.prefixlen >= _MAPPED:
        inner = found.network_address.ipv4_mapped
        if inner is not None:
            return IPv4Network((inner, found.prefixlen - _MAPPED))
    return found


@lru_cache(maxsize=64)
def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks of a setting that is valid."""
    return tuple(map(network, texts))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address of a peer, None when its host is no address."""
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def is_allowed(host: str, among: Collection[Network]) -> bool:
    """Whether a peer at ``host`` may connect. Without networks, and without a host, it may."""
    if not among or not host:
        return True
    address = _address(host)
    return address is not None and any(_has(each, address) for each in among)


def _has(network: Network, address: IPv4Address | IPv6Address) -> bool:
    """Whether a network has this address; one with an interface has only what comes by that."""
    match network, address:
        case IPv6Network(network_address=IPv6Address(scope_id=str(scope))), IPv6Address():
            return scope == address.scope_id and address in network
        case _:
            return address in network


def is_exposed(host: str) -> bool:
    """Whether other machines may reach a listener on ``host``.

    A Unix socket, and a listener that is not one of the system, has no address.
    """
    address = _address(host)
    return address is not None and not address.is_loopback


def party(host: str) -> str:
    """Whose address this is: one IPv4 address, or one /64 of IPv6; any other text is itself."""
    match _address(host):
        case None:
            return host
        case IPv4Address() as address:
            return str(address)
        case IPv6Address() as address:
            site = str(IPv6Network((int(address), _SITE), strict=False))
            # The same address on another link is another machine.
            return f"{site}%{address.scope_id}" if address.scope_id else site
        case other:
            assert_never(other)


class Bucket:
    """Lets through ``rate`` in a second, and ``most`` at once."""

    __slots__ = ("_at", "_left")

    def __init__(self, most: float, now: float) -> None:
        self._left = most
        self._at = now

    def take(self, rate: float, most: float, now: float) -> bool:
        """Whether there is room for one more, which then has it."""
        self._left = min(self._left + (now - self._at) * rate, most)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Rates:
    """How often connections came lately: all of them, and those of each address.

    As many as in two seconds may come at once. So who comes once in a second, and now and then a
    little early, always finds room.
    """

    def __init__(self) -> None:
        self._all: Bucket | None = None
        # The address that came last is at the end.
        self._of: OrderedDict[str, Bucket] = OrderedDict()

    def why_not(self, address: str, now: float, rate: int | None, each: int | None) -> str:
        """Why one more connection of ``address`` comes too soon; empty when it does not.

        ``rate`` and ``each`` are the connections a second of all and of one address; None: any.
        One that is turned away for its own address takes no room from others.
        """
        if each is not None and address:
            bucket = self._of.pop(address, None) or Bucket(_SECONDS * each, now)
            self._of[address] = bucket
            if len(self._of) > _REMEMBERED:
                # Of all, its bucket has had most time to fill again.
                self._of.popitem(last=False)
            if not bucket.take(each, _SECONDS * each, now):
                return (
                    f"its address connects more than {each} times a second "
                    "(accept_rate_per_address)"
                )
        if rate is not None:
            self._all = self._all or Bucket(_SECONDS * rate, now)
            if not self._all.take(rate, _SECONDS * rate, now):
                return f"more than {rate} connections come in a second (accept_rate)"
        return ""


class Sparing:
    """Bounds what peers cause in a log, in lines or connections: 20 at once, then one in 10 s."""

    def __init__(self) -> None:
        self._bucket: Bucket | None = None
        self._left_out = 0

    def before(self, now: float) -> int | None:
        """How many were left out before this one, which is written; None: leave it out."""
        self._bucket = self._bucket or Bucket(_LINES, now)
        if not self._bucket.take(1 / _PAUSE, _LINES, now):
            self._left_out += 1
            return None
        count, self._left_out = self._left_out, 0
        return count


# Which certificate may be which session


def session_rule(text: str) -> tuple[str, frozenset[int]]:
    """``NAME=0,3,5-9``: the name in a certificate, and the session ids that it may use.

    Raises ``ValueError``, which says what is wrong.
    """
    name, equals, ids = text.rpartition("=")
    if not equals or not name.strip():
        raise ValueError("write NAME=ID,ID-ID: a name in a certificate, and session ids")
    return _as_written(name.strip()), frozenset(
        each for part in ids.split(",") for each in _ids(part)
    )


def _as_written(name: str) -> str:
    """One way to write a name: an IPv6 address has many, and a name any case of letters."""
    address = _address(name)
    return name.lower() if address is None else str(address)


def _ids(text: str) -> range:
    """``3`` or ``5-9``."""
    first, _, last = (each.strip() for each in text.partition("-"))
    numbers = (first, last or first)
    if all(each.isascii() and each.isdecimal() for each in numbers):
        begin, end = map(int, numbers)
        if begin <= end <= _LARGEST_ID:
            return range(begin, end + 1)
    raise ValueError(
        f"{text.strip()!r} is no session id, and no range of them, in 0..{_LARGEST_ID}"
    )


@lru_cache(maxsize=64)
def _rules(texts: tuple[str, ...]) -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for text in texts:
        name, ids = session_rule(text)
        found[name] = found.get(name, frozenset()) | ids
    return found


def sessions_of(names: Iterable[str], texts: tuple[str, ...]) -> frozenset[int]:
    """The session ids that a certificate with these names may use, by a setting that is valid."""
    rules = _rules(texts)
    return frozenset().union(*(rules.get(_as_written(name), ()) for name in names))
