"""One live tool of a fake equipment: what it has, what it answers, and what it sends.

Invariants:

* Who is asked for a response, in this order: the user's function, the rules, the chart, the answer
  book, the model. A rule or a chart that has acted, and has no reply of its own, leaves the reply
  to who comes next. What nobody knows is reported, or echoed. Off-line, all but S1F13 and S1F17 is
  aborted when the user's function has not answered it.
* The steps of a rule begin when the reply is queued. Those of a rule without a reply of its own do
  not begin when who comes next refuses the primary.
* What it sends goes to each connection on which hosts talk to it; without one, that is told. It
  lives as long as its equipment, whatever becomes of its connections.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import isawaitable
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, assert_never

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.fake.behaviours import ONCE
from hsms_engine.fake.history import WITHIN, Seen
from hsms_engine.fake.model import (
    Change,
    Clock,
    Id,
    IllegalData,
    LiveModel,
    Replies,
    Trace,
    TraceBegun,
    TraceOver,
    VariableChanged,
)
from hsms_engine.fake.model.replies import KNOWN
from hsms_engine.fake.plan import ToolPlan
from hsms_engine.fake.refusals import refusal
from hsms_engine.fake.rules.live import LiveRules
from hsms_engine.fake.rules.rule import OnMessage
from hsms_engine.message import Message
from hsms_engine.secs2 import Item, Plain
from hsms_engine.spelling import hint
from statecharts.nursery import is_cancellation, open_bare_nursery

if TYPE_CHECKING:
    from hsms_engine.fake.chart import LiveChart, ToolChart


class Conversation(Protocol):
    """A connection on which a tool talks."""

    def put(self, what: Outgoing) -> None: ...

    def after_all(self, tell: Callable[[], None]) -> None: ...


_LOG = logging.getLogger("hsms_engine.fake")

# What ends the program, beside what ends the task. All else is the user's, also what ends a test
# of pytest.
_OURS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)

# What a step has come to instead of a message.
_IN_TURN: Final = frozenset({"disabled", "step failed"})

_T = TypeVar("_T")

Answer = Callable[[Message], Message | Awaitable[Message | None] | None]
"""The user's function: the reply to a primary with W, or None for that of the tool."""


@dataclass(frozen=True, slots=True)
class Spoil:
    """A frame is spoilt at once, by one of ``ONCE``."""

    behaviour: str

    def __str__(self) -> str:
        return self.behaviour


@dataclass(frozen=True, slots=True)
class Leave:
    """Send Separate.req, and close."""

    def __str__(self) -> str:
        return "separate"


Outgoing = Message | Spoil | Leave
"""What a tool lets happen on a connection, in its order."""


@dataclass(frozen=True, slots=True)
class Response:
    """What follows from a primary: a reply, if it has W, or a report of stream 9, or neither."""

    reply: Message | None = None
    report: int = 0
    """The function of the report, as 5 for S9F5; 0: none."""
    then: Callable[[], None] | None = None
    """To be called when the reply is queued."""
    is_unreadable: bool = False
    """Whether the body is no SECS-II, which the connection itself reports."""


class Equipment(Protocol):
    """What a tool needs of its equipment."""

    answers: AnswerBook
    answer: Answer | None

    def fault(self, behaviour: str) -> None: ...

    def heal(self) -> None: ...

    def tell(self, event: str, message: Message | None = None, /, **details: object) -> None: ...

    async def expect(
        self, pattern: str, within: float = ..., *, session_id: int | None = None
    ) -> Seen: ...

    def messages(self, *, is_sent: bool, session_id: int | None = None) -> list[Message]: ...


