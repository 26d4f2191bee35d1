"""A counterexample as a recording, in the format of ``hsms_engine.recording``.

Each connection of the model is a link, with its charts and the settings with which the search found
it. The model has no clock: one second is one move, and no timer says when it is due. Control
messages are frames as the engine would write them; a data message, of which the model knows no
more, is S1F1. What no chart does is an event ``Note``. The claim that is false is the last record.

The same counterexample gives the same bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

from hsms_engine.protocol.frames import control
from hsms_engine.recording import (
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HopRecord,
    Json,
    LinkRecord,
    Record,
    SettingsRecord,
    StepRecord,
    head,
    line_of,
    states_of,
)
from hsms_engine.wire import (
    DeselectStatus,
    Frame,
    RejectReason,
    SType,
    control_frame,
    data_frame,
    encode,
    reject_frame,
)
from statecharts.declare import ADOPTED, Effect
from statecharts.explore.alone import Alone, Here, WorldState
from statecharts.explore.graph import Trace
from statecharts.explore.moves import Model, Move, State, View
from statecharts.explore.pair import Pair
from statecharts.hsms.passive import PASSIVE
from statecharts.hsms.vocabulary import ContestSession, Outgoing, Send
from statecharts.hsms.world import after_all
from statecharts.router import Hop, Router, SystemSnapshot, SystemStep
from tests.support.told import NOTE, WALL

from .model import ACTIVE_SIDE, DATA, GHOST, PASSIVE_SIDE, End, Ends, Side

FAULT = "Counterexample"
"""The error of a claim that is false."""

_LENGTH_BYTES = 4
_OLD = " (old)"
_CONTROL = {each.value: each for each in Outgoing}
_EXPLANATION = "a counterexample: a move takes one second, and a timer may be over at any time"

Searched: TypeAlias = Alone[WorldState] | Ends


@dataclass(frozen=True, slots=True)
class Found:
    """A counterexample: what was searched, and the claim that is false there."""

    search: str
    claim: str
    says: str
    trace: Trace


def write(found: Found, model: Searched[WorldState], folder: Path) -> Path:
    """Write it into a file of this folder, and return the file. Raises ``OSError``."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{found.search} {found.claim}".lower()).strip("-")
    path = folder / f"{name}.jsonl"
    path.write_text("".join(map(line_of, records(found, model))), "ascii", newline="\n")
    return path


def records(found: Found, model: Searched[WorldState]) -> list[Record]:
    """All of the recording."""
    told = _Told(f"{found.search}: {found.claim}")
    match model:
        case Alone():
            told.alone(found.trace, model)
        case Pair():
            told.ends(found.trace, model)
        case _:
            assert_never(model)
    told.finish(found)
    return told.records


def states_along(trace: Trace, model: Model[State, View]) -> list[State]:
    """The states that a trace goes through, the first one included."""
    # For each state of the trace those it may be, each with one that it follows.
    begun = (each for each in model.initial if model.describe(each) == trace.parts[0])
    levels = [{each: each for each in begun}]
    for move, parts in zip(trace.moves, trace.parts[1:], strict=True):
        levels.append(
            {
                after: before
                for before in levels[-1]
                for number, after in model.actions(before)
                if model.moves[number] == move and model.describe(after) == parts
            }
        )
    states = [next(iter(levels[-1]))]
    for level in levels[:0:-1]:
        states.append(level[states[-1]])
    return states[::-1]


_OnTheWay = list[tuple[str, Frame]]


@dataclass(slots=True, eq=False)
class _Line:
    """A connection that is recorded, and the frames on their way to it and to its peer."""

    link: int
    role: Literal["active", "passive"]
    snapshot: SystemSnapshot
    router: Router
    epoch: int = 0
    coming: _OnTheWay = field(default_factory=list)
    going: _OnTheWay = field(default_factory=list)
    # The latest request of each kind that it has sent.
    asked: dict[Outgoing, Frame] = field(default_factory=dict)


