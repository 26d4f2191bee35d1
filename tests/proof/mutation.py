"""Checks every mutant of the HSMS charts with the checks of the charts themselves.

A mutant has a single fault. The first check that notices it kills it: lint, a search that meets an
impossible effect or an event that is not taken, a property, an obligation. There are two scores:
with all of these, and without the obligations, which say the same as the charts in other words.

A mutant that no check notices is equivalent when ``EQUIVALENT`` says why and ``confirmed`` finds,
under all parameters, no step in which it differs from the chart. Recorded behaviour (a golden
table) is not used here.

How a mutant is tried, cheap checks first:

* Its steps are the chart's, except for the events that the fault concerns. So a chart's steps are
  asked of the library once, and a mutant's only for these events.
* Each step that differs is tried where the chart's own search comes to it, on a way on which the
  mutant does not differ. Most mutants die here, at the claims about one step.
* What lives is searched as the charts are searched, the smallest search first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random
from typing import Any, Generic

from statecharts import ChartError
from statecharts.declare import Chart, Effect, Start, Stop, Tell
from statecharts.explore.alone import Alone, Here, May, WorldState
from statecharts.explore.checking import Checker, Outcome
from statecharts.explore.graph import BrokenModelError, Graph, TooManyStatesError
from statecharts.explore.moves import ImpossibleMoveError, Move, State, View
from statecharts.explore.mutants import Mutant, mutants, mutants_of_telling
from statecharts.explore.obligations import Examiner
from statecharts.explore.properties import Always, EveryStep, Possible, Property
from statecharts.hsms.active import OWNED_ACTIVE
from statecharts.hsms.systems import ACTIVE_LINK, CHARTS, OWNED_LINK, PASSIVE_LINK
from statecharts.hsms.world import World
from statecharts.machine import Machine, NotAllowedError, Snapshot, Step
from statecharts.native import ChartFaultError
from statecharts.router import System

from .binding import Bind, Parameters, machine
from .outside import link_alone
from .searches import (
    CHARTS_ALONE,
    LINKS,
    LINKS_WITHOUT_TRAFFIC,
    OWNED_LINKS,
    OWNED_LINKS_WITHOUT_TRAFFIC,
    SMALL_ENDS,
    AloneSearch,
)

# Far more states than any chart has: a mutant whose queue grows for ever is killed at this limit.
MANY = 40_000

# A pattern of the names of equivalent mutants, and the reason.
EQUIVALENT: dict[str, str] = {
    r"again instead of transition (breaker_closed|ready|probing|isolated|closed|closing"
    r"|withdrawn|unwatched|between_frames|drained|unasked)": (
        "the state has no timer and does nothing on entry and exit"
    ),
    r"swap (misses \+= 1 and Count|(failures|wanted) := 0 and |Tell\(permit_with\w+\) and fail)": (
        "the moment within a step at which a variable is set cannot be seen"
    ),
    r"swap ((Abandon|Reset)Tcp\(\) and Tell|Tell\(\w+\) and |OpenGate\(\) and Tell)": (
        "a chart gets what it is told after all effects, and then only stops its timers"
    ),
    r"start in \w+ of state": "the state is always entered by the name of one of its children",
    r"target between_frames instead of transition .*(t8|frame_deadline)_expired": (
        "the connection is closed in the same step, and the partial frame is dropped with it"
    ),
    r"target drained instead of transition .*(write_timeout|write_deadline)_expired": (
        "the connection is closed in the same step, and the unwritten bytes are dropped with it"
    ),
    r"transition connecting: permit_offered": "never taken: see NEVER_TAKEN",
    r"Tell\((receiving|transmitting|session)_ended\)": (
        "it is told again in the same step, or nothing is left that could end"
    ),
    r"^add Tell\(attempt_cancelled\)": (
        "the attempt has succeeded in the same step, and a closed breaker does nothing on this"
    ),
    r"add Tell\(link_rested\)": "it is told again, by the state that is entered",
    r"add Tell\(probe_wanted\)": "a probe runs already, and there is one at a time",
    r"on exit of state (closed|ended|replied|timed_out|rejected|aborted|faulted|lost|cancelled)": (
        "the state is never left"
    ),
    r"^add (failures|misses|wanted) ": (
        "the variable has this value already, is at its highest, or is set before it is read"
    ),
    r"^guard .*\[(probes|single_use|wanted) |^drop the guard .*\[(probes|wanted) ": (
        "it is 0 or 1, and of two transitions that could be taken it is the first one"
    ),
    r"^guard \[(misses|failures) == ": "a count is never higher than its threshold",
    r"^source \w+ instead of transition": (
        "every other state in which it could be taken has its own transition for this event"
    ),
}


@dataclass(frozen=True, slots=True)
class Fate:
    """The result for a mutant: what killed it, or the ``reason`` why it is equivalent.

    ``unaided`` is what kills it when there are no obligations.
    """

    mutant: str
    killer: str = ""
    unaided: str = ""
    reason: str = ""

    @property
    def lives(self) -> bool:
        """Whether the mutant is neither killed nor equivalent."""
        return not self.killer and not self.reason


@cache
def all_mutants() -> tuple[Mutant, ...]:
    """Every mutant of every HSMS chart and of what the charts tell each other, each once."""
    found = {str(mutant): mutant for chart in CHARTS for mutant in mutants(chart)}
    # The connection of an owned link is that of any other, but for what it tells its lease.
    systems = (ACTIVE_LINK, PASSIVE_LINK, OWNED_LINK)
    telling = (each for system in systems for each in mutants_of_telling(system))
    for each in (*mutants(OWNED_ACTIVE), *telling):
        found.setdefault(str(each), each)
    return tuple(found.values())


def sample(size: int, seed: int) -> tuple[Mutant, ...]:
    """So many of them, chosen by the seed."""
    return tuple(Random(seed).sample(all_mutants(), size))


@cache
def _steps(plain: Machine) -> dict[Snapshot, dict[str, Step | None]]:
    """What a chart does in each snapshot that it can reach, on each of its events."""
    return {
        here: {
            event: plain.step(here, event) if plain.takes(here, event) else None
            for event in plain.events
        }
        for here in plain.reachable()
    }


Difference = tuple[Snapshot, str]


class Trial:
    """One mutant: its machines, and the steps in which they differ from the chart's."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.plain = mutant.plain
        self.id = mutant.chart.id
        self._made: dict[tuple[tuple[str, int], ...], Machine] = {}
        self._differ: dict[tuple[tuple[str, int], ...], set[Difference] | None] = {}

    def bind(self, chart: Chart, parameters: Parameters) -> Machine:
        """The usual machines, but the mutant in place of its chart; each is made once.

        Raises ``ChartError`` or ``ValueError`` for a mutant that lint refuses.
        """
        if chart is not self.plain:
            return machine(chart, parameters)
        key = tuple(sorted(parameters.items()))
        if key not in self._made:
            made = self._made[key] = Machine(self.mutant.chart, **parameters)
            self._teach(made, machine(chart, parameters))
        return self._made[key]

    def _teach(self, made: Machine, plain: Machine) -> None:
        """Give the mutant the steps of its chart that the fault does not concern."""
        concerned = self.mutant.events
        if concerned is None:
            return
        for here, row in _steps(plain).items():
            moves = made.snapshot(here.states, here.values).moves
            for event, step in row.items():
                if event not in concerned:
                    moves[event] = step and step._replace(
                        snapshot=made.snapshot(step.snapshot.states, step.snapshot.values)
                    )

    def differences(self, parameters: Parameters) -> set[Difference] | None:
        """(snapshot, event) of the chart in which the mutant does not do the same.

        None when it does not even begin in the same states.
        """
        key = tuple(sorted(parameters.items()))
        if key not in self._differ:
            plain, made = machine(self.plain, parameters), self.bind(self.plain, parameters)
            begins = made.initial == plain.initial
            self._differ[key] = set(self._differing(plain, made)) if begins else None
        return self._differ[key]

    def adopts_alike(self, values: list[Parameters]) -> bool:
        """Whether it goes on under other parameters as its chart does, from every snapshot."""
        return all(
            _same(
                machine(self.plain, after).adopt(here),
                self.bind(self.plain, after).adopt(
                    self.bind(self.plain, before).snapshot(here.states, here.values)
                ),
            )
            for before in values
            for after in values
            for here in _steps(machine(self.plain, before))
        )

    def is_silent(self, parameters: Parameters) -> bool:
        """Whether it asks for nothing, and tells nothing, before the first event."""
        return not self.bind(self.plain, parameters).initial_effects

    def _differing(self, plain: Machine, made: Machine) -> Iterator[Difference]:
        for here, row in _steps(plain).items():
            same = made.snapshot(here.states, here.values)
            for event in row if self.mutant.events is None else self.mutant.events & row.keys():
                if event not in made.events or not _same(row[event], _decided(made, same, event)):
                    yield here, event


