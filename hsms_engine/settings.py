"""The settings of a connection, a link or a server, validated as a whole.

All timers have their default and range from ``statecharts.hsms.timers``. A value below the range
of a timer is for tests and needs ``allow_short_timers=True``.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from os import PathLike
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypedDict,
    TypeGuard,
    TypeVar,
    Unpack,
    get_args,
)

from hsms_engine.admission import is_exposed, network, session_rule
from hsms_engine.errors import SettingsError
from hsms_engine.logs import LINK, Teller, link_name
from hsms_engine.spelling import hint
from hsms_engine.tolerances import (
    CONTROL_SESSION_ID,
    DIRECTION,
    DIRECTION_BIT,
    OTHER_FUNCTION,
    SELECT_RSP_1,
    SYSTEM_BYTES_ALONE,
    TOLERANCES,
    W_IN_REPLY,
)
from hsms_engine.wire import DEFAULT_MAX_FRAME
from statecharts import Timer
from statecharts.hsms import timers

if TYPE_CHECKING:
    from hsms_engine.bounds import Bound

ONE_WAY_DELAY = 0.05
"""Seconds; the longest time of a frame on its way in one direction, when nothing else is said."""

_TIMERS = {
    "t3": timers.T3,
    "t5": timers.T5,
    "t6": timers.T6,
    "t7": timers.T7,
    "t8": timers.T8,
    "connect_timeout": timers.CONNECT_TIMEOUT,
    "frame_deadline": timers.FRAME_DEADLINE,
    "write_timeout": timers.WRITE_TIMEOUT,
    "linger": timers.LINGER,
    "linktest_interval": timers.LINKTEST_INTERVAL,
    "breaker_open_time": timers.OPEN_TIME,
}
# The shortest timer that ``allow_short_timers`` allows, in seconds.
_SHORTEST = 0.001

_WHOLE = {
    "port": (0, 65_535),
    "local_port": (0, 65_535),
    "session_id": (0, 32_767),
    "linktest_threshold": (1, 100),
    "max_frame": (10, 0xFFFF_FFFF),
    "inbox_size": (1, 1_000_000),
    "inbox_bytes": (1, 2**40),
    "server_inbox_bytes": (1, 2**40),
    "outbox_size": (1, 2**40),
    "events_size": (1, 1_000_000),
    "breaker_threshold": (1, 1_000),
    "max_sessions": (1, 1_000_000),
    "max_connections": (1, 1_000_000),
    "max_connections_per_address": (1, 1_000_000),
    "accept_rate": (1, 1_000_000),
    "accept_rate_per_address": (1, 1_000_000),
    "log_body_bytes": (16, 16_777_216),
}
_REAL = {
    "backoff_factor": (1.0, 10.0),
    "backoff_limit": (0.0, 86_400.0),
    "backoff_jitter": (0.0, 1.0),
    "unreachable_after": (1.0, 604_800.0),
}
# None means that there is none.
OPTIONAL = (
    "linktest_interval",
    "max_connections_per_address",
    "accept_rate",
    "accept_rate_per_address",
    "unreachable_after",
    "text_encoding",
)
# Several texts; each is read by the function, which raises ``ValueError``.
SEVERAL: Mapping[str, Callable[[str], object]] = {
    "allowed_networks": network,
    "tls_sessions": session_rule,
}
# Empty: there is none. In place of the last one, ``SYSTEM`` stands for those of the system.
PATHS = ("tls_certificate", "tls_key", "tls_authorities")
SYSTEM = "system"
_FLAGS = (
    "check_session_id",
    "is_equipment",
    *(each.setting for each in TOLERANCES),
    "write_direction_bit",
    "log_hex",
    "allow_short_timers",
)


_LONGEST_NAME = 100

SecondHost = Literal["probe", "refuse"]
_CHOICES = {"second_host": get_args(SecondHost)}


class SettingsChanges(TypedDict, total=False):
    """Settings by name, for type checkers. ``Settings`` explains them; a test compares both."""

    name: str
    host: str
    port: int
    local_host: str
    local_port: int
    session_id: int
    check_session_id: bool
    is_equipment: bool
    tolerate_w_in_reply: bool
    tolerate_direction_bit: bool
    tolerate_control_session_id: bool
    tolerate_select_rsp_1: bool
    tolerate_other_function: bool
    tolerate_system_bytes_alone: bool
    write_direction_bit: bool
    t3: float
    t5: float
    t6: float
    t7: float
    t8: float
    connect_timeout: float
    frame_deadline: float
    write_timeout: float
    linger: float
    linktest_interval: float | None
    linktest_threshold: int
    max_frame: int
    inbox_size: int
    inbox_bytes: int
    server_inbox_bytes: int
    outbox_size: int
    events_size: int
    breaker_threshold: int
    breaker_open_time: float
    backoff_factor: float
    backoff_limit: float
    backoff_jitter: float
    unreachable_after: float | None
    max_sessions: int
    second_host: SecondHost
    max_connections: int
    max_connections_per_address: int | None
    allowed_networks: tuple[str, ...]
    accept_rate: int | None
    accept_rate_per_address: int | None
    tls_certificate: str
    tls_key: str
    tls_key_password: str
    tls_authorities: str
    tls_name: str
    tls_sessions: tuple[str, ...]
    text_encoding: str | None
    log_body_bytes: int
    log_hex: bool
    allow_short_timers: bool


_T = TypeVar("_T")


def _knowing_its_names(settings: type[_T]) -> type[_T]:
    """The class, with an error for a name that is no setting: Python's would not say which is."""
    checked = settings.__init__
    known = frozenset(SettingsChanges.__annotations__)

    @wraps(checked)
    def init(self: _T, /, **given: Any) -> None:
        if unknown := sorted({*given} - known):
            why = hint(unknown[0], sorted(known))
            raise SettingsError(f"unknown setting {', '.join(unknown)}; {why}")
        checked(self, **given)

    settings.__init__ = init  # type: ignore[method-assign, assignment]  # as dataclass does
    return settings


