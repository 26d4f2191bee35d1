"""The rules of one tool at work: which of them holds, what it answers, and its steps in time.

Invariants:

* Steps are done one after the other, never two at once. Steps between two waits are done without
  a break; what one of them causes, as the steps of a rule that waits for an event, is done before
  the next one. So one file, one seed and the same messages at the same times give the same run.
* Waits and timers are in one heap, and one task waits for the first of them. What is due at the
  same time is done in the order in which it began to wait.
* All is bounded: how many runs of a rule there are at once (``MOST_RUNS``), and how many steps are
  done without a wait (``MOST_STEPS``). What is refused, and what cannot be done, is told.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

import trio

from hsms_engine.fake.model import Id
from hsms_engine.fake.rules.book import RuleBook
from hsms_engine.fake.rules.conditions import Facts, UnclearError
from hsms_engine.fake.rules.rule import Every, Rule, Timer
from hsms_engine.fake.rules.stage import Stage
from hsms_engine.fake.rules.steps import (
    MOST_STEPS,
    Act,
    AddValue,
    BeginFault,
    Heal,
    SendEvent,
    SendMessage,
    Separate,
    SetAlarm,
    SetValue,
    StopRule,
    Wait,
    in_order,
)
from hsms_engine.message import Message
from hsms_engine.secs2 import Item
from hsms_engine.sml import Node, Template, fill, uses

MOST_RUNS: Final = 100
"""So many runs of one rule may be at once."""


@dataclass(slots=True, eq=False)
class Run:
    """The steps of a rule, for one message or one other cause."""

    rule: Rule
    request: Message | None
    names: Mapping[str, Item]
    steps: Iterator[Wait | Act]
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rule has taken a primary. When ``passed_on``, whoever is asked next answers; otherwise
    ``reply`` is the reply, or None for no reply. ``run`` is to be started then.
    """

    rule: Rule
    reply: Message | None
    passed_on: bool
    run: Run


@dataclass(slots=True, order=True)
class _Due:
    """A run that goes on, or a timer."""

    time: float
    number: int
    what: Run | Rule = field(compare=False)