def _decided(made: Machine, here: Snapshot, event: str) -> Step | ChartFaultError | None:
    try:
        return made.step(here, event)
    except NotAllowedError:
        return None
    except ChartFaultError as fault:
        return fault


def _same(one: Step | None, two: Step | ChartFaultError | None) -> bool:
    match one, two:
        case Step(), Step():
            return one.snapshot == two.snapshot and seen(one.effects) == seen(two.effects)
        case _:
            return one is None and two is None


def seen(effects: tuple[Effect, ...]) -> tuple[list[Effect], dict[str, list[Effect]]]:
    """The effects without the order that cannot be seen.

    Each timer by itself: nothing that is done between its steps depends on it. What is told by
    itself: the router hands it on after all effects of the step.
    """
    done: list[Effect] = []
    apart: dict[str, list[Effect]] = {}
    for effect in effects:
        match effect:
            case Start(timer) | Stop(timer):
                apart.setdefault(timer.id, []).append(effect)
            case Tell():
                apart.setdefault("", []).append(effect)
            case _:
                done.append(effect)
    return done, apart


@dataclass(slots=True)
class _Found:
    """What the checks of one step have found: by properties or the world, and by obligations."""

    unaided: str = ""
    duty: str = ""


class _Search(Generic[WorldState]):
    """One search of the charts without a fault, kept for trying mutants where they differ."""

    def __init__(self, search: AloneSearch[WorldState]) -> None:
        self.search = search
        self.model = search.model(machine)
        self.graph = Graph(self.model)
        router, states, moves = self.model.router, self.graph.states, self.model.moves
        self._examiner = Examiner(router)
        self.parameters = {id: each.parameters for id, each in router.machines.items()}
        # For each chart, snapshot of it, and event: the steps in which it has this part.
        self._met: dict[tuple[str, Snapshot, str], list[tuple[int, str]]] = {}
        # For each chart and snapshot of it: the states.
        self._at: dict[tuple[str, Snapshot], list[int]] = {}
        # For each state: what the charts do on the way to it. None: more than steps.
        self._way: list[frozenset[tuple[str, Snapshot, str]] | None] = []
        for number, here in enumerate(states):
            for id, part in zip(router.machines, here.snapshot.parts, strict=True):
                self._at.setdefault((id, part), []).append(number)
            self._way.append(self._keys(number))
            for move, _ in self.graph.edges(number):
                event = moves[move].event
                for key in self._hops(number, event) or ():
                    self._met.setdefault(key, []).append((number, event))

    def _hops(self, number: int, event: str) -> list[tuple[str, Snapshot, str]] | None:
        if event not in self.model.router.owner:
            return None
        hops = self.model.router.step(self.graph.states[number].snapshot, event).hops
        return [(hop.chart, hop.before, hop.event) for hop in hops]

    def _keys(self, number: int) -> frozenset[tuple[str, Snapshot, str]] | None:
        parent = self.graph.parents[number]
        if parent < 0:
            return frozenset()
        way, moves = self._way[parent], self.model.moves
        last = next(m for m, target in self.graph.edges(parent) if target == number)
        hops = self._hops(parent, moves[last].event)
        return None if way is None or hops is None else way.union(hops)

    def near(self, trial: Trial, found: _Found) -> bool:
        """Try each step in which the mutant differs. Whether there is one.

        The mutant comes to each of these steps in the same way as the chart.
        """
        begins = _begins(self.search.model(trial.bind))
        differences = trial.differences(self.parameters[trial.id])
        if differences is None or begins:
            found.unaided = begins
            return True
        keys = {(trial.id, *each) for each in differences}
        places = self._places(keys)
        if not places:
            return False
        model, differs = self.search.model(trial.bind), False
        for number, event in places:
            here = self._adopted(model, number)
            if self._same(model, number, here, event):
                continue
            differs = True
            way = self._way[number]
            if way is not None and way.isdisjoint(keys):
                self._try(model, number, here, event, found)
                if found.unaided:
                    break
        return differs

    def alike(self, trial: Trial) -> bool:
        """Whether the mutant does what the chart does in every step that can be reached.

        This is a search of both together: they are always where the other one is, so only the steps
        in which their charts differ can lead them apart.
        """
        differences = trial.differences(self.parameters[trial.id])
        model = self.search.model(trial.bind)
        if differences is None or model.router.initial != self.model.router.initial:
            return False
        return all(
            self._same(model, number, self._adopted(model, number), event)
            for number, event in self._places({(trial.id, *each) for each in differences})
        )

    def _places(self, keys: Iterable[tuple[str, Snapshot, str]]) -> list[tuple[int, str]]:
        """The states and events whose steps come to one of the keys; those found first first."""
        return sorted({place for key in keys for place in self._coming_to(key)})

    def _coming_to(self, key: tuple[str, Snapshot, str]) -> Iterator[tuple[int, str]]:
        yield from self._met.get(key, ())
        id, part, event = key
        if self.model.router.owner[event] == id:
            # What the chart does not take, the mutant may.
            for number in self._at.get((id, part), ()):
                if self.model.outside.may(self.graph.states[number].world, event) is May.IF_TAKEN:
                    yield number, event

    def _adopted(self, model: Alone[WorldState], number: int) -> Here[WorldState]:
        plain = self.graph.states[number]
        parts = zip(model.router.machines.values(), plain.snapshot.parts, strict=True)
        same = tuple(made.snapshot(part.states, part.values) for made, part in parts)
        return plain._replace(snapshot=model.router.snapshot(same))

    def _same(
        self, model: Alone[WorldState], number: int, here: Here[WorldState], event: str
    ) -> bool:
        """Whether both take the event, ask for the same and come to the same; or take it not."""
        plain, router = self.graph.states[number], self.model.router
        if not router.takes(plain.snapshot, event):
            return event not in model.router.owner or not model.router.takes(here.snapshot, event)
        was = router.step(plain.snapshot, event)
        try:
            now = model.router.step(here.snapshot, event)
        except (KeyError, NotAllowedError, ChartFaultError):
            return False
        return was.snapshot == now.snapshot and seen(was.effects) == seen(now.effects)

    def _try(
        self,
        model: Alone[WorldState],
        number: int,
        here: Here[WorldState],
        event: str,
        found: _Found,
    ) -> None:
        if event in model.router.owner and model.router.takes(here.snapshot, event):
            found.unaided = self._unaided(model, here, event)
        elif self.model.outside.may(here.world, event) is May.ALWAYS:
            found.unaided = f"world: {event} is not taken"
        else:
            found.unaided = _first(
                f"property {claim.name}: failed"
                for claim in self.search.properties
                if isinstance(claim, Possible) and claim.event == event and claim.given(here)
            )
        if not found.duty:
            found.duty = self._duty(model, number, here, event)

    def _unaided(self, model: Alone[WorldState], here: Here[WorldState], event: str) -> str:
        try:
            move, after = model.step(here, event)
        except ImpossibleMoveError as error:
            return f"world: {error}"
        return _first(
            f"property {claim.name}: failed"
            for claim in self.search.properties
            if _fails(claim, here, model.moves[move], after)
        )

    def _duty(
        self, model: Alone[WorldState], number: int, here: Here[WorldState], event: str
    ) -> str:
        examiner, plain = Examiner(model.router), self.graph.states[number].snapshot
        for duty in self.search.duties:
            if (
                event in duty.events
                and self._examiner.applies(duty, plain)
                and (what := examiner.differs(duty, here.snapshot, event))
            ):
                return f"obligation {duty.clause}: {what}"
        return ""

    def search_again(self, trial: Trial, *, unaided: bool, whole: bool = True) -> str:
        """What the search says. With ``whole=False`` some obligations may not apply."""
        model = self.search.model(trial.bind)
        graph = Graph(model, MANY)
        if unaided:
            return _failed(graph, self.search.properties)
        snapshots = (here.snapshot for here in graph.states)
        for breach in Examiner(model.router).breaches(snapshots, self.search.duties):
            if breach.event or whole:
                return f"obligation {breach}"
        return ""

    def reconfigure(self, trial: Trial) -> str:
        """What the search says in which users change the parameters."""
        return _failed(Graph(self.search.configured(trial.bind), MANY), self.search.properties)


