"""Where the ends of a connection are, out of what a recording says of them.

A recording names a peer as the settings do: ``host:port`` with a name, an IPv4 or an IPv6 address,
or something else, such as the path of a socket. What is no address becomes one of those that are
for documentation (RFC 5737, RFC 3849), the same each time, so that packets can be made.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from hsms_engine.capture.packets import Address, Place

__all__ = ["Places"]

_OURS: Final = IPv4Address("192.0.2.1")
_OURS_6: Final = IPv6Address("2001:db8::1")
_THEIRS: Final = (IPv4Address("192.0.2.2"), IPv4Address("198.51.100.1"), IPv4Address("203.0.113.1"))
# Of each of these nets so many.
_EACH: Final = 253
_HSMS_PORT: Final = 5_000
_FIRST_PORT: Final = 49_152
_PORTS: Final = 65_536 - _FIRST_PORT


class Places:
    """Gives places to connections. ``connections`` counts them."""

    def __init__(self) -> None:
        self._named: dict[str, Address] = {}
        self.connections = 0

    def ends(self, local: str, remote: str, *, is_active: bool) -> tuple[Place, Place]:
        """Our end and that of the peer; an empty text is one that nobody knows.

        The passive end of HSMS has port 5000, if nobody knows better; the active one has a port
        that the connections before had not.
        """
        port = _FIRST_PORT + self.connections % _PORTS
        self.connections += 1
        our_port, their_port = (port, _HSMS_PORT) if is_active else (_HSMS_PORT, port)
        their_host, their_port = _split(remote, their_port)
        our_host, our_port = _split(local, our_port)
        theirs = _address(their_host) or self._made_up(their_host)
        ours = _address(our_host)
        if ours is None or ours.version != theirs.version:
            ours = _OURS if theirs.version == 4 else _OURS_6
        return Place(ours, our_port), Place(theirs, their_port)

    def _made_up(self, host: str) -> Address:
        if host not in self._named:
            net, number = divmod(len(self._named), _EACH)
            self._named[host] = _THEIRS[net % len(_THEIRS)] + number
        return self._named[host]


def _split(text: str, port: int) -> tuple[str, int]:
    """Host and port of a text; ``port`` if it has none that can be one."""
    if _address(text) is not None:
        return text, port
    host, colon, digits = text.rpartition(":")
    is_number = bool(colon) and len(digits) < 6 and digits.isascii() and digits.isdecimal()
    if is_number and int(digits) < 65_536:
        return host, int(digits)
    return text, port


def _address(host: str) -> Address | None:
    # An IPv6 address may stand in brackets, and name its interface.
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        found = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