class LiveRules:
    """The rules of one tool. Everything but ``run`` returns at once, and may be called by what the
    stage does. ``now`` is trio's clock, or what ``run`` sleeps by.
    """

    def __init__(
        self, book: RuleBook, stage: Stage, now: Callable[[], float] = trio.current_time
    ) -> None:
        self._book = book
        self._stage = stage
        self._now = now
        # By the name of a rule: how often it has been asked, and has held.
        self._asked: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._runs: dict[str, list[Run]] = {}
        # What has been caused by the step that is being done.
        self._caused: list[Run] = []
        self._is_acting = False
        # How many more steps may be done without a wait.
        self._left = 0
        self._due: list[_Due] = []
        self._numbers = itertools.count()
        self._is_selected = False
        self._sleep = trio.CancelScope()

    @property
    def book(self) -> RuleBook:
        """The rules in force."""
        return self._book

    # What happens

    def answer(self, message: Message) -> Outcome | None:
        """The first rule that takes this primary, and what it answers; None when none does.

        Its steps begin with ``start``, once the reply is on its way; or ``refused`` is called.
        """
        for match, rule in self._book.of_message(message):
            names = match(message)
            if names is not None and self._holds(rule, names):
                run = self._run_of(rule, message, names)
                if not rule.replies:
                    return Outcome(rule, None, passed_on=True, run=run)
                return Outcome(rule, self._reply(run, message), passed_on=False, run=run)
        return None

    def start(self, run: Run) -> None:
        """Do the steps of a run, until its first wait; the others in time."""
        runs = self._runs.setdefault(run.rule.name, [])
        if len(runs) >= MOST_RUNS:
            self._stage.tell(
                "steps refused",
                rule=run.rule.name,
                why=f"{MOST_RUNS} runs of this rule have not ended",
            )
            return
        runs.append(run)
        self._perform(run)

    def refused(self, run: Run, why: str) -> None:
        """The primary has been refused by who was asked next: the run does not start, and ``times``
        does not count it.
        """
        self._held[run.rule.name] -= 1
        self._stage.tell("rule not run", rule=run.rule.name, why=why)

    def event_happened(self, ceid: Id) -> None:
        """This event has happened, sent or not. All rules that wait for it and hold are started."""
        self._trigger(self._book.of_event(ceid))

    def changed(self, vid: Id) -> None:
        """A variable has another value. All rules that wait for it and hold are started."""
        self._trigger(self._book.of_change(vid))

    def selected(self) -> None:
        """There is a host: the timers begin, unless there was one before."""
        if self._is_selected:
            return
        self._is_selected = True
        for rule, timer in self._book.timers:
            self._set_timer(rule, timer)

    def lost(self) -> None:
        """There is no host any more: the timers end. Steps go on."""
        self._is_selected = False
        self._forget(lambda what: isinstance(what, Rule))

    def adopt(self, book: RuleBook) -> None:
        """Take other rules from now on.

        Rules that are equal to those before go on: with their counts, and with their timers.
        Steps that have begun are done to their end.
        """
        before = {each.name: each for each in self._book.rules}
        same = {each.name for each in book.rules if before.get(each.name) == each}
        self._book = book
        for counts in (self._asked, self._held):
            for name in counts.keys() - same:
                del counts[name]
        self._forget(lambda what: isinstance(what, Rule) and what.name not in same)
        # Equal as they are, a name in them may lead to another variable now.
        present = {each.name: each for each in book.rules}
        for due in self._due:
            if isinstance(due.what, Rule):
                due.what = present[due.what.name]
        if self._is_selected:
            for rule, timer in book.timers:
                if rule.name not in same:
                    self._set_timer(rule, timer)

    async def run(self) -> None:
        """Go on with what has waited, each at its time, for as long as the tool lives."""
        while True:
            deadline = self._due[0].time if self._due else math.inf
            with trio.CancelScope(deadline=deadline) as self._sleep:
                await trio.sleep_forever()
            self.wake()

    # Whether a rule holds

    def _holds(self, rule: Rule, names: Mapping[str, Item]) -> bool:
        name = rule.name
        self._asked[name] += 1
        if rule.times is not None and self._held[name] >= rule.times:
            return False
        if rule.when is not None:
            model = self._stage.model
            facts = Facts(model.value, names, self._asked[name], model.model.text_encoding)
            try:
                if not rule.when.holds(facts):
                    return False
            except (UnclearError, LookupError) as error:
                self._stage.tell("condition unclear", rule=name, why=_why(error))
                return False
        self._held[name] += 1
        self._stage.tell("rule matched", rule=name)
        return True

    def _run_of(self, rule: Rule, request: Message | None, names: Mapping[str, Item]) -> Run:
        return Run(rule, request, names, in_order(rule.steps, self._stage.random))

    def _trigger(self, rules: Sequence[Rule]) -> None:
        # All are asked before the first of them changes anything.
        for rule in [each for each in rules if self._holds(each, {})]:
            self.start(self._run_of(rule, None, {}))

    def _reply(self, run: Run, request: Message) -> Message | None:
        """The reply, if there is to be one; SxF0 when it cannot be made."""
        replies = run.rule.replies
        # There is no chance in a single one.
        chosen = replies[0] if len(replies) == 1 else self._stage.random.choice(replies)
        if chosen is None:
            return None
        try:
            return self._message(run, chosen)
        except (LookupError, ValueError) as error:
            self._stage.tell("reply failed", rule=run.rule.name, why=_why(error))
            return Message(request.stream, 0)

    # Steps

    def _perform(self, run: Run) -> None:
        """Do what comes next in a run, with all that it causes."""
        self._caused.append(run)
        if self._is_acting:
            return
        self._is_acting = True
        self._left = MOST_STEPS
        # The last one comes first.
        stack: list[Run] = []
        try:
            while stack or self._caused:
                stack += reversed(self._caused)
                self._caused.clear()
                run = stack.pop()
                # It may have been stopped.
                if not run.is_over and self._advance(run):
                    stack.append(run)
        finally:
            self._is_acting = False

    def _advance(self, run: Run) -> bool:
        """The next steps of a run. Whether it is to go on, after what it has caused."""
        for step in run.steps:
            if isinstance(step, Wait):
                self._push(self._now() + step.span.draw(self._stage.random), run)
                return False
            if not self._left:
                why = f"{MOST_STEPS} steps have been done without a wait"
                self._stage.tell("steps refused", rule=run.rule.name, why=why)
                break
            self._left -= 1
            try:
                self._act(run, step)
            except (LookupError, ValueError) as error:
                why = _why(error)
                self._stage.tell("step failed", rule=run.rule.name, step=str(step), why=why)
            if run.is_over:
                return False
            if self._caused:
                return True
        self._end(run)
        return False

    def _act(self, run: Run, step: Act) -> None:
        """Do one step. Raises ``LookupError`` or ``ValueError`` when it cannot be done."""
        stage = self._stage
        match step:
            case SetValue(vid, node):
                model = stage.model.model
                # A file that was read since then may not have it any more.
                item, declared = self._item(run, node), model.variables[model.vid(vid)]
                # Whoever sent what it refers to has numbers in any format. What is written in the
                # file is as long as it is.
                fit = declared.fit_number if item is node else declared.fit_item
                stage.model.set(vid, fit(item))
            case AddValue(vid, amount):
                stage.model.add(vid, amount)
            case SendEvent(ceid):
                stage.event(ceid)
            case SetAlarm(alid, is_set):
                stage.alarm(alid, is_set)
            case SendMessage(template):
                stage.send(self._message(run, template))
            case BeginFault(behaviour):
                stage.fault(behaviour)
            case Heal():
                stage.heal()
            case Separate():
                stage.separate()
            case StopRule(rule):
                self._stop(rule)
            case _:
                assert_never(step)

    def _message(self, run: Run, template: Template) -> Message:
        model = self._stage.model
        return Message.from_template(
            template, run.request, run.names, model.value, model.model.text_encoding
        )

    def _item(self, run: Run, node: Node) -> Item:
        # A body that nobody asks for is not decoded.
        request = run.request.item if run.request is not None and uses(node).request else None
        return fill(node, request, run.names, self._stage.model.value)

    def _stop(self, name: str) -> None:
        """End all runs of a rule; also the one that asks for it."""
        for run in self._runs.pop(name, ()):
            run.is_over = True
        self._forget(lambda what: isinstance(what, Run) and what.is_over)

    def _end(self, run: Run) -> None:
        run.is_over = True
        self._runs[run.rule.name].remove(run)

    # Time

    def _set_timer(self, rule: Rule, timer: Timer) -> None:
        self._push(self._now() + timer.span.draw(self._stage.random), rule)

    def _push(self, time: float, what: Run | Rule) -> None:
        heapq.heappush(self._due, _Due(time, next(self._numbers), what))
        if time < self._sleep.deadline:
            self._sleep.deadline = time

    def _forget(self, which: Callable[[Run | Rule], bool]) -> None:
        self._due = [each for each in self._due if not which(each.what)]
        heapq.heapify(self._due)

    def wake(self) -> None:
        """Do all that is due by now, as ``run`` does whenever something is."""
        now = self._now()
        while self._due and self._due[0].time <= now:
            due = heapq.heappop(self._due)
            match due.what:
                case Run() as run:
                    self._perform(run)
                case Rule(trigger=Every(span)) as rule:
                    # Counted from the time that was due, unless that is too long ago.
                    seconds = span.draw(self._stage.random)
                    later = due.time + seconds
                    self._push(later if later > now else now + seconds, rule)
                    self._trigger((rule,))
                case Rule() as rule:
                    self._trigger((rule,))
                case _:
                    assert_never(due.what)


def _why(error: Exception) -> str:
    # A KeyError shows its text in quotes.
    return str(error.args[0]) if isinstance(error, LookupError) else str(error)
