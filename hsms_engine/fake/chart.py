"""A chart of the kit as the life of a simulated tool: it decides, and the tool does.

::

    BINDINGS = Bindings(
        messages={'S2F41 W <L [2] <A "CLAMP"> _>': Takes("clamp_asked")},
        effects={CloseClamp: lambda tool, effect: tool.event(201)},
        selected="host_came",
        lost="host_left",
    )
    await nursery.start(partial(serve_fake, chart=LOAD_PORT, bindings=BINDINGS))

A primary that matches a pattern is an event of the chart, and is answered by whether the chart
takes it now. What the chart asks for is done by functions of the tool and the effect.

Everything about chart and bindings that cannot be meant is told when ``ToolChart`` is made: events
that the chart does not have, effects that nobody does, patterns that are never asked, replies that
do not fit, and states that are never left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import trio

from hsms_engine.fake.rules.stage import Stage
from hsms_engine.message import Message
from hsms_engine.secs2 import Item
from hsms_engine.sml import Pattern, SmlError, Template, parse_pattern, parse_template
from hsms_engine.spelling import hint
from statecharts import (
    Chart,
    Effect,
    Machine,
    NotAllowedError,
    Router,
    Step,
    SystemStep,
    Tell,
    Timer,
    dead_ends,
)
from statecharts.run import (
    ChartEndedError,
    Follows,
    RunningChart,
    Seconds,
    charts_of,
    check_seconds,
    open_chart,
)

__all__ = [
    "AnyChart",
    "Bindings",
    "BindingsError",
    "Do",
    "LiveChart",
    "Taken",
    "Takes",
    "ToolChart",
    "tool_chart",
]

Do: TypeAlias = Callable[[Any, Any], Follows | Awaitable[Follows]]
"""What does an effect: ``do(tool, effect)``. It gives the event that follows, several, or None, or
is an async function, which then runs beside the chart."""

# The replies to a command, whatever the command is: it is done, or cannot be done now.
_COMMANDS: Final[Mapping[tuple[int, int], tuple[str, str]]] = {
    (2, 21): ("S2F22 <B 0>", "S2F22 <B 2>"),
    (2, 41): ("S2F42 <L <B 0> <L>>", "S2F42 <L <B 2> <L>>"),
    (2, 49): ("S2F50 <L <B 0> <L>>", "S2F50 <L <B 2> <L>>"),
}


@dataclass(frozen=True, slots=True)
class Takes:
    """What a primary is to the chart: this event.

    ``accepted`` is the reply when the chart takes it, ``refused`` when it does not: SML, with the
    names that the pattern binds (``$ppid``), items of the primary (``$2.1``) and variables
    (``${1001}``). Without them S2F21, S2F41 and S2F49 have the code 0, done, or 2, not now; any
    other primary is answered by who is asked after the chart.
    """

    event: str
    accepted: str | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Bindings:
    """What joins a chart to a tool.

    ``messages``: which primaries are which events, by patterns; the first that matches is taken.
    ``effects``: who does the effects of each class. ``selected`` is the event that a host is
    selected, ``lost`` that none is any more; where the chart has no transition, nothing happens.
    """

    messages: Mapping[str, Takes] = field(default_factory=dict)
    effects: Mapping[type[Effect], Do] = field(default_factory=dict)
    selected: str | None = None
    lost: str | None = None


class BindingsError(ValueError):
    """A chart and its bindings make no tool. ``problems`` lists everything found."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class _Bound:
    """A primary that the chart takes, read."""

    pattern: Pattern
    event: str
    accepted: Template | None
    refused: Template | None