class Tool:
    """One of the tools of an equipment. All of it but ``expect`` returns at once.

    Where a variable, an event or an alarm is named, an id does, a number or a text, and a name too:
    ``LookupError`` says what there is.
    """

    def __init__(
        self, equipment: Equipment, plan: ToolPlan, chart: ToolChart | None, clock: Clock
    ) -> None:
        self._equipment = equipment
        self.plan = plan
        self.random = Random(plan.seed)
        self.model = LiveModel(plan.model, clock, self._changed)
        self._replies = Replies(self.model)
        self._rules = LiveRules(plan.rules, self)
        self.chart: LiveChart | None = None
        if chart is not None:
            # Most tools have none.
            from hsms_engine.fake.chart import LiveChart

            self.chart = LiveChart(chart, self)
        # The connections on which it talks.
        self._conversations: list[Conversation] = []
        # The variables that have changed while a primary is answered: rules are told afterwards.
        self._held: list[Id] | None = None
        self._traces: dict[Id, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Tool {self.plan.name or self.plan.model.mdln}>"

    @property
    def answer(self) -> Answer | None:
        """The user's function, of the equipment."""
        return self._equipment.answer

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until cancelled. Raises what a function of the chart's bindings raises."""
        async with open_bare_nursery() as self._nursery:
            if self.chart is not None:
                await self._nursery.start(self.chart.run)
            self._nursery.start_soon(self._rules.run)
            task_status.started()

    # For users, rules and charts

    def value(self, variable: Id) -> Item:
        """The present value of a variable or a constant."""
        return self.model.value(variable)

    def set(self, variable: Id, value: Item | Plain) -> None:
        """Give a variable a value. Raises ``ValueError`` for one that it may not have."""
        self.model.set(variable, value)

    def event(self, event: Id) -> None:
        """An event happens: S6F11 with the reports that are linked, if it is enabled."""
        ceid = self.model.model.ceid(event)
        message = self.model.report(ceid)
        if message is None:
            self.tell("disabled", event=ceid)
        else:
            self.send(message)
        self._rules.event_happened(ceid)

    def alarm(self, alarm: Id, is_set: bool = True) -> None:
        """An alarm is set, or cleared: S5F1 if it is enabled, and the event that goes with it."""
        message = self.model.alarm(alarm, is_set)
        alid = self.model.model.alid(alarm)
        if message is None:
            self.tell("disabled", alarm=alid)
        else:
            self.send(message)
        declared = self.model.model.alarms[alid]
        event = declared.set_event if is_set else declared.clear_event
        if event is not None:
            self.event(event)

    def clear(self, alarm: Id) -> None:
        """An alarm is cleared."""
        self.alarm(alarm, is_set=False)

    def send(self, message: Message) -> None:
        """Send a primary to every host that talks to this tool, behind those sent before."""
        message = self._addressed(message)
        if not self._conversations:
            self._equipment.tell("not sent", message, why="no host is selected", **self.named)
        for each in self._conversations:
            each.put(message)

    def fault(self, behaviour: str) -> None:
        """Misbehave so too, from now on. One of ``ONCE`` spoils a frame, behind what was sent.

        Raises ``BehaviourError``.
        """
        if behaviour in ONCE:
            self._do(Spoil(behaviour))
        else:
            self._equipment.fault(behaviour)

    def heal(self) -> None:
        """Behave as at the beginning, or as ``behave`` has said since then."""
        self._equipment.heal()

    def separate(self) -> None:
        """Send Separate.req to every host that talks to this tool, and close."""
        self._do(Leave())

    def tell(self, event: str, /, **details: object) -> None:
        """Count and report what has happened.

        What a step could not do is told when that before it has been sent.
        """
        tell = partial(self._equipment.tell, event, **self.named, **details)
        if event in _IN_TURN and self._conversations:
            self._conversations[0].after_all(tell)
        else:
            tell()

    # For tests

    @property
    def received(self) -> list[Message]:
        """The data messages that this tool has received until now."""
        return self._equipment.messages(is_sent=False, session_id=self.plan.session_id)

    @property
    def sent(self) -> list[Message]:
        """The data messages that this tool has sent until now."""
        return self._equipment.messages(is_sent=True, session_id=self.plan.session_id)

    async def expect(self, pattern: str, within: float = WITHIN) -> Seen:
        """A message of this tool, as ``FakeEquipment.expect``."""
        __tracebackhide__ = True
        return await self._equipment.expect(pattern, within, session_id=self.plan.session_id)

    # Another plan

    def adopt(self, plan: ToolPlan) -> None:
        """Live by another plan, as after its file has changed. What has changed since the start is
        kept, as far as the new one has it; what is not, is told."""
        self.plan = plan
        for what, why in self.model.adopt(plan.model):
            self.tell("not kept", what=what, why=why)
        self._rules.adopt(plan.rules)

    # Connections

    def joined(self, conversation: Conversation) -> None:
        """A host talks to this tool on a connection."""
        self._conversations.append(conversation)
        if len(self._conversations) == 1:
            self._rules.selected()
            if self.chart is not None:
                self.chart.selected()

    def left(self, conversation: Conversation) -> None:
        """That connection is over."""
        self._conversations.remove(conversation)
        if not self._conversations:
            self._rules.lost()
            if self.chart is not None:
                self.chart.no_host()

    # Answering

    async def respond(self, primary: Message, peer: str) -> Response:
        """What a primary gets. When the user's function fails, SxF0."""
        answer = self._equipment.answer
        if answer is not None and primary.wait:
            try:
                given = answer(primary)
                reply = await given if isawaitable(given) else given
                if reply is not None:
                    return Response(fitting(primary, reply))
            except BaseException as error:
                if is_cancellation(error) or isinstance(error, _OURS):
                    raise
                # The user's: the equipment lives.
                why = f"{type(error).__name__}: {error}"
                self._equipment.tell("answer failed", primary, peer=peer, why=why)
                # As text: a record that is kept must not keep the connection.
                text = traceback.format_exc()
                _LOG.error("%s: no answer to %s:\n%s", peer, primary.name, text)
                return Response(Message(primary.stream, 0))
        return self._response(primary)

    def _response(self, primary: Message) -> Response:
        """The response of the tool itself."""
        if self._replies.aborts(primary):
            return Response(Message(primary.stream, 0))
        outcome = self._rules.answer(primary)
        if outcome is None:
            return self._others(primary, is_taken=False)
        start = partial(self._rules.start, outcome.run)
        if not outcome.passed_on:
            return Response(outcome.reply, then=start)
        response = self._others(primary, is_taken=True)
        if response.is_unreadable:
            why: str | None = "its body is no SECS-II"
        elif response.report:
            why = f"it is reported with S9F{response.report}"
        else:
            why = refusal(primary, response.reply)
        if why is not None:
            self._rules.refused(outcome.run, why)
            return response
        return replace(response, then=partial(_both, start, response.then))

    def _others(self, primary: Message, *, is_taken: bool) -> Response:
        """The response of chart, book and model. ``is_taken``: by a rule without a reply."""
        if self.chart is not None and (taken := self.chart.answer(primary)) is not None:
            is_taken = True
            if taken.reply is not None:
                return Response(taken.reply)
        if reply := self._equipment.answers.answer(primary):
            return Response(reply)
        self._held = []
        try:
            answer = self._replies.to(primary)
        finally:
            changed, self._held = self._held, None
        then = partial(self._tell_changes, changed) if changed else None
        match answer:
            case Message() as reply:
                return Response(reply, then=then)
            case IllegalData(why, is_told):
                self.tell("illegal data", message=primary.name, why=why)
                return Response(report=0 if is_told else 7, then=then, is_unreadable=is_told)
            case None if is_taken and not primary.wait:
                return Response(then=then)
            case None:
                return self._unknown(primary, then)
            case other:
                assert_never(other)

    def _tell_changes(self, changed: Iterable[Id]) -> None:
        """Tell the rules what the model has changed, once the reply is queued."""
        for each in changed:
            self._rules.changed(each)

    def _unknown(self, primary: Message, then: Callable[[], None] | None) -> Response:
        """What a primary gets that nobody has answered."""
        if self.plan.unknown == "echo":
            return Response(echo(primary) if primary.wait else None, then=then)
        known = self._known()
        if primary.name in self._equipment.answers:
            # It has no W.
            return Response(then=then)
        if (primary.stream, primary.function) in known:
            # No rule and no state of the chart takes it as it is.
            return Response(report=7, then=then)
        streams = {stream for stream, _ in known} | self._equipment.answers.streams
        return Response(report=5 if primary.stream in streams else 3, then=then)

    def _known(self) -> frozenset[tuple[int, int]]:
        """The primaries that rules, chart and model know, by stream and function."""
        patterns = (
            rule.trigger.pattern
            for rule in self._rules.book.rules
            if isinstance(rule.trigger, OnMessage)
        )
        known = frozenset((each.stream, each.function) for each in patterns)
        chart = frozenset() if self.chart is None else self.chart.known
        return KNOWN | known | chart

    # Inside

    def _do(self, what: Spoil | Leave) -> None:
        """Let something happen on every connection on which it talks."""
        if not self._conversations:
            self.tell("not done", what=str(what), why="no host is selected")
        for each in self._conversations:
            each.put(what)

    @property
    def named(self) -> dict[str, object]:
        """What a report says of it: its name, when there are several."""
        return {"tool": self.plan.name} if self.plan.name else {}

    def _addressed(self, message: Message) -> Message:
        """The message as it comes from this tool."""
        if self.plan.session_id is None:
            return message
        return Message(
            message.stream,
            message.function,
            message.wait,
            body=message.body,
            session_id=self.plan.session_id,
            text_encoding=message.text_encoding,
        )

    def _changed(self, change: Change) -> None:
        match change:
            case VariableChanged(vid) if self._held is not None:
                self._held.append(vid)
            case VariableChanged(vid):
                self._rules.changed(vid)
            case TraceBegun(trace):
                self._end_trace(trace.id)
                assert self._nursery is not None
                scope = self._traces[trace.id] = trio.CancelScope()
                self._nursery.start_soon(self._trace, trace, scope)
            case TraceOver(trid):
                self._end_trace(trid)
            case _:
                assert_never(change)

    def _end_trace(self, trid: Id) -> None:
        scope = self._traces.pop(trid, None)
        if scope is not None:
            scope.cancel()

    async def _trace(self, trace: Trace, scope: trio.CancelScope) -> None:
        """Read the variables of a trace again and again, and send what was read."""
        begin, values = trio.current_time(), list[Item]()
        with scope:
            for number in range(1, trace.total + 1):
                await trio.sleep_until(begin + number * trace.period)
                values += self.model.sample(trace)
                if number % trace.group == 0 or number == trace.total:
                    sampled = self.model.traced(trace, number, values)
                    # Off-line a tool sends nothing by itself.
                    if self.model.is_online:
                        self.send(sampled)
                    values = []
            del self._traces[trace.id]


def _both(first: Callable[[], None], then: Callable[[], None] | None) -> None:
    first()
    if then is not None:
        then()


def fitting(primary: Message, reply: object) -> Message:
    """What the user's function gave, if it may reply to ``primary``. Raises ``TypeError``."""
    allowed = f"S{primary.stream}F{primary.function + 1}, S{primary.stream}F0 or None"
    match reply:
        case Message(stream=primary.stream) if reply.function in (0, primary.function + 1):
            return reply
        case Message():
            raise TypeError(f"the answer to {primary.name} is {allowed}, not {reply.name}")
        case _:
            raise TypeError(f"the answer to {primary.name} is {allowed}, not {reply!r}")


def echo(primary: Message) -> Message:
    """The reply with the body of its primary; SxF0 for function 255, which has no secondary."""
    if primary.function == 255:
        return Message(primary.stream, 0)
    return Message(primary.stream, primary.function + 1, body=primary.body)


def by_name(tools: Mapping[str, _T]) -> Mapping[str, _T]:
    """Tools by their names. Who asks for one that is not there is told which are."""
    return MappingProxyType(_ByName(tools))


class _ByName(dict[str, _T]):
    __slots__ = ()

    def __missing__(self, name: str) -> _T:
        raise NoToolError(f"no tool {name!r}; {hint(str(name), self)}")


class NoToolError(KeyError):
    """There is no tool of that name. Says which there are."""

    # A KeyError shows its text as it would be written in code.
    __str__ = Exception.__str__