@_knowing_its_names
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, with E37's defaults. Times are in seconds.

    Raises ``SettingsError``: it names every field that is out of range, its value and its range, or
    every name that is no setting.
    """

    name: str = ""
    """For people: stands before the peer in logs. Printable, at most 100 characters."""
    host: str = "127.0.0.1"
    """Active: the address or the name to dial. Passive: the address to listen on."""
    port: int = 5000
    """The port to dial, or to listen on; passive, 0: the system chooses."""
    local_host: str = ""
    """Active: the address of this machine, or its name, from which to dial; empty: the system
    chooses. For a machine with two network cards."""
    local_port: int = 0
    """Active: the port from which to dial; 0: the system chooses, which is what to prefer.

    After a connection with the same peer is over, TCP may keep a port for a minute.
    """
    session_id: int = 0
    """The device id, 15 bits: goes out with every data message."""
    check_session_id: bool = True
    """Drop and count data messages with another session id; an equipment also answers S9F1.

    Off: any is taken, and a reply has that of its primary, a primary that of its ``Message``.
    """
    is_equipment: bool = False
    """An equipment reports with stream 9: S9F1 unknown device, S9F7 illegal data, S9F9 T3 expired.

    A host does not.
    """

    tolerate_w_in_reply: bool = W_IN_REPLY.default
    """A secondary with W set is a reply. Here and below: ``hsms_engine.tolerances``."""
    tolerate_direction_bit: bool = DIRECTION_BIT.default
    """The top bit of a received session id is the direction bit of SECS-I, not of the device id."""
    tolerate_control_session_id: bool = CONTROL_SESSION_ID.default
    """A control message may have any session id; off: only 65535, others are passed over."""
    tolerate_select_rsp_1: bool = SELECT_RSP_1.default
    """Select.rsp 1 (already active) selects, as 0 does."""
    tolerate_other_function: bool = OTHER_FUNCTION.default
    """A secondary with our system bytes is the reply also with another even function."""
    tolerate_system_bytes_alone: bool = SYSTEM_BYTES_ALONE.default
    """A secondary with our system bytes is the reply, whatever its stream and function."""
    write_direction_bit: bool = False
    """An equipment sets the direction bit in what it sends; a host never does."""

    t3: float = timers.T3.seconds
    """Reply timeout: the longest time from the last byte of the primary to its reply."""
    t5: float = timers.T5.seconds
    """Connect separation: the least time between the starts of two attempts."""
    t6: float = timers.T6.seconds
    """Control transaction: how long Select, Deselect and Linktest await their response."""
    t7: float = timers.T7.seconds
    """Not selected: how long TCP may be open without a selected session."""
    t8: float = timers.T8.seconds
    """Inter-character: the longest pause within a frame."""
    connect_timeout: float = timers.CONNECT_TIMEOUT.seconds
    """How long TCP connect itself may take, without the wait for its slot (ours, not E37's)."""
    frame_deadline: float = timers.FRAME_DEADLINE.seconds
    """The longest time for a whole frame, plus its length at 64 KiB/s (ours, not E37's).

    In both directions: what is queued for the peer has the same time to be taken.
    """
    write_timeout: float = timers.WRITE_TIMEOUT.seconds
    """How long bytes may be queued while the peer takes none (ours, not E37's)."""
    linger: float = timers.LINGER.seconds
    """How long a graceful close waits for the peer after Separate.req was written (ours)."""
    linktest_interval: float | None = timers.LINKTEST_INTERVAL.seconds
    """Silence after which a linktest is sent; with None only ``linktest()`` sends one."""
    linktest_threshold: int = 1
    """Linktests in a row that may go unanswered before the connection is closed."""

    max_frame: int = DEFAULT_MAX_FRAME
    """The longest frame accepted, and sent, header and body, in bytes."""
    inbox_size: int = 10_000
    """Primaries that may wait for the program; one more closes the connection."""
    inbox_bytes: int = 67_108_864
    """Bytes in the bodies of these primaries; a single one may be longer.

    The messages in the waiting events of one reader have the same bound.
    """
    server_inbox_bytes: int = 268_435_456
    """Passive: bytes of the primaries that wait on all connections of one server together.

    Each counts 200 bytes more than its body. For a new one, those that wait on connections that are
    over are dropped first; when that is not enough, the connection that holds most is closed.
    """
    outbox_size: int = 1_048_576
    """Senders wait while more bytes than this are queued for the peer."""
    events_size: int = 1_000
    """Events that may wait for one reader of ``events()``; the oldest are dropped and counted."""

    breaker_threshold: int = 5
    """Consecutive failed attempts that open the circuit breaker."""
    breaker_open_time: float = timers.OPEN_TIME.seconds
    """How long the breaker is open before it lets one attempt begin; ``backoff_jitter`` adds."""
    backoff_factor: float = 1.0
    """The pause between attempts is T5, multiplied by this for each failure after the first."""
    backoff_limit: float = 240.0
    """The longest pause, without its jitter; but a pause is never shorter than T5."""
    backoff_jitter: float = 0.2
    """Up to this fraction of a pause, and of an open time, is added at random: links that lose
    their peer together do not all dial again together."""

    unreachable_after: float | None = None
    """Active: a link that was down for so long tells it once (``events.Unreachable``); None: never.

    A link is down while it is enabled and not selected.
    """

    max_sessions: int = 1
    """Passive: how many connections may be selected together; HSMS-SS allows one."""
    second_host: SecondHost = "probe"
    """Passive: what is done when a peer asks for a session and others have all of them.

    It gets Select.rsp 3 at once. With ``"probe"`` each connection that has a session is sent a
    linktest then, at most one in T6: so a peer that has vanished loses its session when it, or
    another, has asked ``linktest_threshold`` times, T6 apart. With ``"refuse"`` nothing else is
    done.
    """
    max_connections: int = 256
    """Passive: how many TCP connections may be open; further ones are closed and counted.

    As many handlers may run on after the end of their connections. The oldest connection that was
    never selected gives way to a new one, of the address that has most of these.
    """
    max_connections_per_address: int | None = None
    """Passive: how many of these one address may have; None: as many as ``max_connections``.

    Here and below, an address is an IPv4 address, or a /64 network of IPv6.
    """
    allowed_networks: tuple[str, ...] = ()
    """Passive: the networks and addresses whose peers are served; empty: everybody.

    ``("10.1.0.0/16", "10.2.3.4", "fd00::/8")``. Others are closed before a byte is read.
    """
    accept_rate: int | None = None
    """Passive: connections taken in a second, and twice as many at once; None: any number."""
    accept_rate_per_address: int | None = None
    """Passive: the same for each address. A host that dials by T5 never comes more often than 1."""

    tls_certificate: str = ""
    """A file (PEM) with the certificate of this end and those that lead to its authority.

    A setting of a file makes a connection one of TLS; ``docs/security.md`` explains all of them.
    """
    tls_key: str = ""
    """The file with its key; empty: the key is in the file of the certificate."""
    tls_key_password: str = field(default="", repr=False)
    """The password of that key, if it has one. It is never shown."""
    tls_authorities: str = ""
    """A file, or a folder, of the authorities whose certificates the peer may have.

    ``"system"`` are those of the system. With it a listening end asks each peer for a certificate.
    """
    tls_name: str = ""
    """Active: the name that the peer's certificate must have; empty: ``host``."""
    tls_sessions: tuple[str, ...] = ()
    """Passive: the session ids that each certificate may use; empty: any trusted one, all ids.

    ``("host-1.example=0", "host-2.example=1,4-7")``, by a name in the certificate.
    """

    text_encoding: str | None = None
    """How the peer encodes the text in A: Python's name of a superset of ASCII, such as ``"gbk"``.

    Received messages have it (``Message.text_encoding``), and the log shows text in it. None: what
    is not ASCII is shown as bytes. What is sent, is encoded when its message is built.
    """
    log_body_bytes: int = 4_096
    """The traffic log at DEBUG: how much of a body is shown, in characters of SML."""
    log_hex: bool = False
    """The traffic log at DEBUG: show as many bytes of the body in hexadecimal too."""
    allow_short_timers: bool = False
    """For tests: let timers be shorter than E37's ranges, down to 1 ms."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        expect_no_password(self, self.tls_key_password)
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return partial(type(self), **values), ()

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise SettingsError("; ".join(problems))

    def _problems(self) -> list[str]:
        found: list[str] = []
        # Not every caller uses a type checker.
        called: object = self.name
        if not is_name(called):
            found.append(
                f"name={called!r} is not a printable text of up to {_LONGEST_NAME} characters"
            )
        for name in ("host", "local_host"):
            host: object = getattr(self, name)
            if not isinstance(host, str) or (not host and name == "host"):
                found.append(f"{name}={host!r} is not a host name or address")
            elif not host.isprintable() or " " in host:
                found.append(
                    f"{name}={host!r} is not a host name or address: it has a space or a character "
                    "that cannot be seen"
                )
        for name, (low, high) in _WHOLE.items():
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if type(value) is not int or not low <= value <= high:
                found.append(f"{_is_not(name, value)} a whole number in {low}..{high}")
        for name, (lowest, highest) in _REAL.items():
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if not is_number(value) or not lowest <= value <= highest:
                found.append(f"{_is_not(name, value)} a number in {lowest:g}..{highest:g}")
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                found.append(f"{name}={value!r} is not {' or '.join(map(repr, choices))}")
        for name, read in SEVERAL.items():
            found += _several_problems(name, getattr(self, name), read)
        for name in (*PATHS, "tls_name", "tls_key_password"):
            value = getattr(self, name)
            if not isinstance(value, str) or "\0" in value:
                # A password, or what is given in its place, is not shown.
                shown = "(not shown)" if name == "tls_key_password" else f"{value!r}"
                found.append(f"{name}={shown} is not text")
        if self.text_encoding is not None:
            # A link without one does without SECS-II.
            from hsms_engine.secs2.encodings import superset_of_ascii

            found += _unusable("text_encoding", self.text_encoding, superset_of_ascii)
        for name in _FLAGS:
            value = getattr(self, name)
            if type(value) is not bool:
                found.append(f"{name}={value!r} is not True or False")
        for name, timer in _TIMERS.items():
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if problem := self._timer_problem(name, timer, value):
                found.append(problem)
        return found

    @property
    def has_tls(self) -> bool:
        """Whether connections are of TLS by these settings."""
        return any(getattr(self, name) for name in PATHS)

    @property
    def peer_name(self) -> str:
        """Active: the name or the address that the peer's certificate must have."""
        # No certificate has the interface of an IPv6 address.
        return self.tls_name or self.host.partition("%")[0]

    def device_id(self, session_id: int) -> int:
        """The device id in the session id of a received data message."""
        if self.tolerate_direction_bit:
            return session_id & ~DIRECTION
        return session_id

    def _timer_problem(self, name: str, timer: Timer, value: object) -> str | None:
        lowest = _lowest(timer, is_short=self.allow_short_timers is True)
        if is_number(value) and lowest <= value <= timer.highest:
            return None
        is_not = f"{_is_not(name, value)}{'' if is_number(value) else ' a number'}"
        return f"{is_not} in {lowest:g}..{timer.highest:g} s ({timer.meaning})"

    def replace(self, /, **changes: Unpack[SettingsChanges]) -> Settings:
        """These settings with some changed, validated as a whole.

        Raises ``SettingsError`` for a value out of range and for a name that is no setting.
        """
        return dataclasses.replace(self, **changes)

    # Out of a file

    @staticmethod
    def from_toml(path: str | PathLike[str], name: str | None = None) -> Settings:
        """The settings of the link ``name`` in a TOML file (``hsms_engine.profiles`` explains it).

        Without a name: those of the only link, or the ``[defaults]`` of a file without links.
        Raises ``SettingsError``, with file, line and column.
        """
        from hsms_engine import profiles

        return profiles.read(path).link(name)

    @staticmethod
    def links_from_toml(path: str | PathLike[str]) -> dict[str, Settings]:
        """The settings of all links in a TOML file, by their names, in its order.

        Raises ``SettingsError``, with file, line and column.
        """
        from hsms_engine import profiles

        return profiles.read(path).links

    # What follows from them

    def pause(self, failures: int) -> float:
        """Seconds between the starts of two attempts, without jitter.

        T5, or longer after so many ``failures`` in a row.
        """
        # Bounded, because a float cannot hold every power.
        grown = self.t5 * self.backoff_factor ** min(max(failures - 1, 0), 64)
        return max(self.t5, min(grown, self.backoff_limit))

    def recovery_bound(
        self, one_way_delay: float = ONE_WAY_DELAY, *, slot_wait: float = 0.0
    ) -> Bound:
        """The longest time until both ends are selected, once the network is whole.

        From any state in which the link is enabled, when both ends have these settings and no
        second host has asked for the session in the last T6.
        ``one_way_delay`` is the longest time in seconds that a frame is on its way, ``slot_wait``
        how long a dial may wait because other links of this program dial: up to 2 s for each 64 of
        them. ``hsms_engine.bounds`` has the other bounds. Raises ``ValueError`` when one of them
        is no number of seconds.
        """
        # A connection does without.
        from hsms_engine import bounds

        return bounds.recovery(self, one_way_delay, slot_wait)

    def detection_bound(self, *, request_open: bool = False, sending: bool = False) -> Bound:
        """The longest time from the last byte of a silent peer until its connection is closed.

        ``request_open``: a request is open all the time; ``sending``: messages are sent.
        """
        from hsms_engine import bounds

        return bounds.detection(self, request_open=request_open, sending=sending)


def expect_no_password(of: object, password: str) -> None:
    """Raise ``TypeError``: what has a password is not pickled."""
    if password:
        raise TypeError(
            f"{type(of).__name__}: with the password of a key they are not pickled, because "
            "whoever has the pickle could read it: leave it out, and set it where they are used"
        )


# The warnings that were given in this process.
_warned: set[str] = set()


def warn_who_listens(settings: Settings) -> None:
    """Warn, once in a process, when a peer that has vanished would keep its session for ever.

    The warning is about the line that awaits the caller of this.
    """
    text = (
        "linktest_interval=None and second_host='refuse' at a listening end: when a host vanishes "
        "without closing TCP (a power cut), its session stays, nobody asks whether it still lives, "
        "and each time the host dials again it is refused with Select.rsp 3, for ever; set one of "
        "the two"
    )
    if settings.linktest_interval is None and settings.second_host == "refuse":
        _warn_once(text, settings)


def warn_who_is_let_in(settings: Settings, host: str, *, has_tls: bool) -> None:
    """Warn, once in a process, when any machine that reaches this listener may be a host.

    ``host`` is where it listens. The warning is about the line that awaits the caller of this.
    """
    text = (
        "a listening end that other machines reach, without allowed_networks and without TLS: "
        "whoever reaches its port can take the session, read and send messages; set "
        "allowed_networks, or TLS (tls_certificate, tls_authorities), or listen on 127.0.0.1"
    )
    if is_exposed(host) and not has_tls and not settings.allowed_networks:
        _warn_once(text, settings)


def _warn_once(text: str, settings: Settings) -> None:
    """Warn in the log, and about the line that awaits the caller of the caller of this."""
    if text not in _warned:
        _warned.add(text)
        if LINK.hasHandlers():
            # Without handlers it would be on stderr twice.
            listens = link_name(settings.name, f"{settings.host}:{settings.port}", "passive")
            Teller(listens, 0).say(logging.WARNING, "%s", text)
        warnings.warn(text, UserWarning, stacklevel=4)


def chosen_settings(given: tuple[Any, ...], changes: SettingsChanges) -> Settings:
    """The settings that a call gives by position (``given``), changed by those it gives by name.

    By position: nothing, settings, a host and a port, or a host, a port and settings. Raises
    ``TypeError`` for anything else and for a setting given twice, ``SettingsError`` for a value out
    of range.
    """
    address: SettingsChanges = {}
    match given:
        case ():
            base = Settings()
        case (Settings() as base,):
            pass
        case (host, port):
            base, address = Settings(), {"host": host, "port": port}
        case (host, port, Settings() as base):
            address = {"host": host, "port": port}
        case _:
            raise TypeError(
                "by position: settings, or host and port, or host, port and settings, "
                f"not {given!r}; all else by name"
            )
    if twice := address.keys() & changes.keys():
        raise TypeError(f"by position and by name: {', '.join(sorted(twice))}")
    merged: SettingsChanges = {**address, **changes}
    return base.replace(**merged)


def _several_problems(name: str, value: object, read: Callable[[str], object]) -> Iterator[str]:
    """What is wrong with a setting of several texts."""
    if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
        yield f"{name}={value!r} is not several texts: a tuple, or in TOML an array"
        return
    for each in value:
        yield from _unusable(name, each, read)


def _unusable(name: str, value: str, read: Callable[[str], object]) -> Iterator[str]:
    """What ``read`` says is wrong with a text."""
    try:
        read(value)
    except ValueError as error:
        yield f"{name}={value!r} cannot be used: {error}"


def is_name(value: object) -> bool:
    """Whether ``value`` can be the name of a link: every line of the logs has it."""
    return isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_NAME


def allowed(name: str, *, is_short: bool = False) -> str:
    """What the value of a setting may be, for people: its range with its unit, or its choices.

    ``is_short``: with ``allow_short_timers``.
    """
    none = ", or none" if name in OPTIONAL else ""
    if (timer := _TIMERS.get(name)) is not None:
        lowest = _lowest(timer, is_short=is_short)
        return f"{lowest:g}..{timer.highest:g} s{none}"
    if (whole := _WHOLE.get(name)) is not None:
        return f"{whole[0]}..{whole[1]}{none}"
    if (real := _REAL.get(name)) is not None:
        return f"{real[0]:g}..{real[1]:g}{none}"
    if (choices := _CHOICES.get(name)) is not None:
        return " or ".join(choices)
    if name in _FLAGS:
        return "true or false"
    return f"texts{none}" if name in SEVERAL else f"text{none}"


def _lowest(timer: Timer, *, is_short: bool) -> float:
    return _SHORTEST if is_short else timer.lowest


def _is_not(name: str, value: object) -> str:
    """How the error begins for what should be a number. In quotes it looks like one."""
    is_not = "is text, not" if isinstance(value, str) else "is not"
    return f"{name}={value!r} {is_not}"


def is_number(value: object) -> TypeGuard[float]:
    if type(value) is int:
        return True
    return isinstance(value, float) and math.isfinite(value)