class ToolChart:
    """A chart with its bindings, read and checked. Many tools may share it. Immutable.

    ``chart`` is a chart, a machine (for parameters), or a router of charts that are joined.
    ``seconds`` is how long its timers take, as ``open_chart`` has it.

    Raises ``BindingsError`` with every problem, ``ChartError`` for a chart that lint refuses, and
    ``ValueError`` for seconds of no timer, or out of range.
    """

    def __init__(
        self,
        chart: Chart | Machine | Router,
        bindings: Bindings,
        seconds: Seconds | None = None,
        text_encoding: str | None = None,
    ) -> None:
        self.model: Final = _model(chart)
        self.charts: Final = charts_of(self.model)
        self.effects: Final = MappingProxyType(dict(bindings.effects))
        self.selected: Final = bindings.selected
        self.lost: Final = bindings.lost
        self.seconds: Final = seconds
        check_seconds(self.model, seconds)
        problems: list[str] = []
        bound = list(_read(bindings.messages, self._events(), text_encoding, problems))
        problems += self._unbound()
        problems += _unreached(bound)
        for one in self.charts:
            problems += map(str, dead_ends(one))
        if problems:
            raise BindingsError(tuple(problems))
        self._bound: dict[tuple[int, int], list[_Bound]] = {}
        for each in bound:
            key = each.pattern.stream, each.pattern.function
            self._bound.setdefault(key, []).append(each)

    @property
    def known(self) -> frozenset[tuple[int, int]]:
        """The stream and function of each primary that it may take."""
        return frozenset(self._bound)

    def of(self, message: Message) -> tuple[_Bound, Mapping[str, Item]] | None:
        """The first binding that a message matches, if any, with the names it binds."""
        for each in self._bound.get((message.stream, message.function), ()):
            if (names := each.pattern.match(message)) is not None:
                return each, names
        return None

    def _events(self) -> list[str]:
        """The events that somebody may cause: those of timers have their own time."""
        timers = {timer.expired for chart in self.charts for timer in chart.timers}
        return [event for chart in self.charts for event in chart.events if event not in timers]

    def _unbound(self) -> Iterator[str]:
        events = self._events()
        for name, event in (("selected", self.selected), ("lost", self.lost)):
            if event is not None and event not in events:
                yield f"{name}: {_no_event(event, events)}"
        asked = {type(effect): effect for effect in self._asked()}
        for kind, effect in asked.items():
            if kind not in self.effects:
                yield (
                    f"effects: the chart asks for {effect}, and nobody does it: "
                    f"bind {kind.__name__} to a function of the tool and the effect"
                )
        names = {kind.__name__: kind for kind in asked}
        for kind, do in self.effects.items():
            if kind not in asked:
                name = getattr(kind, "__name__", repr(kind))
                yield f"effects: the chart never asks for {name}; {hint(name, names)}"
            elif not _is_callable(do):
                yield (
                    f"effects: {kind.__name__} is bound to {do!r}; "
                    f"bind it to a function of the tool and the effect"
                )

    def _asked(self) -> Iterator[Effect]:
        """Every effect of the declaration but what one chart of a router tells another."""
        routed = self.model.owner if isinstance(self.model, Router) else ()
        for chart in self.charts:
            actions = [
                action for state in chart.walk() for action in (*state.enter, *state.exit)
            ] + [action for on in chart.transitions for action in on.do]
            for action in actions:
                match action:
                    case Tell(event) if event in routed:
                        pass
                    case Effect():
                        yield action
                    case _:
                        pass


AnyChart: TypeAlias = Chart | Machine | Router | ToolChart
"""What may be the life of a tool: what is no ``ToolChart`` yet needs its bindings."""


def tool_chart(
    chart: AnyChart | None, bindings: Bindings | None, text_encoding: str | None = None
) -> ToolChart:
    """The chart of a tool. Raises as ``ToolChart``, and ``ValueError`` when something is missing,
    or when there are two bindings."""
    match chart:
        case None:
            raise ValueError("bindings join a chart to a tool: give the chart too, chart=...")
        case ToolChart():
            if bindings is not None:
                raise ValueError("a ToolChart has its bindings: leave out bindings=...")
            return chart
        case _ if bindings is None:
            raise ValueError("a chart needs bindings=Bindings(...), which join it to the tool")
        case _:
            return ToolChart(chart, bindings, text_encoding=text_encoding)


@dataclass(frozen=True, slots=True)
class Taken:
    """A primary was one for the chart. Without ``reply``, who is asked next answers it."""

    reply: Message | None


class LiveChart:
    """The chart of one tool, while it runs.

    All of it but ``run`` and ``until`` returns at once. The step that a primary causes is made by
    ``answer``, with its effects: what they send leaves when it is its turn.
    """

    def __init__(self, chart: ToolChart, stage: Stage) -> None:
        self._chart = chart
        self._stage = stage
        self._running: RunningChart[Any, Any] | None = None

    async def run(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED, at: Any = None
    ) -> None:
        """Run it until cancelled, from its beginning or from the snapshot ``at``.

        It is started when the initial states are entered. Raises what a function of the bindings
        raises, as it is, and as ``open_chart``.
        """
        chart = self._chart
        async with open_chart(
            chart.model, self._act, seconds=chart.seconds, at=at, watch=self._watch
        ) as self._running:
            task_status.started()
            await trio.sleep_forever()

    @property
    def known(self) -> frozenset[tuple[int, int]]:
        """The stream and function of each primary that it may take."""
        return self._chart.known

    @property
    def snapshot(self) -> Any:
        """Where it is now: a ``Snapshot``, or of a router a ``SystemSnapshot``.

        Raises ``ChartEndedError`` when it has not begun.
        """
        return self._live.snapshot

    def send(self, event: str) -> Any:
        """Make an event happen: what no message causes, as that somebody places a carrier.

        Returns the step. Raises as ``RunningChart.send``.
        """
        return self._live.send(event)

    async def until(self, state: str, *others: str) -> Any:
        """Wait until one of these states is active, and return the snapshot in which it was.

        Raises as ``RunningChart.until``.
        """
        return await self._live.until(state, *others)

    def retime(self, timer: Timer, seconds: float) -> None:
        """Let a timer that runs take so long in all. Raises as ``RunningChart.retime``."""
        self._live.retime(timer, seconds)

    def selected(self) -> None:
        """A host is selected, and none was."""
        self._happens(self._chart.selected)

    def no_host(self) -> None:
        """No host is selected any more."""
        self._happens(self._chart.lost)

    def answer(self, message: Message) -> Taken | None:
        """Let the chart take a primary, if it is one for it; None when it is not.

        A chart that has failed answers all its primaries with SxF0.
        """
        if (found := self._chart.of(message)) is None:
            return None
        bound, names = found
        try:
            is_taken = self._try(bound.event)
        except ChartEndedError:
            return Taken(Message(message.stream, 0))
        template = bound.accepted if is_taken else bound.refused
        if template is None or not message.wait:
            return Taken(None)
        return Taken(self._reply(template, message, names))

    # Inside

    @property
    def _live(self) -> RunningChart[Any, Any]:
        if self._running is None:
            raise ChartEndedError("the chart of this tool has not begun: run() runs it")
        return self._running

    def _act(self, effect: Effect) -> Follows | Awaitable[Follows]:
        return self._chart.effects[type(effect)](self._stage, effect)

    def _watch(self, event: str, before: object, step: Step | SystemStep) -> None:
        self._stage.tell(
            "chart", event=event, before=str(before)[1:-1], after=str(step.snapshot)[1:-1]
        )

    def _happens(self, event: str | None) -> None:
        if event is not None:
            try:
                self._try(event)
            except ChartEndedError:
                # What has ended it comes out of ``run``.
                self._stage.tell("not taken", event=event, why="the chart has ended")

    def _try(self, event: str) -> bool:
        try:
            self._live.send(event)
        except NotAllowedError as error:
            self._stage.tell("not taken", event=event, why=str(error))
            return False
        return True

    def _reply(self, template: Template, request: Message, names: Mapping[str, Item]) -> Message:
        model = self._stage.model
        try:
            return Message.from_template(
                template, request, names, model.value, model.model.text_encoding
            )
        except (LookupError, ValueError) as error:
            # A KeyError writes its text as it would be written in code.
            self._stage.tell("reply failed", message=request.name, why=str(error.args[0]))
            return Message(request.stream, 0)


