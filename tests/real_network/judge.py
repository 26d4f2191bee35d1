"""What a row expects, and whether it came about: pure, from the lines that both ends have told.

The time that something may take is a bound of ``hsms_engine.bounds`` for the row's settings, and
``SLACK`` more: the bounds know no scheduler, and no wait of TCP before it sends again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from hsms_engine import Settings, bounds
from tests.real_network.namespaces import End

SLACK = 1.0
"""Seconds: busy CPUs, and a packet that TCP sends again once or twice (200 ms, 400 ms)."""

Within = Literal[
    "at once",
    "next probe",
    "T6",
    "connect timeout",
    "silence",
    "silence, sending",
    "silence, asking",
    "write timeout",
    "dial",
    "recovery",
    "crashed host",
    "crashed equipment",
]


@dataclass(frozen=True, slots=True)
class Noticed:
    """The end says that its connection is over. ``says`` is in what it says."""

    end: End
    within: Within
    says: str = ""

    def __str__(self) -> str:
        return f"{self.end}: lost"


@dataclass(frozen=True, slots=True)
class Fails:
    """An attempt of the host fails, and ``says`` is in what it says."""

    within: Within
    says: str

    def __str__(self) -> str:
        return "host: attempt fails"


@dataclass(frozen=True, slots=True)
class Back:
    """Both ends are selected, for all that is told, and a request is answered."""

    within: Within = "recovery"

    def __str__(self) -> str:
        return "back"


@dataclass(frozen=True, slots=True)
class Unharmed:
    """No connection is lost, and no request fails."""

    def __str__(self) -> str:
        return "nothing lost"


@dataclass(frozen=True, slots=True)
class ResetSent:
    """The end has sent RST: the peer hears of the end even where data is stuck."""

    end: End

    def __str__(self) -> str:
        return f"{self.end}: sends RST"


@dataclass(frozen=True, slots=True)
class BreakerOpens:
    """The host's breaker opens after exactly as many attempts as its threshold says."""

    def __str__(self) -> str:
        return "breaker opens"


@dataclass(frozen=True, slots=True)
class InOrder:
    """The host tells of TCP, of Select.req, and of SELECTED, in this order."""

    def __str__(self) -> str:
        return "told in order"


@dataclass(frozen=True, slots=True)
class Unnoticed:
    """Nobody notices before it is healed: with these settings there is no bound."""

    def __str__(self) -> str:
        return "unnoticed"


Expected = Noticed | Fails | Back | Unharmed | ResetSent | BreakerOpens | InOrder | Unnoticed


