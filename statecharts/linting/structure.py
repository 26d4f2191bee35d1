"""Rules about how a chart would run: what can be reached, what is answered, what runs for ever."""

from __future__ import annotations

from collections.abc import Iterator

from statecharts.declare import Chart, On, State

from .lookup import Finding, Rule, by_source, entered, ids, left, unanswered


def _exclusive(chart: Chart, one: State, other: State) -> bool:
    """Whether two states can never be active together."""
    first, second = chart.path(one.id), chart.path(other.id)
    if one in second or other in first:
        return False
    common = [a for a, b in zip(first, second, strict=False) if a.id == b.id]
    return not (common and common[-1].parallel)


def _timers(chart: Chart) -> Iterator[Finding]:
    declared = by_source(chart)
    owners = [(state, state.timer) for state in chart.walk() if state.timer]
    runs_in: dict[str, set[str]] = {}
    for index, (state, timer) in enumerate(owners):
        inside = ids(state)
        runs_in.setdefault(timer.expired, set()).update(inside)
        for other, same in owners[:index]:
            if same == timer and not _exclusive(chart, other, state):
                yield (
                    f"state {state.id}",
                    f"timer {timer.id} runs in {other.id} at the same time",
                    "states that share a timer must exclude each other: make two timers",
                )
        for leaf in unanswered(state, timer.expired, declared):
            yield (
                f"state {leaf.id}",
                f"{timer.expired} may find no transition",
                "write one without a guard: a timer that fires into nothing leaves the chart stuck",
            )
        for on in chart.transitions:
            stays = on.to is None or on.to in inside - {state.id}
            if on.event == timer.expired and on.source in inside and stays:
                yield (
                    f"transition {on}",
                    f"it does not leave {state.id}, whose timer has expired",
                    "leave the state, or enter it again to start the timer again",
                )
    for on in chart.transitions:
        if on.event in runs_in and on.source not in runs_in[on.event]:
            yield f"transition {on}", "the timer does not run there", "move it to where it does"


def _kept(chart: Chart) -> Iterator[Finding]:
    """A timer that is kept runs before and after: a state that is left and one entered have it."""
    for on in chart.transitions:
        if on.keep is None:
            continue
        sides = {"left": left(chart, on), "entered": entered(chart, on)}
        for side, states in sides.items():
            if on.keep not in {state.timer for state in states}:
                yield (
                    f"transition {on}",
                    f"it keeps {on.keep.id}, and no state that is surely {side} has this timer",
                    "let the transition begin and end in states that have it",
                )
        if on.event == on.keep.expired:
            yield f"transition {on}", "a timer that has expired cannot be kept", "start it again"


def _domain(chart: Chart) -> Iterator[Finding]:
    """SCXML, XState and a reader must agree on the states that a transition exits."""
    for on in chart.transitions:
        if on.to is None:
            continue
        sources, targets = chart.path(on.source), chart.path(on.to)
        if on.source != on.to and sources[-1] in targets:
            yield (
                f"transition {on}",
                f"it would leave {on.source} (SCXML) or stay inside (XState)",
                "declare it in the states inside, or enter the whole state again",
            )
            continue
        for index, state in enumerate(sources[:-1]):
            if not state.parallel or state not in targets[:-1]:
                continue
            region = sources[index + 1]
            if region not in targets or region.id in (on.source, on.to):
                yield (
                    f"transition {on}",
                    f"it would leave every region of {state.id} (SCXML) or only one (XState)",
                    "keep both ends strictly inside one region, or leave the parallel state",
                )


def _shadowed(chart: Chart) -> Iterator[Finding]:
    """Transitions that are never taken, because another one always comes first."""
    declared = by_source(chart)
    seen: set[tuple[str, str | None, str]] = set()
    alive: set[int] = set()
    events = {on.event for on in chart.transitions}
    for leaf in chart.leaves:
        outwards = chart.path(leaf.id)[::-1]
        for event in events:
            # From the innermost state outwards, up to the first that no guard can refuse.
            for state in outwards:
                if (here := declared.get((state.id, event))) is None:
                    continue
                free = next((i for i, on in enumerate(here, start=1) if not on.when), None)
                alive.update(id(on) for on in here[:free])
                if free is not None:
                    break
    for on in chart.transitions:
        if id(on) not in alive or (on.source, on.event, on.when) in seen:
            yield f"transition {on}", "another one always wins against it", "remove one"
        seen.add((on.source, on.event, on.when))


def _eventless(chart: Chart) -> Iterator[Finding]:
    """A cycle of transitions without an event, whatever their guards, could run for ever."""
    follows: dict[str, set[str]] = {}
    for on in chart.transitions:
        if on.event is None:
            after = {each.id for each in entered(chart, on) if not each.children}
            for leaf in chart.state(on.source).leaves:
                follows.setdefault(leaf.id, set()).update(after)
    for start, first in follows.items():
        seen: set[str] = set()
        waiting = list(first)
        while waiting:
            here = waiting.pop()
            if here not in seen:
                seen.add(here)
                waiting.extend(follows.get(here, ()))
        if start in seen:
            what = "it can come back to itself without an event"
            yield f"state {start}", what, "break the cycle"


def _unreachable(chart: Chart) -> Iterator[Finding]:
    first = On(None, chart.states[0].id, to=chart.states[0].id)
    reached = {each.id for each in entered(chart, first)}
    leads = [(on.source, {each.id for each in entered(chart, on)}) for on in chart.transitions]
    grown = -1
    while grown != len(reached):
        grown = len(reached)
        for source, inside in leads:
            if source in reached:
                reached |= inside
    for state in chart.walk():
        if state.id not in reached:
            yield f"state {state.id}", "no transition ever enters it", "remove it or lead there"


def _totality(chart: Chart) -> Iterator[Finding]:
    declared = by_source(chart)
    for root in chart.total_in:
        for event in chart.received:
            gates = {state for name, state in chart.gated if name == event}
            above = chart.path(root)[:-1]
            if any(not on.when for state in above for on in declared.get((state.id, event), ())):
                continue
            for leaf in unanswered(chart.state(root), event, declared):
                if not gates & {state.id for state in chart.path(leaf.id)}:
                    yield (
                        f"state {leaf.id}",
                        f"{event} may find no transition",
                        "a peer may send anything at any time: answer it, or count it as dropped",
                    )
    for event, gate in chart.gated:
        for state in (*chart.path(gate)[:-1], *chart.state(gate).walk()):
            if declared.get((state.id, event)):
                yield f"state {state.id}", f"{event} is gated and taken", "choose one"


RULES: tuple[Rule, ...] = (_timers, _kept, _domain, _shadowed, _eventless, _unreachable, _totality)
