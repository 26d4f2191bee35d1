"""How long a link takes to notice that its peer is gone, and to be selected again.

Each bound is the longest time that these settings allow when both ends have them. docs/proof.md
says how they are derived and which are reached; ``hsms_engine.worst`` makes the runs that take so
long, with two real ends.

The *delay* is the longest time in seconds that a frame is on its way in one direction. A dial is
there and back, Select.req and Select.rsp are there and back once more. How long TCP waits before it
sends a lost packet again is not in it. All numbers are seconds. With jitter every pause and every
open time is the longest. A bound is infinite when the link may never come back; then a term or a
condition says which setting to change. Each function raises ``ValueError`` when a number that it is
given is no number of seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from hsms_engine.settings import ONE_WAY_DELAY, Settings

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a bound. ``seconds`` is infinite when it need not end."""

    name: str
    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be so for a bound to hold: a setting is longer than ``least`` seconds."""

    setting: str
    seconds: float
    least: float
    otherwise: str

    @property
    def holds(self) -> bool:
        """Whether it is so."""
        return self.seconds > self.least

    def __str__(self) -> str:
        if self.holds:
            return f"{self.setting} = {self.seconds:g} s > {self.least:g} s"
        return f"{self.setting} = {self.seconds:g} s <= {self.least:g} s: {self.otherwise}"


@dataclass(frozen=True, slots=True)
class Bound:
    """The longest time that something takes: the sum of its terms, if all conditions hold.

    When one does not, it may never come about, and ``seconds`` is infinite.
    """

    name: str
    about: str
    terms: tuple[Term, ...]
    conditions: tuple[Condition, ...] = ()

    @property
    def seconds(self) -> float:
        """The bound in seconds, perhaps infinite."""
        if all(each.holds for each in self.conditions):
            return _sum(self.terms)
        return math.inf

    def __float__(self) -> float:
        return self.seconds


def table(
    settings: Settings, delay: float = ONE_WAY_DELAY, *, slot_wait: float = 0.0
) -> tuple[Bound, ...]:
    """All bounds of these settings. ``delay`` and ``slot_wait`` (of ``recovery``) are seconds."""
    return (
        recovery(settings, delay, slot_wait),
        opened_breaker(settings, delay),
        enabled_again(settings, delay),
        crashed_host(settings, delay),
        crashed_equipment(settings, delay),
        crashed_equipment(settings, delay, request_open=True),
        crashed_equipment(settings, delay, sending=True),
        detection(settings),
        detection(settings, request_open=True),
        detection(settings, sending=True),
    )


def conditions(settings: Settings, delay: float) -> tuple[Condition, ...]:
    """What must be so for two ends with these settings to find each other."""
    _check("one_way_delay", delay)
    there_and_back = 2 * delay
    return (
        Condition("connect_timeout", settings.connect_timeout, there_and_back, "no TCP comes up"),
        Condition("t6", settings.t6, there_and_back, "responses come too late"),
        Condition("t7", settings.t7, there_and_back, "Select.rsp comes too late"),
    )


def recovery(settings: Settings, delay: float, slot_wait: float = 0.0) -> Bound:
    """From any state to both ends selected, once the network is whole and nobody acts any more.

    No second host has asked for the session in the last T6: the next one that asks would cause no
    probe. ``slot_wait``: how long a dial may wait for its slot, in seconds.
    """
    _check("slot_wait", slot_wait)
    unanswered = min(
        Term("T6", settings.t6, "the Select.req that is unanswered then is the last failure"),
        Term("T7", settings.t7, "the attempt that is not selected then is the last failure"),
        key=_seconds,
    )
    deselected = Term("T7", settings.t7, "TCP is open after a Deselect, and nobody selects")
    learned = Term("2 x delay", 2 * delay, "the peer learns of the Deselect, and its reset comes")
    bound = _back(
        "recovery",
        "once the network is whole, from any state until both ends are selected, "
        "when no second host has asked in the last T6",
        settings,
        delay,
        (unanswered, _open_time(settings)),
        (Term("T6", settings.t6, "a request that is unanswered then is never answered"),),
        (_pause(settings, settings.breaker_threshold),),
        (deselected, learned),
        _found(settings, delay),
        *_refused(settings, delay),
    )
    if not slot_wait:
        return bound
    slot = Term("slot", slot_wait, "other links of the program dial first")
    return replace(bound, terms=(*bound.terms, slot))


def _found(settings: Settings, delay: float) -> tuple[Term, ...]:
    """An end finds out that it alone still has a session: the reset of the other end was lost.

    It sends nothing before its next probe, because whatever it sends is answered by a reset.
    """
    interval = _interval(settings, 1)
    if interval.seconds == math.inf:
        return (interval,)
    comes = Term("delay", delay, "the last frame comes")
    missed = Term("T6", settings.t6, "a probe that is unanswered then is counted as missed")
    return (
        *max(
            (comes if settings.linktest_threshold == 1 else missed, interval),
            (Term("T3", settings.t3, "a reply that is awaited then never comes"),),
            key=_sum,
        ),
        Term("2 x delay", 2 * delay, "the next probe, and the reset that answers it"),
    )


def _refused(settings: Settings, delay: float) -> Iterator[tuple[Term, ...]]:
    """The listening end alone still has a session: attempts are refused until it finds out."""
    found, most = _found(settings, delay), settings.breaker_threshold
    life = _sum(found)
    if life == math.inf:
        yield found
        return
    pause = _pause(settings, most).seconds
    opens = last_refused(settings, delay, life).failures == most
    if settings.second_host == "refuse":
        following = _until_next_attempt(settings, 4 * delay) if opens else pause
        yield (*found, Term("attempt", following, "from the last refused attempt to the next"))
        return
    asked = _next_attempt(settings, delay, min(life, session_gone(settings, delay)))
    yield (
        Term("pause", min(pause, life), "until the first attempt, which the old session refuses"),
        Term("attempts", asked, "they are refused until the old session is found to be dead"),
    )
    if most > 1 and opens:
        before = sum(settings.pause(failures) for failures in range(1, most - 1))
        pause = min(_pause(settings, most - 1).seconds, life - before)
        yield (
            Term("pause", pause, "until the attempt that the old session has refused"),
            Term("4 x delay", 4 * delay, "that attempt, the last failure"),
            _open_time(settings),
        )


def opened_breaker(settings: Settings, delay: float) -> Bound:
    """From the failure that opens the breaker, when the listening end has no old session."""
    return _back(
        "opened breaker",
        "from the failure that opens the breaker until both ends are selected, "
        "when the listening end has no old session",
        settings,
        delay,
        (_open_time(settings),),
        (_pause(settings, settings.breaker_threshold),),
    )


def enabled_again(settings: Settings, delay: float) -> Bound:
    """From ``disable`` and then ``enable`` at once, while the breaker is closed."""
    return _back(
        "enabled again",
        "from disable, enable until both ends are selected, while the breaker is closed",
        settings,
        delay,
        (_pause(settings, settings.breaker_threshold - 1),),
        (Term("linger", settings.linger, "the peer does not close after Separate.req"),),
    )


def crashed_equipment(
    settings: Settings, delay: float, *, request_open: bool = False, sending: bool = False
) -> Bound:
    """From the last byte of a selected equipment that crashes, is back at once, and sends no reset.

    The host neither asks nor sends, or does as for ``detection``.
    """
    busy = _busy(request_open, sending)
    return _back(
        f"crashed equipment{busy or ' while the host is idle'}",
        "from the last byte of a selected equipment that crashes and is back at once until both "
        f"ends are selected{busy or ', while the host neither asks nor sends'}",
        settings,
        delay,
        _silence(settings, request_open, sending),
        (_pause(settings, 0),),
    )


def crashed_host(settings: Settings, delay: float) -> Bound:
    """From the crash of a selected host whose program starts again at once, and sends no reset.

    No frame of it is still on its way, the equipment neither asks nor sends, and no second host has
    asked for the session in the last T6. Its attempts are refused until its old session is gone.
    With ``second_host="probe"`` the first of them has the old connection asked at once whether it
    lives, and so does each that comes T6 or more after the one before. When a second host has asked
    just before, the first attempt causes no probe, and that costs one more pause.
    """
    way = _after_silence(settings, delay)
    if settings.second_host == "probe" and settings.t5 > settings.t6 + 3 * delay:
        knocks = _after_knocks(settings, delay)
        way = knocks if _sum(knocks) <= _sum(way) + _ROUNDING else way
    return _back(
        "crashed host",
        "from the crash of a selected host that is back at once until both ends are selected, "
        "while the equipment neither asks nor sends, and no second host has asked in the last T6",
        settings,
        delay,
        way,
    )


def detection(settings: Settings, *, request_open: bool = False, sending: bool = False) -> Bound:
    """From the last byte of a peer that has vanished to the end of its connection.

    ``request_open``: a request is open all the time; ``sending``: messages are sent.
    """
    return Bound(
        f"silence{_busy(request_open, sending)}",
        "from the last byte of the peer until its connection is closed",
        _silence(settings, request_open, sending),
    )


def _busy(request_open: bool, sending: bool) -> str:
    """What a program does meanwhile, behind the name of a bound."""
    busy = [
        what for what, is_so in (("a request is open", request_open), ("sending", sending)) if is_so
    ]
    return f" while {' and '.join(busy)}" if busy else ""


def _after_knocks(settings: Settings, delay: float) -> tuple[Term, ...]:
    """As many attempts are refused as linktests may be missed, one for each.

    From the first attempt to the start of the one that succeeds.
    """
    refused, most = settings.linktest_threshold, settings.breaker_threshold
    pauses = [_pause(settings, failures).seconds for failures in range(1, min(refused + 1, most))]
    terms: tuple[Term, ...] = ()
    if pauses:
        why = "refused: the old session is asked whether it lives, and does not answer"
        terms += (Term(_times(len(pauses), "pause"), sum(pauses), why),)
    if further := refused - len(pauses):
        why = "refused while one failure opens the breaker"
        seconds = further * _until_next_attempt(settings, 4 * delay)
        terms += (Term(_times(further, "open time"), seconds, why),)
    return terms


def _after_silence(settings: Settings, delay: float) -> tuple[Term, ...]:
    """The session is gone at some time, and the attempt that was refused last came just before."""
    gone = session_gone(settings, delay)
    if gone == math.inf:
        why = "nobody asks whether the old session lives: set linktest_interval or second_host"
        return (Term("old session", gone, why),)
    following = _next_attempt(settings, delay, gone)
    return (
        Term("old session", gone, "until the old session is found to be dead"),
        Term("attempt", following - gone, "from the last refused attempt to the next"),
    )


def session_gone(settings: Settings, delay: float) -> float:
    """When the session of a host that crashed is found to be dead at the latest, or infinite.

    In seconds since its first attempt, when ``crashed_host`` holds.
    """
    interval = _interval(settings, 1).seconds
    if settings.second_host == "refuse":
        return delay + _sum(_silence(settings))
    # The first attempt asks.
    gone = 3 * delay + settings.t6
    for _ in range(1, settings.linktest_threshold):
        due = gone + interval
        gone = min(due, _next_attempt(settings, delay, gone) + 3 * delay) + settings.t6
    return gone


@dataclass(frozen=True, slots=True)
class LastRefused:
    """The last attempt that may be refused: when it begins, in seconds since the first one.

    ``failures``: how many have failed in a row then, at most the breaker's threshold.
    """

    earliest: float
    latest: float
    failures: int


def last_refused(settings: Settings, delay: float, gone: float) -> LastRefused:
    """Of the attempts of a host, the last that can begin by ``gone``; all before it fail."""
    earliest = latest = 0.0
    failures, most = 1, settings.breaker_threshold
    while failures < most and earliest + settings.pause(failures) <= gone:
        earliest += settings.pause(failures)
        latest += _pause(settings, failures).seconds
        failures += 1
    if failures == most:
        between = max(settings.breaker_open_time, settings.pause(failures))
        further = math.floor((gone - earliest) / between)
        earliest += further * between
        latest += further * _until_next_attempt(settings, 4 * delay)
    return LastRefused(earliest, latest, failures)


def _next_attempt(settings: Settings, delay: float, gone: float) -> float:
    """The latest start of the first attempt after ``gone``, in seconds since the first one."""
    last = last_refused(settings, delay, gone)
    following = min(last.latest, gone) + _pause(settings, last.failures).seconds
    if last.failures < settings.breaker_threshold:
        return following
    refused = min(last.latest + 4 * delay, gone + delay)
    return max(following, refused + _open_time(settings).seconds)


def _until_next_attempt(settings: Settings, refusal: float) -> float:
    """The longest time from an attempt that opens the breaker to the next one.

    ``refusal``: how long the attempt takes to fail.
    """
    most = settings.breaker_threshold
    return max(refusal + _open_time(settings).seconds, _pause(settings, most).seconds)


def _back(
    name: str, about: str, settings: Settings, delay: float, *ways: tuple[Term, ...]
) -> Bound:
    """The longest of these ways to a dial that succeeds, and that dial."""
    dial = Term("4 x delay", 4 * delay, "the dial, there and back; Select.req; Select.rsp")
    return Bound(name, about, (*max(ways, key=_sum), dial), conditions(settings, delay))


def _check(name: str, seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name}={seconds!r} is not a number of seconds from 0 on")


def _seconds(term: Term) -> float:
    return term.seconds


def _sum(terms: Iterable[Term]) -> float:
    return sum(map(_seconds, terms))


def _times(count: int, name: str) -> str:
    return name if count == 1 else f"{count} x {name}"


def _with_jitter(settings: Settings, seconds: float) -> float:
    return seconds * (1 + settings.backoff_jitter)


def _open_time(settings: Settings) -> Term:
    seconds = _with_jitter(settings, settings.breaker_open_time)
    return Term("open time", seconds, "the breaker is open, with all of its jitter")


def _pause(settings: Settings, failures: int) -> Term:
    seconds = _with_jitter(settings, settings.pause(failures))
    return Term("pause", seconds, "T5 with its back-off and all of its jitter")


def _interval(settings: Settings, threshold: int) -> Term:
    name = _times(threshold, "linktest interval")
    if settings.linktest_interval is None:
        return Term(name, math.inf, "no linktest is sent: set linktest_interval")
    return Term(name, threshold * settings.linktest_interval, "no byte comes before each probe")


def _silence(
    settings: Settings, request_open: bool = False, sending: bool = False
) -> tuple[Term, ...]:
    """From the last byte of the peer to the last probe that is missed."""
    threshold = settings.linktest_threshold
    terms: tuple[Term, ...] = (
        _interval(settings, threshold),
        Term(_times(threshold, "T6"), threshold * settings.t6, "no answer to each probe"),
    )
    if request_open:
        why = "while a request is open, T3 watches first"
        terms += (Term(_times(threshold, "T3"), threshold * settings.t3, why),)
    if sending and (more := settings.write_timeout - settings.t6) > 0:
        why = "bytes that the peer does not take hold up the last probe"
        terms += (Term("write timeout - T6", more, why),)
    return terms