@dataclass(frozen=True, slots=True)
class Line:
    """What a program has told, or the stage of it: ``started``, ``gone``."""

    at: float
    end: End
    what: str
    why: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """What has happened in a row. Times are of the monotonic clock.

    ``ends``: those that tell; the equipment of another machine does not. ``is_quiet``: the host
    asks nothing. ``healed`` is when the fault was over; for a program that was started again, when
    it listened or began. ``resets`` counts the packets with RST of each end.
    """

    settings: Settings
    delay: float
    ends: Sequence[End]
    is_quiet: bool
    lines: Sequence[Line]
    began: float
    healed: float | None
    resets: tuple[tuple[End, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """``took`` is None when it did not happen; ``bound`` is None when there is no time to it."""

    expected: Expected
    took: float | None
    bound: float | None
    what: str

    @property
    def is_met(self) -> bool:
        if self.took is None:
            return False
        return self.bound is None or self.took <= self.bound + SLACK


def seconds(within: Within, settings: Settings, delay: float) -> float:
    """How long something may take, without ``SLACK``."""
    match within:
        case "at once":
            return 2 * delay
        case "next probe":
            # Whatever is sent is answered by a reset.
            interval = settings.linktest_interval
            return float("inf") if interval is None else interval + 2 * delay
        case "T6":
            return settings.t6 + 2 * delay
        case "connect timeout":
            return settings.connect_timeout
        case "silence":
            return settings.detection_bound().seconds
        case "silence, sending":
            return settings.detection_bound(sending=True).seconds
        case "silence, asking":
            return settings.detection_bound(request_open=True, sending=True).seconds
        case "write timeout":
            return settings.write_timeout + 2 * delay
        case "recovery":
            return settings.recovery_bound(delay).seconds
        case "dial":
            return settings.recovery_bound(delay).terms[-1].seconds
        case "crashed host":
            return bounds.crashed_host(settings, delay).seconds
        case "crashed equipment":
            return bounds.crashed_equipment(
                settings, delay, request_open=True, sending=True
            ).seconds
        case never:
            assert_never(never)


def judge(expected: Expected, run: Run) -> Finding:
    """Whether ``expected`` came about by the last line of ``run``."""

    def found(took: float | None, within: Within, what: str) -> Finding:
        return Finding(expected, took, seconds(within, run.settings, run.delay), what)

    match expected:
        case Noticed(end, within, says):
            for line in after(run.began, run.lines):
                if line.end == end and is_loss(line):
                    said = line.at - run.began if says in line.why else None
                    return found(said, within, line.why)
            return found(None, within, "not noticed")
        case Fails(within, says):
            begun = None
            for line in after(run.began, run.lines):
                if line.what == "Connecting":
                    begun = line.at
                if line.error == "ConnectError" and begun is not None and says in line.why:
                    return found(line.at - begun, within, line.why)
            return found(None, within, "no such failure")
        case Back(within):
            if run.healed is None or (at := back_since(run)) is None:
                return found(None, within, "not back")
            # The bound of a host that crashes is from its first attempt on.
            since = run.began if within == "crashed equipment" else run.healed
            return found(max(0.0, at - since), within, "selected, and a request answered")
        case Unharmed():
            harm = [line for line in after(run.began, run.lines) if is_harm(line)]
            what = harm[0].why or harm[0].what if harm else "nothing lost"
            return Finding(expected, None if harm else 0.0, None, what)
        case ResetSent(end):
            count = dict(run.resets).get(end, 0)
            return Finding(expected, 0.0 if count else None, None, f"{count} packets with RST")
        case BreakerOpens():
            attempts = 0
            for line in after(run.began, run.lines):
                attempts += line.what == "Connecting"
                if line.what == "BreakerOpened":
                    what = f"{line.why} and {attempts} attempts"
                    wanted = run.settings.breaker_threshold
                    is_so = what == f"{wanted} failures and {wanted} attempts"
                    return Finding(expected, 0.0 if is_so else None, None, what)
            return Finding(expected, None, None, "it did not open")
        case InOrder():
            told = [line.what for line in run.lines if line.end == "host"][2:5]
            is_so = told == ["Connecting", "Selecting", "Selected"]
            return Finding(expected, 0.0 if is_so else None, None, ", ".join(told))
        case Unnoticed():
            lost = [
                line
                for line in after(run.began, run.lines)
                if is_loss(line) and (run.healed is None or line.at < run.healed)
            ]
            is_bounded = run.settings.detection_bound().seconds < float("inf")
            is_so = not lost and not is_bounded
            return Finding(expected, 0.0 if is_so else None, None, f"{len(lost)} noticed")
        case never:
            assert_never(never)


def after(moment: float, lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if line.at >= moment)


def is_loss(line: Line) -> bool:
    """Whether a connection that was selected is over."""
    match line.what, line.error:
        case ("Waiting", "ConnectError"):
            return False
        case ("Waiting", _) | ("PeerEnded", "selected"):
            return True
        case _:
            return False


def is_harm(line: Line) -> bool:
    return is_loss(line) or line.what in ("failed", "damaged")


def back_since(run: Run) -> float | None:
    """Since when both ends have been selected; None when they are not, or nothing was answered."""
    assert run.healed is not None
    selected = dict.fromkeys(run.ends, False)
    since, answered = None, False
    for line in sorted(run.lines, key=lambda line: line.at):
        match line.what:
            case "Selected" | "PeerSelected":
                selected[line.end] = True
            case "Waiting" | "PeerEnded" | "started" | "gone" if is_over(line):
                selected[line.end] = False
            case "answered" if since is not None and line.at >= run.healed:
                answered = True
        if not all(selected.values()):
            since, answered = None, False
        elif since is None:
            since = line.at
    return since if answered or run.is_quiet else None


def is_over(line: Line) -> bool:
    """Whether this end has no session any more."""
    return line.error != "never selected"