# Of what is given, the types say less than somebody may have written.
def _is_takes(takes: object) -> bool:
    return isinstance(takes, Takes)


def _is_callable(do: object) -> bool:
    return callable(do)


def _model(chart: Chart | Machine | Router) -> Machine | Router:
    match chart:
        case Chart():
            return Machine(chart)
        case Machine() | Router():
            return chart
        case _:
            raise TypeError(
                f"a tool is a Chart, a Machine or a Router of charts, and not {chart!r:.80}"
            )


def _no_event(event: str, events: list[str]) -> str:
    if event.endswith("_expired"):
        return f"{event!r} is for the timer alone: give the message an event of its own"
    return f"the chart has no event {event!r}; {hint(event, events)}"


def _read(
    messages: Mapping[str, Takes],
    events: list[str],
    text_encoding: str | None,
    problems: list[str],
) -> Iterator[_Bound]:
    """The bindings of messages. What is wrong with them goes to ``problems``."""
    for written, takes in messages.items():
        place = f"messages, {written!r}"
        if not _is_takes(takes):
            problems.append(f"{place}: wanted is Takes(event), given is {takes!r}")
            continue
        try:
            pattern = parse_pattern(written, text_encoding)
        except SmlError as error:
            problems.append(f"{place}: {error}")
            continue
        if pattern.function % 2 == 0:
            problems.append(
                f"{place}: {pattern.name} is a reply: a host "
                f"sends primaries, whose functions are odd"
            )
            continue
        if why := pattern.never():
            problems.append(f"{place}: no message matches it: {why}")
        if takes.event not in events:
            problems.append(f"{place}: {_no_event(takes.event, events)}")
        default = _COMMANDS.get((pattern.stream, pattern.function), (None, None))
        replies: list[Template | None] = []
        for name, given, usual in (
            ("accepted", takes.accepted, default[0]),
            ("refused", takes.refused, default[1]),
        ):
            try:
                text = usual if given is None else given
                replies.append(_template(text, pattern, text_encoding))
            except ValueError as error:
                problems.append(f"{place}, {name}: {error}")
        if len(replies) == 2:
            yield _Bound(pattern, takes.event, *replies)


def _template(text: str | None, pattern: Pattern, text_encoding: str | None) -> Template | None:
    """A reply to what matches the pattern. Raises ``ValueError``, which is ``SmlError`` too."""
    if text is None:
        return None
    template = parse_template(text, text_encoding)
    primary, reply = pattern.name, pattern.function + 1
    if template.stream != pattern.stream or template.function not in (0, reply):
        raise ValueError(
            f"{template.name} is no reply to {primary}: "
            f"write S{pattern.stream}F{reply}, or S{pattern.stream}F0 to abort"
        )
    for name in sorted(template.uses.names - {*pattern.names}):
        raise ValueError(f"the pattern binds no ${name}; {hint(name, pattern.names)}")
    return template


def _unreached(bound: list[_Bound]) -> Iterator[str]:
    for index, each in enumerate(bound):
        for before in bound[:index]:
            if before.pattern.covers(each.pattern):
                yield (
                    f"messages, {each.pattern.text!r}: it is never reached, because "
                    f"{before.pattern.text!r} comes first and matches all of it: "
                    f"put it before that, or take it out"
                )
                break
