"""Makes a plan that fails smaller: fewer actions, links, settings, and a plain network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from hsms_engine.virtual import Kernel
from tests.simulation.plan import Action, Plan

_MOST_RUNS = 400


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """The smallest plan found that still ``fails``, in 400 runs at most; ``plan`` must fail."""
    runs = 0

    def still_fails(smaller: Plan) -> bool:
        nonlocal runs
        runs += 1
        return runs <= _MOST_RUNS and fails(smaller)

    while True:
        for smaller in _smaller(plan):
            if still_fails(smaller):
                plan = smaller
                break
        else:
            return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans that are a little smaller, those first that are much smaller."""
    actions, count = plan.actions, len(plan.actions)
    size = count
    while size:
        for start in range(0, count, size):
            yield replace(plan, actions=actions[:start] + actions[start + size :])
        size //= 2
    if len(plan.links) > 1:
        kept = tuple(replace(each, who=0) for each in actions)
        yield replace(plan, links=(plan.links[0],), actions=kept)
        yield replace(plan, links=plan.links[:-1], actions=_without(actions, len(plan.links) - 1))
    for name in plan.changes:
        if name != "max_sessions":
            yield replace(plan, changes={n: v for n, v in plan.changes.items() if n != name})
    plain = Kernel(first_pause=plan.kernel.first_pause, longest_pause=plan.kernel.longest_pause)
    if plan.kernel != plain and plan.theme not in ("slow", "late"):
        yield replace(plan, kernel=plain)
    if plan.jitter:
        yield replace(plan, jitter=0.0)
    if plan.one_way:
        yield replace(plan, one_way=0.0)
    latest = max((each.at for each in actions), default=0.0) + 1
    if latest < plan.ends_at:
        yield replace(plan, ends_at=latest)
    for index, action in enumerate(actions):
        for plainer in _plainer(action):
            yield replace(plan, actions=(*actions[:index], plainer, *actions[index + 1 :]))


def _without(actions: tuple[Action, ...], link: int) -> tuple[Action, ...]:
    return tuple(each for each in actions if each.who != link)


def _plainer(action: Action) -> Iterator[Action]:
    default = Action(action.at, action.what, action.who, action.value)
    for name in ("size", "asks", "patience"):
        if getattr(action, name) != getattr(default, name):
            yield replace(action, **{name: getattr(default, name)})
