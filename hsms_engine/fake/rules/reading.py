"""Reads the rules of a tool file, and finds what cannot be meant.

Each problem has its place in the file and says what to do. A problem in one rule hides none in
another; whether rules get in each other's way is looked at when each of them is good (``checks``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from hsms_engine.fake.model import Id, Model
from hsms_engine.fake.rules.checks import problems_between
from hsms_engine.fake.rules.conditions import Condition, ConditionError, parse_condition
from hsms_engine.fake.rules.reading_steps import STEPS, StepReader, span
from hsms_engine.fake.rules.references import Key, References, sml_error
from hsms_engine.fake.rules.rule import After, Every, OnChange, OnEvent, OnMessage, Rule, Trigger
from hsms_engine.fake.rules.steps import Step
from hsms_engine.messages.patterns import misfit
from hsms_engine.sml import Pattern, SmlError, Template, parse_pattern
from hsms_engine.toml_file import Problem, Problems, Table, TomlError

_TRIGGERS: Final = ("on", "event", "changed", "every", "after")
_NO_REPLY: Final = "none"
_MOST_TIMES: Final = 1_000_000_000
_LONGEST_NAME: Final = 60


def read_rules(
    table: Table,
    model: Model | None,
    text_encoding: str | None = None,
    doubt: Callable[[Problem], None] | None = None,
) -> tuple[Rule, ...]:
    """The rules of ``[[rule]]`` in a file, for a tool of this model. The other keys are others'.

    Raises ``TomlError`` with all problems of the rules. Without a model, because that has problems,
    it tells what is wrong whatever the model is; texts are in ``text_encoding``, and there are no
    rules. ``doubt`` gets what is no problem, and may not be meant either: a pattern or a message
    that is not as SEMI E5 has it.
    """
    rules: list[Rule] = []
    with Problems() as problems:
        tables = table.tables("rule", problems)
        # Each name, with the number of the first rule that has it.
        names: dict[str, int] = {}
        for number, each in enumerate(tables, 1):
            names.setdefault(_presumed_name(each, number), number)
        for number, each in enumerate(tables, 1):
            with problems.of_one():
                rules.append(_Reader(each, model, text_encoding, names, number, doubt).rule())
        if model is not None and not problems.found:
            for index, key, why in problems_between(rules, model):
                problems.keep(tables[index].error(key, why))
    return () if model is None else tuple(rules)


def _presumed_name(table: Table, number: int) -> str:
    name = table.value("name", None)
    return name if isinstance(name, str) else f"rule {number}"


class _Reader:
    """Reads one rule."""

    def __init__(
        self,
        table: Table,
        model: Model | None,
        text_encoding: str | None,
        names: Mapping[str, int],
        number: int,
        doubt: Callable[[Problem], None] | None,
    ) -> None:
        self._table = table
        encoding = text_encoding if model is None else model.text_encoding
        self._refers = References(model, encoding, doubt)
        # Of all rules, each with the number of the first that has it.
        self._names = names
        self._number = number

    def rule(self) -> Rule:
        """Raises ``TomlError`` with all problems of the rule."""
        table = self._table
        with Problems() as problems:
            name = _presumed_name(table, self._number)
            with problems.of_one():
                self._check_name(name)
            trigger: Trigger | None = None
            with problems.of_one():
                trigger = self._trigger()
            if trigger is None or isinstance(trigger, OnMessage):
                # Of a trigger that is wrong nobody knows what it binds.
                bound = None if trigger is None else trigger.pattern.names
                self._refers = replace(self._refers, bound=bound, has_request=True)
            when: Condition | None = None
            with problems.of_one():
                when = self._condition()
            times: int | None = None
            with problems.of_one():
                times = table.whole("times", 1, _MOST_TIMES, None)
            replies: tuple[Template | None, ...] = ()
            with problems.of_one():
                replies = self._replies(trigger)
            steps: tuple[Step, ...] = ()
            with problems.of_one():
                steps = StepReader(self._refers, self._names).steps(table, "then")
            for key in table:
                if key in STEPS and key not in _TRIGGERS:
                    why = f"{key!r} is a step: write then = [{{{key} = ...}}]"
                    problems.keep(table.error(key, why, at_name=True))
                    # It is told.
                    _ = key in table
            with problems.of_one():
                table.finish()
            if self._refers.model is not None and not problems.found and not replies and not steps:
                problems.keep(table.error(None, "this rule does nothing: give it reply or then"))
        assert trigger is not None  # it was read, or a problem was raised
        return Rule(name, trigger, when, times, replies, steps)

    def _check_name(self, name: str) -> None:
        given = self._table.text("name", name, longest=_LONGEST_NAME)
        if not given or not given.isprintable():
            raise self._table.error(
                "name", "a name is of printable characters, and of one at least"
            )
        if (first := self._names[name]) < self._number:
            key = "name" if "name" in self._table else None
            raise self._table.error(
                key, f"{name!r} is the name of the rule number {first} too: give it another"
            )

    # When it is asked

    def _trigger(self) -> Trigger:
        table = self._table
        given = [key for key in _TRIGGERS if key in table]
        if not given:
            raise table.error(
                None,
                "this rule waits for nothing: give it on = '(a pattern)', event = (an id), "
                "changed = (a variable), every = (seconds) or after = (seconds)",
            )
        if len(given) > 1:
            # An event may be meant as a step; it is never the first.
            first, other = given[:2] if given[0] != "event" else given[1::-1]
            why = f"this rule waits for {first} already: make another rule for {other}"
            if other in STEPS:
                why += f"; a step is in then = [{{{other} = ...}}]"
            raise table.error(other, why, at_name=True)
        match given[0]:
            case "on":
                return OnMessage(self._pattern())
            case "event":
                return OnEvent(self._refers.id(table, "event", Model.ceid))
            case "changed":
                return OnChange(self._watched())
            case "every":
                return Every(span(table, "every"))
            case _:
                return After(span(table, "after"))

    def _pattern(self) -> Pattern:
        table, text = self._table, self._table.text("on")
        try:
            pattern = parse_pattern(text, self._refers.text_encoding)
        except SmlError as error:
            raise sml_error(table, "on", error) from None
        if pattern.function % 2 == 0:
            raise table.error(
                "on",
                f"{pattern.name} is no primary, which is what a rule waits "
                "for: the function of a primary is odd",
            )
        if why := pattern.never():
            raise table.error("on", f"no message matches this: {why}")
        if self._refers.doubt is not None and (why := misfit(pattern)):
            self._refers.doubt(*table.error("on", why).problems)
        return pattern

    def _watched(self) -> Id:
        vid = self._refers.id(self._table, "changed", Model.vid)
        if self._refers.model is not None and self._refers.model.variables[vid].source == "clock":
            raise self._table.error(
                "changed", "a clock changes all the time: use every = (seconds)"
            )
        return vid

    def _condition(self) -> Condition | None:
        text = self._table.text("when", None)
        if text is None:
            return None
        try:
            return parse_condition(text, self._refers)
        except ConditionError as error:
            raise self._table.error("when", error.problem, offset=error.offset) from None

    # What it answers

    def _replies(self, trigger: Trigger | None) -> tuple[Template | None, ...]:
        table = self._table
        match table.value("reply", None):
            case None:
                return ()
            case list() as texts:
                keys: list[Key] = [("reply", number) for number in range(len(texts))]
                if not texts:
                    raise table.error(
                        "reply", f"no reply is {_NO_REPLY!r}; without reply, who comes next answers"
                    )
            case _:
                keys = ["reply"]
        pattern = trigger.pattern if isinstance(trigger, OnMessage) else None
        if trigger is not None and pattern is None:
            raise table.error(
                "reply",
                "only a rule with 'on' has a message to reply to: send is a step",
                at_name=True,
            )
        if pattern is not None and not pattern.wait:
            shown = pattern.name
            raise table.error(
                "on", f"only a primary with W gets a reply: write {shown} W, or leave out reply"
            )
        replies: list[Template | None] = []
        with Problems() as problems:
            for key in keys:
                with problems.of_one():
                    replies.append(self._reply(key, pattern))
        return tuple(replies)

    def _reply(self, key: Key, pattern: Pattern | None) -> Template | None:
        table = self._table
        text = table.text(key)
        if text == _NO_REPLY:
            return None
        try:
            template = self._refers.template(table, key)
        except TomlError:
            if text.lower().strip() == _NO_REPLY:
                raise table.error(key, f"no reply is {_NO_REPLY!r}") from None
            raise
        if pattern is None:
            return template
        primary = pattern.name
        fitting = [0] if pattern.function == 255 else [pattern.function + 1, 0]
        if template.stream != pattern.stream or template.function not in fitting:
            allowed = " or ".join(f"S{pattern.stream}F{each}" for each in fitting)
            raise table.error(
                key,
                f"{template.name} is no reply to {primary}: that is {allowed}",
            )
        return template
