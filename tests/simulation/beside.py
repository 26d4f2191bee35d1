"""What a run knows of each end beside its engine: its timers, what it has told, what it has kept.

Each is a second opinion: it is made of what comes out, and never asks the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hsms_engine.events import (
    BreakerClosed,
    BreakerHalfOpen,
    BreakerIsolated,
    BreakerOpened,
    BreakerProbing,
    Connecting,
    Doubtful,
    Draining,
    LinkEvent,
    Missed,
    Owning,
    PeerAccepted,
    PeerDeselected,
    PeerEnded,
    PeerRefused,
    PeerSelected,
    Selected,
    ServerEvent,
    Standby,
    UnexpectedSecondary,
    Unreachable,
    Unsent,
    Withdrawn,
)
from hsms_engine.settings import Settings
from statecharts import Effect, Start, Stop
from statecharts.hsms.vocabulary import OpenTcp

# What floats of the clock may be wrong by.
ROUNDING = 1e-6
# The settings of the timers that have other names.
_SETTING = {
    "t6_linktest": "t6",
    "t6_second_host": "t6",
    "open_time": "breaker_open_time",
    "write_deadline": "frame_deadline",
}
# Those that run from their start on, whatever is written or comes meanwhile.
_PLAIN = ("t7", "t8", "t6_second_host", "connect_timeout", "write_timeout", "open_time")


@dataclass(slots=True)
class Timekeeper:
    """When the timers of one engine were started, and when it dialled last. Seconds."""

    running: dict[str, float] = field(default_factory=dict)
    dialled: float | None = None

    def stepped(self, now: float, event: str, effects: Iterable[Effect], settings: Settings) -> str:
        """A step was made. What comes too early in it; empty when nothing does."""
        fault = ""
        timer = event.removesuffix("_expired")
        since = self.dialled if timer == "t5" else self.running.get(timer)
        if timer != event and since is not None:
            least = getattr(settings, _SETTING.get(timer, timer))
            if least is None or now < since + least - ROUNDING:
                fault = f"{event} {now - since:g} s after its start, and it is {least:g} s"
        for effect in effects:
            match effect:
                case Start(started):
                    self.running[started.id] = now
                case Stop(stopped):
                    self.running.pop(stopped.id, None)
                case OpenTcp():
                    if self.dialled is not None and now < self.dialled + settings.t5 - ROUNDING:
                        fault = f"dialled {now - self.dialled:g} s after the last dial"
                    self.dialled = now
                case _:
                    pass
        return fault

    def late(self, now: float, settings: Settings) -> str:
        """What has not expired though its time is over; empty when nothing.

        T6 twice is how long an engine may read before it judges.
        """
        for timer, since in self.running.items():
            longest = 1 + settings.backoff_jitter
            if timer in _PLAIN:
                longest *= getattr(settings, _SETTING.get(timer, timer))
            elif timer == "t5" and self.dialled is not None:
                pause = settings.pause(settings.breaker_threshold)
                longest = max(longest * pause - since + self.dialled, 0)
            else:
                continue
            if now > since + longest + 2 * settings.t6 + ROUNDING:
                return f"{timer} runs for {now - since:g} s"
        return ""


@dataclass(slots=True)
class Told:
    """The events of one link, all of them."""

    events: list[LinkEvent] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, event: LinkEvent) -> None:
        """It has happened."""
        self.events.append(event)
        self.counts[type(event).__name__] += 1

    def present(self) -> list[LinkEvent]:
        """What a reader that begins now gets first."""
        phase: int | None = None
        breaker: int | None = None
        lease: int | None = None
        for place, event in enumerate(self.events):
            match event:
                case BreakerClosed():
                    breaker = None
                case BreakerOpened() | BreakerHalfOpen() | BreakerProbing() | BreakerIsolated():
                    breaker = place
                case Withdrawn() | Standby() | Owning() | Doubtful() | Draining():
                    lease = place
                case UnexpectedSecondary() | Unsent() | Unreachable() | Missed():
                    pass
                case _:
                    phase = place
        return [self.events[each] for each in sorted({phase, breaker, lease} - {None})]  # type: ignore[type-var,index]  # None is taken out

    def miscounted(self, attempts: int, times_selected: int) -> str:
        """What these counts, which the link gives, differ in; empty when in nothing."""
        told = self.counts[Connecting.__name__], self.counts[Selected.__name__]
        if told == (attempts, times_selected):
            return ""
        return f"it counts {(attempts, times_selected)} attempts and sessions, and told {told}"


class Along:
    """One reader of events, which must get them all, in order."""

    def __init__(self, told: Told, *, is_first: bool) -> None:
        self._told = told
        self._begins: Sequence[LinkEvent] = () if is_first else told.present()
        self._from = 0 if is_first else len(told.events)
        self._at = 0

    def take(self, event: LinkEvent) -> str:
        """What is wrong with this event; empty when nothing is."""
        match event:
            case Missed(count=count):
                self._at += count
                return ""
            case _:
                due = self._due()
                self._at += 1
                return "" if event is due else f"a reader got {event}, and {due} was due"

    @property
    def has_all(self) -> bool:
        """Whether nothing is due."""
        return self._due() is None

    def _due(self) -> LinkEvent | None:
        place = self._at - len(self._begins)
        if place < 0:
            return self._begins[self._at]
        place += self._from
        return self._told.events[place] if place < len(self._told.events) else None


class Peers:
    """The peers of one server, by what a reader of its events is told."""

    def __init__(self) -> None:
        self.here: dict[int, bool] = {}
        self._latest = 0
        self.has_missed = False

    def take(self, event: ServerEvent) -> str:
        """What is wrong with this event; empty when nothing is."""
        number = event.epoch
        match event:
            case Missed():
                self.has_missed = True
            case _ if self.has_missed:
                pass
            case PeerAccepted():
                if number <= self._latest:
                    return f"{event}: that number was given before"
                self.here[number], self._latest = False, number
            case PeerSelected() | PeerDeselected() | PeerRefused() | PeerEnded() if (
                number not in self.here
            ):
                return f"{event}: that peer is not here"
            case PeerSelected() | PeerDeselected():
                is_selected = isinstance(event, PeerSelected)
                if self.here[number] == is_selected:
                    return f"{event}: so it was before"
                self.here[number] = is_selected
            case PeerEnded(was_selected=was_selected):
                if self.here.pop(number) and not was_selected:
                    return f"{event}: it was selected"
            case _:
                pass
        return ""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a program has saved of its link, and what is to be so when the link is back."""

    saved: dict[str, object]
    is_enabled: bool
    failures: int
    dialled: float | None
    # Since when the breaker is open; None: it is not.
    opened: float | None