def _begins(model: Alone[WorldState]) -> str:
    """What is wrong before the first event: no chart may ask for anything then."""
    asked = ", ".join(str(each) for each in model.router.initial_effects)
    return f"world: {asked} is asked for before anything has happened" if asked else ""


def _fails(claim: Property[View], here: View, move: Move, after: View) -> bool:
    """Whether this one step shows that the claim is false."""
    match claim:
        case EveryStep():
            return claim.given(move) and not claim.holds(here, move, after)
        case Always():
            return claim.given(after) and not claim.holds(after)
        case _:
            return False


class Court:
    """Tries mutants one after the other; what they share is computed once."""

    def __init__(self) -> None:
        quick = (*LINKS_WITHOUT_TRAFFIC, *OWNED_LINKS_WITHOUT_TRAFFIC)
        self._quick = [_Search(search) for search in quick]
        self._links = [_Search(search) for search in (*LINKS, *OWNED_LINKS)]
        self._alone = [_Search(search) for search in CHARTS_ALONE]

    def fate(self, mutant: Mutant) -> Fate:
        """The result for a mutant."""
        trial, found = Trial(mutant), _Found()
        searches = self._searches(mutant.plain)
        try:
            for search in searches:
                search.search.model(trial.bind)
        except (ChartError, ValueError) as refused:
            return Fate(str(mutant), f"lint: {refused}", f"lint: {refused}")
        except ChartFaultError as fault:
            return Fate(str(mutant), f"world: {fault}", f"world: {fault}")
        differs = False
        for search in searches:
            differs |= search.near(trial, found)
            if found.unaided:
                return Fate(str(mutant), found.unaided, found.unaided)
        if not differs and confirmed(trial):
            return Fate(str(mutant), reason=_reason(mutant))
        if unaided := _first(self._searched(trial, searches, differs=differs)):
            return Fate(str(mutant), unaided, unaided)
        return Fate(str(mutant), found.duty or (self._duty(trial, searches) if differs else ""))

    def _searches(self, chart: Chart) -> list[_Search[Any]]:
        """The searches that have the chart, small ones first."""
        every: tuple[_Search[Any], ...] = (*self._quick, *self._alone, *self._links)
        return [search for search in every if chart in search.search.charts]

    def _searched(
        self, trial: Trial, searches: list[_Search[Any]], *, differs: bool
    ) -> Iterator[str]:
        try:
            if differs:
                yield from (search.search_again(trial, unaided=True) for search in searches)
            for ends in SMALL_ENDS:
                if trial.plain in ends.charts:
                    yield _failed(Graph(ends.model(trial.bind), MANY), ends.properties)
            for search in self._quick:
                if trial.plain in search.search.charts:
                    yield search.reconfigure(trial)
        except BrokenModelError as broken:
            yield f"world: {broken.error}"
        except TooManyStatesError as grown:
            yield f"property bounded: {grown}"

    def _duty(self, trial: Trial, searches: list[_Search[Any]]) -> str:
        return _first(
            search.search_again(trial, unaided=False, whole=search not in self._quick)
            for search in searches
        )