class _Told:
    """Makes the records, one move after the other."""

    def __init__(self, what: str) -> None:
        self._at = 0.0
        self._links = count(1)
        self._system_bytes = count(1)
        # By what the model calls them: the connection that is a ghost was the passive one.
        self._lines: dict[str, _Line] = {}
        # What goes to, and comes from, the end that will accept.
        self._dialled: tuple[_OnTheWay, _OnTheWay] = ([], [])
        self.records: list[Record] = [head(0.0, WALL, what)]

    # The two kinds of models

    def alone(self, trace: Trace, model: Alone[WorldState]) -> None:
        """Charts in arbitrary surroundings."""
        states: list[Here[WorldState]] = states_along(trace, model)
        begun = states[0]
        line = self._begin(
            model.router.system.id,
            begun.snapshot,
            model.routers[begun.setting],
            _timers(model, begun.world),
        )
        self._note(_EXPLANATION)
        for number, (move, (before, after)) in enumerate(
            zip(trace.moves, pairwise(states), strict=True)
        ):
            self._tick(number, trace)
            if move.event == ADOPTED:
                line.router = model.routers[after.setting]
                self._set(line)
                step = line.router.adopt(before.snapshot)
            else:
                step = line.router.step(before.snapshot, move.event)
            received = self._of_event(line, move.event)
            self._step(line, move.event, step, _timers(model, after.world), received)

    def ends(self, trace: Trace, model: Ends) -> None:
        """Two ends and a cable."""
        states = [model.view(each) for each in states_along(trace, model)]
        sides: dict[str, Side] = {}
        for side, end in zip(model.rules, (states[0].left, states[0].right), strict=True):
            assert isinstance(side, Side)
            sides[side.name] = side
            self._begin_end(side, end)
        self._note(_EXPLANATION)
        passive = sides[PASSIVE_SIDE]
        for number, (move, (before, after)) in enumerate(
            zip(trace.moves, pairwise(states), strict=True)
        ):
            self._tick(number, trace)
            if move.actor == ACTIVE_SIDE:
                self._act(sides[ACTIVE_SIDE], move, before.left, after.left)
            elif move.actor in _names(passive):
                self._act(passive, move, before.right, after.right)
            else:
                self._note(f"{move.actor}: {move.event}")
            self._place(passive, after.right)

    def _act(self, side: Side, move: Move, before: End, after: End) -> None:
        """A move of an end or of its ghost."""
        line = self._lines[move.actor]
        match move.event:
            case "crashed":
                self._note(f"{side.name}: crashed", line)
                for name in [each for each in self._lines if each in _names(side)]:
                    self._end(name)
                self._begin_end(side, after)
            case "data_sent":
                frame = _s1f1(next(self._system_bytes))
                line.going.append((DATA.value, frame))
                self._frame(line, frame, is_sent=True)
            case "data":
                received = self._delivered(line, DATA.value)
                if received is not None:
                    self._frame(line, received, is_sent=False)
            case _ if move.event == ADOPTED:
                for name in [each for each in self._lines if each in _names(side)]:
                    self._configure(side, name, before, after)
            case _:
                steps = side.steps(before.setting, line.snapshot, move.event)
                step = _chosen(steps, move.taken, move.effects)
                received = self._delivered(line, move.carries.removesuffix(_OLD))
                self._made(side, before, move.actor, move.event, step, received)
                if ContestSession() in step.effects:
                    # The holder of the session is told in the same move.
                    holder = PASSIVE_SIDE if move.actor == GHOST else GHOST
                    told = self._lines[holder]
                    steps = side.steps(before.setting, told.snapshot, "session_wanted")
                    rest = _chosen(steps, move.taken[len(_taken(step)) :])
                    self._made(side, before, holder, "session_wanted", rest)

    def _configure(self, side: Side, name: str, before: End, after: End) -> None:
        """A user changes the settings of an end, for all its connections."""
        line, setting = self._lines[name], after.setting
        lowers = before.setting == setting
        line.router = (side.lowered if lowers else side.routers)[setting]
        self._set(line)
        change = side.lowers if lowers else side.adopts
        (step,) = change(setting, line.snapshot, ADOPTED)
        self._made(side, before, name, ADOPTED, step)

    def _made(
        self,
        side: Side,
        before: End,
        name: str,
        event: str,
        step: SystemStep,
        received: Frame | None = None,
    ) -> None:
        """A connection of an end has made a step."""
        world = after_all(side.link(before, name).world, event, step.effects)
        self._step(self._lines[name], event, step, world.timers, received)

    def _place(self, side: Side, end: End) -> None:
        """Which connections the listening end has after a move."""
        if GHOST in self._lines and "closed" in self._lines[GHOST].snapshot:
            self._end(GHOST)
        if end.ghost is not None and GHOST not in self._lines:
            # The next one is accepted while the peer of this one is gone.
            self._lines[GHOST] = self._lines.pop(PASSIVE_SIDE)
            self._begin_end(side, end)
        elif end.snapshot != self._lines[PASSIVE_SIDE].snapshot:
            # It is over, and fresh charts listen.
            self._end(PASSIVE_SIDE)
            self._begin_end(side, end)

    # Records

    def finish(self, found: Found) -> None:
        """The claim that is false, and the end."""
        text = f"{found.claim}: {found.says}"
        for line in self._lines.values():
            self.records.append(ErrorRecord(*self._about(line), FAULT, text))
        self.records.append(EndRecord(*self._times(), f"{FAULT}: {found.search}: {text}"))

    def _tick(self, number: int, trace: Trace) -> None:
        if number == trace.loop:
            self._note("from here for ever")
        self._at += 1

    def _times(self) -> tuple[float, float]:
        return self._at, WALL + self._at

    def _about(self, line: _Line) -> tuple[float, float, int, int]:
        return *self._times(), line.link, line.epoch

    def _note(self, what: str, line: _Line | None = None) -> None:
        for each in self._lines.values() if line is None else (line,):
            self.records.append(EventRecord(*self._about(each), NOTE, {"what": what}))

    def _begin_end(self, side: Side, end: End) -> None:
        router, more = side.routers[end.setting], dict[str, Json]()
        if side.name in side.scenario.without_interval:
            more["linktest_interval"] = None
        self._begin(side.name, end.snapshot, router, end.world.timers, more)

    def _begin(
        self,
        name: str,
        snapshot: SystemSnapshot,
        router: Router,
        timers: Iterable[str],
        more: dict[str, Json] | None = None,
    ) -> _Line:
        role: Literal["active", "passive"] = (
            "passive" if PASSIVE.id in snapshot.charts else "active"
        )
        line = self._lines[name] = _Line(next(self._links), role, snapshot, router)
        peer = {ACTIVE_SIDE: PASSIVE_SIDE, PASSIVE_SIDE: ACTIVE_SIDE}.get(name, "any peer")
        settings = {**_settings(router), **(more or {})}
        states = states_of(snapshot.parts)
        self.records.append(
            LinkRecord(*self._about(line), name, peer, role, settings, states, _due(timers))
        )
        return line

    def _end(self, name: str) -> None:
        self.records.append(GoneRecord(*self._about(self._lines.pop(name))))

    def _set(self, line: _Line) -> None:
        self.records.append(SettingsRecord(*self._about(line), _settings(line.router)))

    def _step(
        self,
        line: _Line,
        event: str,
        step: SystemStep,
        timers: Iterable[str],
        received: Frame | None,
    ) -> None:
        """A step of the charts of a connection, what it has received and what it sends."""
        match event:
            case "tcp_opened":
                self._dialled = line.going, line.coming = [], []
                line.epoch += 1
            case "tcp_accepted":
                line.coming, line.going = self._dialled
                line.epoch += 1
            case _:
                pass
        if received is not None:
            self._frame(line, received, is_sent=False)
        hops, effects = tuple(map(_hop, step.hops)), tuple(map(str, step.effects))
        self.records.append(StepRecord(*self._about(line), event, hops, effects, _due(timers)))
        line.snapshot = step.snapshot
        for effect in step.effects:
            match effect:
                case Send(kind):
                    # A chart with a fault may answer nothing.
                    answered = received or control_frame(SType.LINKTEST_REQ, 0)
                    frame = control(kind, answered, self._fresh)
                    line.asked[kind] = frame
                    line.going.append((kind.value, frame))
                    self._frame(line, frame, is_sent=True)
                case _:
                    pass

    def _frame(self, line: _Line, frame: Frame, *, is_sent: bool) -> None:
        data = encode(frame)
        self.records.append(
            FrameRecord(*self._about(line), is_sent, data[_LENGTH_BYTES:], len(data))
        )

    # Frames

    def _fresh(self) -> int:
        return next(self._system_bytes)

    def _delivered(self, line: _Line, name: str) -> Frame | None:
        """The first message of this name on its way to a connection; None: it is no message."""
        for index, (kind, frame) in enumerate(line.coming):
            if kind == name:
                del line.coming[index]
                return frame
        return None

    def _of_event(self, line: _Line, event: str) -> Frame | None:
        """A message of an arbitrary peer that is this event; None: it is no message."""

        def response(kind: Outgoing, to: Outgoing) -> Frame:
            return control(kind, line.asked.get(to) or control(to, None, self._fresh), self._fresh)

        def rejected(of: Outgoing) -> Frame:
            asked = line.asked.get(of) or control(of, None, self._fresh)
            return reject_frame(asked, RejectReason.STYPE_NOT_SUPPORTED)

        match event:
            case "select_req_received" | "competing_select_req_received":
                return control(Outgoing.SELECT_REQ, None, self._fresh)
            case "select_rsp_accepted":
                return response(Outgoing.SELECT_RSP_ESTABLISHED, Outgoing.SELECT_REQ)
            case "select_rsp_already_active":
                return response(Outgoing.SELECT_RSP_ALREADY_ACTIVE, Outgoing.SELECT_REQ)
            case "select_rsp_refused":
                return response(Outgoing.SELECT_RSP_EXHAUSTED, Outgoing.SELECT_REQ)
            case "select_rejected":
                return rejected(Outgoing.SELECT_REQ)
            case "deselect_req_received":
                return control(Outgoing.DESELECT_REQ, None, self._fresh)
            case "deselect_rsp_ended":
                return response(Outgoing.DESELECT_RSP_ENDED, Outgoing.DESELECT_REQ)
            case "deselect_rsp_busy":
                ended = response(Outgoing.DESELECT_RSP_ENDED, Outgoing.DESELECT_REQ)
                return ended._replace(byte3=DeselectStatus.BUSY)
            case "deselect_rejected":
                return rejected(Outgoing.DESELECT_REQ)
            case "linktest_req_received":
                return control(Outgoing.LINKTEST_REQ, None, self._fresh)
            case "linktest_rsp_received":
                return response(Outgoing.LINKTEST_RSP, Outgoing.LINKTEST_REQ)
            case "linktest_rejected":
                return rejected(Outgoing.LINKTEST_REQ)
            case "separate_req_received":
                return control(Outgoing.SEPARATE_REQ, None, self._fresh)
            case "unexpected_rsp_received":
                return control_frame(SType.LINKTEST_RSP, self._fresh())
            case "unknown_reject_received":
                of = control(Outgoing.LINKTEST_REQ, None, self._fresh)
                return reject_frame(of, RejectReason.TRANSACTION_NOT_OPEN)
            case "unsupported_stype_received":
                return control_frame(_NO_STYPE, self._fresh())
            case "unsupported_ptype_received":
                return _s1f1(self._fresh())._replace(ptype=_NO_PTYPE)
            case "control_with_body_received":
                asks = control(Outgoing.LINKTEST_REQ, None, self._fresh)
                return asks._replace(body=b"\0")
            case "data_received":
                return _s1f1(self._fresh())
            case _:
                return None


