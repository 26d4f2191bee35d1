"""Rules that get in each other's way: one is never reached, or some start each other without end.

What is told does not depend on values or on chance: a rule that may hold or not counts as one that
does not, and of steps from which one is chosen counts what all of them do. To give a variable a
value counts as a change, unless no rule ever gives it another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from hsms_engine.fake.model import Id, Model
from hsms_engine.fake.rules.rule import OnChange, OnEvent, OnMessage, Rule
from hsms_engine.fake.rules.steps import (
    AddValue,
    Choose,
    Repeat,
    SendEvent,
    SetAlarm,
    SetValue,
    Step,
    StopRule,
    always_waits,
)
from hsms_engine.secs2 import L, Leaf
from hsms_engine.sml import Node, Pattern

Conflict: TypeAlias = tuple[int, str, str]
"""The index of a rule, its key that is to blame, and what is wrong."""

_Cause: TypeAlias = OnEvent | OnChange

# So many pairs of patterns are compared: a file of thousands is to be read in seconds.
_MOST_COMPARED: Final = 100_000
# So many names of rules are told.
_SHOWN: Final = 3


def problems_between(rules: Sequence[Rule], model: Model) -> Iterator[Conflict]:
    """What is wrong with rules of which each is good alone."""
    yield from _unreached(rules)
    yield from _endless(rules, model)


def _unreached(rules: Sequence[Rule]) -> Iterator[Conflict]:
    """The rules for messages that an earlier one takes in any case, or whenever they would."""
    takers: dict[tuple[int, int], list[tuple[Pattern, str]]] = {}
    # By pattern and condition, as written, the rule that holds whenever these do.
    same: dict[tuple[str, str], str] = {}
    left = _MOST_COMPARED
    for index, rule in enumerate(rules):
        if not isinstance(rule.trigger, OnMessage):
            continue
        pattern = rule.trigger.pattern
        before = takers.setdefault((pattern.stream, pattern.function), [])
        compared = before[:left]
        left -= len(compared)
        taker = next((name for earlier, name in compared if earlier.covers(pattern)), None)
        asked = None if rule.when is None else (pattern.text, rule.when.text)
        if taker is None and asked in same:
            why = (
                f"this rule is never reached: {same[asked]!r} before it has the same pattern and "
                "when: give one of them another when, or the other one times"
            )
            yield index, "on", why
        elif taker is not None:
            why = (
                f"this rule is never reached: {taker!r} before it takes each message that this one "
                "matches: put this one first, or give the other one a when or times"
            )
            yield index, "on", why
        elif rule.always_holds:
            before.append((pattern, rule.name))
        elif rule.when is not None and rule.times is None and not rule.when.asks_count:
            same[pattern.text, rule.when.text] = rule.name


def _endless(rules: Sequence[Rule], model: Model) -> Iterator[Conflict]:
    """The rules that start themselves without a wait, also by way of others."""
    ways: dict[_Cause, list[tuple[int, _Cause]]] = {}
    given: dict[Id, list[Node | None]] = {}
    for rule in rules:
        _note_values(rule.steps, given)
    # What has changed to its only value does not change again.
    once = {OnChange(vid) for vid, nodes in given.items() if _is_one_item(nodes)}
    for index, rule in enumerate(rules):
        if rule.always_holds and isinstance(rule.trigger, OnEvent | OnChange):
            causes = [each for each in _causes(rule.steps, model, rule.name) if each not in once]
            ways.setdefault(rule.trigger, []).extend((index, cause) for cause in causes)
    told: set[int] = set()
    for circle in _circles(ways):
        first = min(circle)
        if first in told:
            continue
        told.add(first)
        at = circle.index(first)
        others = [repr(rules[each].name) for each in (*circle[at + 1 :], *circle[:at])]
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        by_way = f" by way of {', '.join(others[:_SHOWN])}{more}" if others else ""
        why = (
            f"this rule starts itself again{by_way}, and no time passes: put a {{wait = (seconds)}}"
            " first, or give it a when or times"
        )
        yield first, "then", why


def _note_values(steps: Sequence[Step], given: dict[Id, list[Node | None]]) -> None:
    """Note what steps give to variables; None: what is added."""
    for step in steps:
        match step:
            case SetValue(vid, node):
                given.setdefault(vid, []).append(node)
            case AddValue(vid):
                given.setdefault(vid, []).append(None)
            case Repeat():
                _note_values(step.steps, given)
            case Choose():
                for option in step.options:
                    _note_values(option, given)
            case _:
                pass


def _is_one_item(nodes: Sequence[Node | None]) -> bool:
    """Whether all of them are the same item, which refers to nothing."""
    return isinstance(nodes[0], L | Leaf) and all(each == nodes[0] for each in nodes)


def _circles(ways: Mapping[_Cause, Sequence[tuple[int, _Cause]]]) -> Iterator[list[int]]:
    """Rules that lead from a cause to itself, for each way that closes one; in linear time."""
    done: set[_Cause] = set()
    for first in ways:
        if first in done:
            continue
        # The causes that lead here, each with its place; and the rules between them.
        path: dict[_Cause, int] = {first: 0}
        between: list[int] = []
        left = [iter(ways[first])]
        while left:
            for index, cause in left[-1]:
                if cause in path:
                    yield [*between[path[cause] :], index]
                elif cause in ways and cause not in done:
                    path[cause] = len(path)
                    between.append(index)
                    left.append(iter(ways[cause]))
                    break
            else:
                left.pop()
                done.add(path.popitem()[0])
                del between[-1:]


def _causes(steps: Sequence[Step], model: Model, rule: str) -> list[_Cause]:
    """What happens for certain before the first wait, and may start a rule."""
    causes: list[_Cause] = []
    for step in steps:
        match step:
            case SetValue(vid=vid) | AddValue(vid=vid):
                causes.append(OnChange(vid))
            case SendEvent(ceid):
                causes.append(OnEvent(ceid))
            case SetAlarm():
                causes += map(OnEvent, _events_of(step, model))
            case Repeat():
                causes += _causes(step.steps, model, rule)
            case Choose():
                first, *others = (_causes(option, model, rule) for option in step.options)
                common = set(first).intersection(*others)
                causes += [each for each in first if each in common]
            case _:
                pass
        if always_waits((step,)) or step == StopRule(rule):
            break
    return causes


def _events_of(step: SetAlarm, model: Model) -> Iterator[Id]:
    alarm = model.alarms[model.alid(step.alid)]
    event = alarm.set_event if step.is_set else alarm.clear_event
    if event is not None:
        yield event
