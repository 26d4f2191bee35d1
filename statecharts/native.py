"""Makes a python-statemachine class of a declared chart. Only this module uses the library.

Invariants of every class made here (each avoids a trap that we measured in the library):

* every flag of the library is set here, no default is used: unknown events raise, exceptions
  propagate, and the active states change step by step as SCXML says;
* each state has its position in document order, so parallel regions are entered and exited in that
  order;
* the model keeps the active states sorted in document order, so that the same active states and
  the same event always select the same transitions in the same order;
* actions are bound methods of objects that only append to the model: no clock, no I/O, no thread;
* a step takes at most ``FUSE`` transitions, so a cycle of transitions without an event is an error
  and not an endless loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from statemachine import State as NativeState
from statemachine import StateChart
from statemachine.factory import StateMachineMetaclass
from statemachine.orderedset import OrderedSet
from statemachine.transition import Transition

from .declare import (
    ADOPTED,
    Action,
    Chart,
    Effect,
    Increment,
    Keep,
    Set,
    Start,
    State,
    Stop,
    Timer,
    Variable,
)
from .refusals import expect

# The library takes transitions without an event until there is none to take. Lint refuses cycles
# of them; this limit is for a cycle that lint does not find.
FUSE = 1_000


class ChartFaultError(Exception):
    """A step did what the declaration forbids, such as an endless cycle of transitions."""


class Model:
    """What python-statemachine reads and writes: active states, variables, and collected effects.

    ``state`` sorts the active states. The library selects transitions in the order in which states
    were added; unsorted, that order would be hidden state that no proof sees. Variables and
    parameters are attributes, because the library looks them up as attributes for guards.
    """

    def __init__(
        self,
        order: Mapping[str, int],
        highest: Mapping[str, int],
        parameters: Mapping[str, int],
    ) -> None:
        self._order = order
        self._state: str | OrderedSet[str] | None = None
        self.highest = highest
        self.effects: list[Effect] = []
        self.taken: list[int] = []
        for name, value in parameters.items():
            setattr(self, name, value)
        for name in highest:
            setattr(self, name, 0)

    @property
    def state(self) -> str | OrderedSet[str] | None:
        return self._state

    @state.setter
    def state(self, value: str | Iterable[str] | None) -> None:
        match value:
            case None | str():
                self._state = value
            case _:
                self._state = OrderedSet(sorted(value, key=self._order.__getitem__))

    def active(self) -> tuple[str, ...]:
        """All active states with their ancestors, in document order."""
        match self._state:
            case None:
                return ()
            case str(one):
                return (one,)
            case many:
                return tuple(many)

    def take(self, transition: int) -> None:
        """Record that this transition of the chart is taken."""
        if len(self.taken) >= FUSE:
            raise ChartFaultError(f"{FUSE} transitions in one step: an eventless cycle")
        self.taken.append(transition)

    def perform(self, actions: tuple[Action, ...]) -> None:
        """Do assignments, and collect effects for the driver of the chart."""
        for action in actions:
            match action:
                case Set(variable, value):
                    setattr(self, variable, value)
                case Increment(variable):
                    setattr(
                        self, variable, min(getattr(self, variable) + 1, self.highest[variable])
                    )
                case _:
                    self.effects.append(action)

    def asked(self) -> tuple[Effect, ...]:
        """The effects of the step, without the stop and the start of a timer that is kept."""
        found: list[Effect] = []
        kept: set[Timer] = set()
        for effect in self.effects:
            match effect:
                case Keep(timer):
                    # The exit has just stopped it, and the entry is about to start it.
                    found.reverse()
                    found.remove(Stop(timer))
                    found.reverse()
                    kept.add(timer)
                case Start(timer) if timer in kept:
                    kept.remove(timer)
                case _:
                    found.append(effect)
        return tuple(found)


class _Hook:
    """What one entry, exit or transition does. ``run`` is what the library calls."""

    def __init__(self, actions: tuple[Action, ...], transition: int | None = None) -> None:
        self.actions = actions
        self.transition = transition

    def run(self, model: Model) -> None:
        if self.transition is not None:
            model.take(self.transition)
        model.perform(self.actions)


class StrictChart(StateChart[Any]):
    """The base of every class made here: it sets every flag of the library."""

    allow_event_without_transition = False
    enable_self_transition_entries = True
    atomic_configuration_update = False
    catch_errors_as_events = False
    # Lint checks reachability instead: it knows timers, and its messages give the reason.
    validate_disconnected_states = False
    validate_trap_states = False
    validate_final_reachability = False


class _State(NativeState):
    """A state without the callbacks that the library looks up by their names: the kit has none."""

    def _setup(self) -> None:
        """The library calls it when the class is made, and would then look for the callbacks."""


class _Transition(Transition):
    """A transition without the callbacks that the library looks up by their names."""

    def _setup(self) -> None:
        """As that of a state."""


def _native_state(state: State, made: dict[str, NativeState], initial: bool) -> NativeState:
    children = [
        _native_state(child, made, initial=index == 0 and not state.parallel)
        for index, child in enumerate(state.children)
    ]
    native = _State(
        name=state.name,
        initial=initial,
        parallel=state.parallel,
        states=children,
        enter=_Hook(state.entry_actions).run if state.entry_actions else None,
        exit=_Hook(state.exit_actions).run if state.exit_actions else None,
    )
    # A parent links its children by id when it is made, so each child must have its id before.
    native._set_id(state.id)
    made[state.id] = native
    return native


def native_class(chart: Chart) -> type[StrictChart]:
    """The python-statemachine class that runs ``chart``. Any tool of that library can use it.

    Its instances need a ``Model``. Raises ``ChartError`` for a chart that lint refuses.
    """
    # Who runs only charts that their packages have linted does without.
    from .linting import check

    check(chart)
    return linted_class(chart)


def linted_class(chart: Chart) -> type[StrictChart]:
    """``native_class`` of a chart that lint has nothing to say about."""
    expect(chart, Chart)
    made: dict[str, NativeState] = {}
    tops = {
        state.id: _native_state(state, made, initial=index == 0)
        for index, state in enumerate(chart.states)
    }
    for index, on in enumerate(chart.transitions):
        source = made[on.source]
        source.transitions.add_transitions(
            _Transition(
                source,
                made[on.to] if on.to else None,
                event=on.event,
                cond=on.when or None,
                on=_Hook(on.actions, index).run,
            )
        )
    # So that transitions without an event can be taken although no event of the chart has come.
    for state in chart.states:
        nothing = _Transition(made[state.id], None, event=ADOPTED)
        made[state.id].transitions.add_transitions(nothing)
    namespace: dict[str, Any] = {"__module__": __name__, "__doc__": chart.title, **tops}
    made_class = StateMachineMetaclass(chart.id.title().replace("_", ""), (StrictChart,), namespace)
    # The library's own numbers begin again below each state, which orders regions wrongly.
    for position, state in enumerate(chart.walk(), start=1):
        made[state.id].document_order = position
    assert issubclass(made_class, StrictChart)
    return made_class


def highest_value(variable: Variable, parameters: Mapping[str, int]) -> int:
    """The highest value of a variable under these parameters."""
    match variable.highest:
        case int(number):
            return number
        case name:
            return parameters[name]