def _first(killers: Iterable[str]) -> str:
    return next((killer for killer in killers if killer), "")


def _failed(graph: Graph[State, View], properties: Iterable[Property[View]]) -> str:
    checker = Checker(graph)
    for claim in properties:
        (verdict,) = checker.check((claim,))
        if verdict.outcome is not Outcome.HELD:
            return f"property {verdict.name}: {verdict.outcome.value}"
    return ""


def _reason(mutant: Mutant) -> str:
    found = (why for pattern, why in EQUIVALENT.items() if re.search(pattern, mutant.fault))
    return next(found, "")


def _values(charts: Iterable[Chart]) -> Iterator[dict[str, Parameters]]:
    """Every choice of 0, 1, 2 and 3 for the parameters of these charts, where they allow it."""
    names = [(chart.id, each) for chart in charts for each in chart.parameters]
    ranges = [range(each.lowest, min(each.highest, 3) + 1) for _, each in names]
    for values in product(*ranges):
        found: dict[str, dict[str, int]] = {}
        for (id, each), value in zip(names, values, strict=True):
            found.setdefault(id, {})[each.name] = value
        yield dict(found)


@cache
def _wide(system: System) -> tuple[_Search[World], ...]:
    """The link under every choice of parameters, with a peer that may do anything."""

    # A lease takes no part in reading and writing.
    traffic = system is not OWNED_LINK

    def model(parameters: Mapping[str, Parameters]) -> Callable[[Bind], Alone[World]]:
        return lambda bind: link_alone(system, parameters, bind, traffic=traffic)

    return tuple(
        _Search(AloneSearch(str(each), system.charts, model(each), model(each), (), ()))
        for each in _values(system.charts)
    )


def confirmed(trial: Trial) -> bool:
    """Whether no search finds a step in which the mutant does not do what its chart does.

    Either by itself on all events, or in every link that has the chart; each under all parameters
    with values up to 3. What it does is what it asks for, up to an order that cannot be seen, and
    where it comes to, because users see the states of a link.
    """
    chart = trial.plain
    links = [each for each in (ACTIVE_LINK, PASSIVE_LINK, OWNED_LINK) if chart in each.charts]
    by_itself = [each.get(chart.id, {}) for each in _values((chart,))]
    if not trial.adopts_alike(by_itself):
        return False
    return all(
        trial.differences(each) == set() and trial.is_silent(each) for each in by_itself
    ) or (bool(links) and all(search.alike(trial) for system in links for search in _wide(system)))