# Values that the standard leaves undefined.
_NO_STYPE, _NO_PTYPE = 8, 1


def _s1f1(system_bytes: int) -> Frame:
    return data_frame(0, 1, 1, False, system_bytes, b"")


def _names(side: Side) -> tuple[str, ...]:
    """What the connections of an end are called."""
    return (PASSIVE_SIDE, GHOST) if side.listens else (ACTIVE_SIDE,)


def _taken(step: SystemStep) -> tuple[tuple[str, int], ...]:
    return tuple((hop.chart, each) for hop in step.hops for each in hop.taken)


def _chosen(
    steps: Iterable[SystemStep],
    taken: Sequence[tuple[str, int]],
    effects: tuple[Effect, ...] | None = None,
) -> SystemStep:
    """The step that a move has made, of those that may follow."""
    return next(
        each
        for each in steps
        if _taken(each) == taken[: len(_taken(each))] and effects in (None, each.effects)
    )


def _hop(hop: Hop) -> HopRecord:
    values = hop.after.machine.values(hop.after)
    return HopRecord(hop.chart, hop.event, hop.before.leaves, hop.after.leaves, values)


def _timers(model: Alone[WorldState], world: WorldState) -> Iterator[str]:
    told = model.outside.describe(world)["timers"]
    return (each for each in told.split(", ") if each != "none")


def _due(timers: Iterable[str]) -> dict[str, float]:
    return dict.fromkeys(sorted(timers), math.inf)


def _settings(router: Router) -> dict[str, Json]:
    """The parameters of the charts, by the names that the settings of a link have for them."""
    settings: dict[str, Json] = {}
    for chart, machine in router.machines.items():
        for name, value in machine.parameters.items():
            match chart, name:
                case "breaker", "threshold":
                    settings["breaker_threshold"] = value
                case "second_host", "probes":
                    settings["second_host"] = "probe" if value else "refuse"
                case _:
                    settings[name] = value
    return settings
