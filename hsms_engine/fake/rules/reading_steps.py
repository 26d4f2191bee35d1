"""Reads the steps of a rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from hsms_engine.fake.behaviours import BehaviourError, Behaviours
from hsms_engine.fake.model import Model, Variable
from hsms_engine.fake.rules.references import Key, References, fitted
from hsms_engine.fake.rules.steps import (
    MOST_STEPS,
    AddValue,
    BeginFault,
    Choose,
    Heal,
    Repeat,
    SendEvent,
    SendMessage,
    Separate,
    SetAlarm,
    SetValue,
    Span,
    Step,
    StopRule,
    Wait,
    at_once,
)
from hsms_engine.secs2 import Integer, Real
from hsms_engine.spelling import hint
from hsms_engine.toml_file import Problems, Table

DEEPEST: Final = 8
"""How deep steps may be nested in steps."""

# In seconds. What is shorter would be no wait.
_SHORTEST: Final = 0.001
_LONGEST: Final = 86_400.0
_MOST_REPEATS: Final = 1_000_000
# No format has larger numbers, but for F8.
_LARGEST: Final = 2**64


class StepReader:
    """Reads the steps of one rule; ``names`` are those of all rules."""

    def __init__(self, refers: References, names: Collection[str]) -> None:
        self._refers = refers
        self._names = names

    def steps(self, table: Table, key: Key, depth: int = 1) -> tuple[Step, ...]:
        if depth > DEEPEST:
            raise table.error(key, f"steps are nested more than {DEEPEST} deep")
        steps: list[Step] = []
        with Problems() as problems:
            for each in table.tables(key, problems):
                with problems.of_one():
                    steps += self._step(each, depth)
        return tuple(steps)

    def _step(self, table: Table, depth: int) -> Iterator[Step]:
        """A step; several where a table of ``set`` has several keys."""
        given = [key for key in STEPS if key in table]
        unknown = [key for key in table if key not in STEPS]
        if len(given) > 1:
            shown = f"{{{given[0]} = ...}}, {{{given[1]} = ...}}"
            raise table.error(given[1], f"a step does one thing: write {shown}", at_name=True)
        if not given and "steps" in table:
            raise table.error(
                "steps", "how often? write {repeat = 3, steps = [{...}]}", at_name=True
            )
        if not given and unknown:
            raise table.error(
                unknown[0], f"unknown step {unknown[0]!r}; {hint(unknown[0], STEPS)}", at_name=True
            )
        if not given:
            raise table.error(None, f"this step does nothing; there are {', '.join(STEPS)}")
        read = STEPS[given[0]]
        steps = [*read(self, table, depth)]
        table.finish()
        return iter(steps)

    def _wait(self, table: Table, _depth: int) -> Iterator[Step]:
        yield Wait(span(table, "wait"))

    def _set(self, table: Table, _depth: int) -> Iterator[Step]:
        for key, variable in self._variables(table, "set"):
            way = ("set", key)
            value = table.value(way)
            if isinstance(value, str):
                node = self._refers.node(table, way, variable)
            elif not isinstance(value, bool | int | float):
                raise table.error(
                    way, "a value is a text with an item as SML, a number, true or false"
                )
            elif variable is not None:
                node = fitted(table, way, variable, value)
            else:
                continue
            yield SetValue(key if variable is None else variable.id, node)

    def _add(self, table: Table, _depth: int) -> Iterator[Step]:
        for key, variable in self._variables(table, "add"):
            way = ("add", key)
            number = table.number(way, -_LARGEST, _LARGEST)
            if not number:
                raise table.error(way, "to add 0 changes nothing")
            if variable is None:
                continue
            if len(variable.value) != 1 or not issubclass(variable.format, Integer | Real):
                raise table.error(way, f"{variable} is not one number: nothing can be added to it")
            if issubclass(variable.format, Real):
                yield AddValue(variable.id, number)
                continue
            if not number.is_integer():
                raise table.error(
                    way, f"{variable} is {variable.format.__name__}: add a whole number"
                )
            # As it is written: a float has less digits.
            yield AddValue(variable.id, int(table.value(way)))

    def _event(self, table: Table, _depth: int) -> Iterator[Step]:
        yield SendEvent(self._refers.id(table, "event", Model.ceid))

    def _alarm(self, table: Table, _depth: int) -> Iterator[Step]:
        yield SetAlarm(self._refers.id(table, "alarm", Model.alid), True)

    def _clear(self, table: Table, _depth: int) -> Iterator[Step]:
        yield SetAlarm(self._refers.id(table, "clear", Model.alid), False)

    def _send(self, table: Table, _depth: int) -> Iterator[Step]:
        template = self._refers.template(table, "send")
        if template.function % 2 == 0:
            raise table.error(
                "send",
                f"{template.name} is a reply, which is what reply is for: "
                "a step sends primaries, whose function is odd",
            )
        yield SendMessage(template)

    def _fault(self, table: Table, _depth: int) -> Iterator[Step]:
        text = table.text("fault")
        if text == "answer-everything":
            raise table.error("fault", "this ends misbehaviour, as {heal = true} does: write that")
        try:
            Behaviours.parse([text])
        except BehaviourError as error:
            raise table.error("fault", str(error)) from None
        yield BeginFault(text)

    def _heal(self, table: Table, _depth: int) -> Iterator[Step]:
        _require_true(table, "heal")
        yield Heal()

    def _separate(self, table: Table, _depth: int) -> Iterator[Step]:
        _require_true(table, "separate")
        yield Separate()

    def _repeat(self, table: Table, depth: int) -> Iterator[Step]:
        count = table.whole("repeat", 1, _MOST_REPEATS)
        if "steps" not in table or not table.array("steps"):
            raise table.error(
                None, f"what is to be repeated? write {{repeat = {count}, steps = [{{...}}]}}"
            )
        step = Repeat(count, self.steps(table, "steps", depth + 1))
        if (most := at_once((step,))) > MOST_STEPS:
            raise table.error(
                "repeat",
                f"these are {most} steps without a wait between them, and {MOST_STEPS} are allowed:"
                " put a {wait = (seconds)} among them",
            )
        yield step

    def _choose(self, table: Table, depth: int) -> Iterator[Step]:
        options = table.array("choose")
        if len(options) < 2:
            raise table.error("choose", "there is no choice: write [[{...}], [{...}]]")
        read: list[tuple[Step, ...]] = []
        with Problems() as problems:
            for number, option in enumerate(options):
                way = ("choose", number)
                with problems.of_one():
                    if not isinstance(option, list):
                        raise table.error(way, "each choice is an array of steps: [{...}, {...}]")
                    read.append(self.steps(table, way, depth + 1))
        yield Choose(tuple(read))

    def _stop(self, table: Table, _depth: int) -> Iterator[Step]:
        name = table.text("stop")
        if name not in self._names:
            raise table.error("stop", f"no rule has the name {name!r}; {hint(name, self._names)}")
        yield StopRule(name)

    def _variables(self, table: Table, key: str) -> Iterator[tuple[str, Variable | None]]:
        """The keys of a table, with the variables that they name, where there is a model.

        None of them gets its value elsewhere.
        """
        inner = table.table(key)
        assert inner is not None  # the caller has seen it
        if not len(inner):
            raise table.error(key, f"which variable? write {{{key} = {{1001 = ...}}}}")
        for each in inner:
            if self._refers.model is None:
                yield each, None
                continue
            try:
                variable = self._refers.model.variables[self._refers.model.vid(each)]
            except LookupError as error:
                raise table.error((key, each), str(error.args[0]), at_name=True) from None
            if variable.source is not None:
                why = f"{variable} has source {variable.source!r}: nobody else gives it a value"
                raise table.error((key, each), why, at_name=True)
            yield each, variable


STEPS: Final[Mapping[str, Callable[[StepReader, Table, int], Iterator[Step]]]] = {
    "wait": StepReader._wait,
    "set": StepReader._set,
    "add": StepReader._add,
    "event": StepReader._event,
    "alarm": StepReader._alarm,
    "clear": StepReader._clear,
    "send": StepReader._send,
    "fault": StepReader._fault,
    "heal": StepReader._heal,
    "separate": StepReader._separate,
    "repeat": StepReader._repeat,
    "choose": StepReader._choose,
    "stop": StepReader._stop,
}
"""The steps, and what reads each of them."""


def span(table: Table, key: str) -> Span:
    """Seconds: a number, or two between which one is chosen."""
    value = table.value(key)
    if not isinstance(value, list):
        seconds = table.number(key, _SHORTEST, _LONGEST)
        return Span(seconds, seconds)
    if len(value) != 2:
        raise table.error(
            key, f"seconds are a number or two, the shortest and the longest: {key} = [1.0, 3.0]"
        )
    lowest, highest = (table.number((key, index), _SHORTEST, _LONGEST) for index in (0, 1))
    if lowest > highest:
        raise table.error(key, f"the shortest is first: {key} = [{highest:g}, {lowest:g}]")
    return Span(lowest, highest)


def _require_true(table: Table, key: str) -> None:
    if not table.flag(key):
        raise table.error(key, f"write {{{key} = true}}, or leave the step out")
