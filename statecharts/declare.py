"""A chart as data: states, transitions, timers, variables and effects. Nothing here acts.

Invariants of a declaration (``lint`` checks each of them):

* ids are unique in the whole chart, and the first child of a state is its initial one;
* a timer belongs to a state: entry starts it, exit stops it (states that are never active together
  may share one, and a transition between two of them may keep it running);
* a guard reads only the chart's variables and parameters, each with a finite domain;
* every event is declared with its source: the peer, a local call, or a report.

The rest of this package (run, picture, check, export, generated tests) reads only these objects, so
no two parts of it can disagree about what the chart says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from .refusals import Part, calling_frame

ADOPTED = "parameters_changed"
"""Stands where an event's name stands, for a chart that goes on under other parameters. No chart
declares it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a chart asks of its driver. Subclass it as a frozen, slotted dataclass.

    One without fields needs only ``__slots__ = ()``, which takes less time at import. An effect
    says what the driver must do; it has no behaviour of its own. Two effects are equal when their
    classes and fields are equal.
    """

    def __str__(self) -> str:
        arguments = ", ".join(str(getattr(self, each.name)) for each in fields(self))
        return f"{type(self).__name__}({arguments})"


@dataclass(frozen=True, slots=True)
class Timer(Part):
    """A duration that belongs to a state; when it runs out, the event ``<id>_expired`` comes.

    ``seconds`` is the default duration, shown in pictures; ``lowest`` and ``highest`` bound what a
    user may set. The chart itself never reads these numbers: the driver looks up the duration.
    """

    id: str
    label: str
    meaning: str
    seconds: float
    lowest: float
    highest: float

    @property
    def expired(self) -> str:
        """The event that reports that this timer has run out."""
        return f"{self.id}_expired"

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Start(Effect):
    """Start a timer that is not running. Made by the kit for a state's ``timer`` only."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Stop(Effect):
    """Stop a timer that is running. Made by the kit for a state's ``timer`` only."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Keep(Effect):
    """Let a timer run on: the ``Stop`` before it and the ``Start`` after it are not asked for.

    Made by the kit for a transition's ``keep`` only. A driver never sees it.
    """

    timer: Timer


@dataclass(frozen=True, slots=True)
class Tell(Effect):
    """Tell another chart that ``event`` has happened: the one that declares it as ``reported``.

    When a chart runs without others, its driver gets this like any other effect.
    """

    event: str


@dataclass(frozen=True, slots=True)
class Set(Part):
    """Give a variable of the chart a constant value. It must fit the domain for all parameters."""

    variable: str
    value: int

    def __str__(self) -> str:
        return f"{self.variable} := {self.value}"


@dataclass(frozen=True, slots=True)
class Increment(Part):
    """Add one to a variable of the chart; one that has its highest value keeps it."""

    variable: str

    def __str__(self) -> str:
        return f"{self.variable} += 1"


Action = Effect | Set | Increment


@dataclass(frozen=True, slots=True)
class Parameter(Part):
    """A constant of one running chart, chosen when the chart is bound to a machine."""

    name: str
    default: int
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Variable(Part):
    """A variable of the chart with the finite domain ``0..highest``; it starts at 0.

    ``highest`` is a number or the name of a parameter.
    """

    name: str
    highest: int | str


@dataclass(frozen=True, slots=True)
class State(Part):
    """A state. ``label`` is the name people see; ``timer`` runs exactly while the state is active.

    On entry the timer is started before ``enter`` is done; on exit it is stopped before ``exit``.
    """

    id: str
    label: str = ""
    children: tuple[State, ...] = ()
    timer: Timer | None = None
    enter: tuple[Action, ...] = ()
    exit: tuple[Action, ...] = ()
    parallel: bool = False

    @property
    def name(self) -> str:
        """The label, or else the id in words."""
        return self.label or self.id.replace("_", " ").capitalize()

    @property
    def entry_actions(self) -> tuple[Action, ...]:
        """Everything that is done on entry, in order, with the start of the timer."""
        return (Start(self.timer), *self.enter) if self.timer else self.enter

    @property
    def exit_actions(self) -> tuple[Action, ...]:
        """Everything that is done on exit, in order, with the stop of the timer."""
        return (Stop(self.timer), *self.exit) if self.timer else self.exit

    def walk(self) -> Iterator[State]:
        """This state and all states below it, in document order (pre-order)."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def leaves(self) -> tuple[State, ...]:
        """The states without children below this one, in document order; else the state itself."""
        return tuple(state for state in self.walk() if not state.children)


@dataclass(frozen=True, slots=True)
class On(Part):
    """One transition: on ``event`` in ``source``, if ``when`` holds, go ``to`` and ``do``.

    With ``event=None`` it is taken at once when ``source`` is active and ``when`` holds. With
    ``to=None`` no state is exited or entered, and only ``do`` is done. With ``to`` equal to
    ``source`` the state is exited and entered again, so its timer starts again. ``keep`` is a timer
    that runs on, because a state that is exited and one that is entered both have it. ``clauses``
    are the ids of the rules that it fulfils, for people and for tests: the chart does not use them.
    """

    event: str | None
    source: str
    to: str | None = None
    when: str = ""
    do: tuple[Action, ...] = ()
    clauses: tuple[str, ...] = field(default=(), compare=False)
    keep: Timer | None = None

    @property
    def actions(self) -> tuple[Action, ...]:
        """Everything that is done, in order, with the timer that is kept."""
        return (Keep(self.keep), *self.do) if self.keep else self.do

    def __str__(self) -> str:
        guard = f" [{self.when}]" if self.when else ""
        target = f" -> {self.to}" if self.to else ""
        return f"{self.source}: {self.event or '(at once)'}{guard}{target}"


@dataclass(frozen=True, slots=True)
class Chart(Part):
    """A whole chart. See the package docstring for how to write one.

    ``received`` are facts a peer may cause at any time: each needs a transition in every leaf below
    ``total_in``. The pairs (event, state) in ``gated`` are excepted: in this state the event never
    reaches the chart, and a comment beside the pair says why. ``local`` are calls: a call without a
    transition is an error. ``reported`` are facts from the driver or another chart. The
    ``..._expired`` events of timers need no declaration. ``ends`` are the states that are meant to
    be for good; only ``dead_ends`` reads them.
    """

    id: str
    title: str
    states: tuple[State, ...]
    transitions: tuple[On, ...]
    received: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    total_in: tuple[str, ...] = ()
    gated: tuple[tuple[str, str], ...] = ()
    variables: tuple[Variable, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    ends: tuple[str, ...] = field(default=(), compare=False)
    file: str = field(default_factory=lambda: calling_frame().f_code.co_filename, compare=False)

    def walk(self) -> Iterator[State]:
        """Every state in document order (pre-order)."""
        for state in self.states:
            yield from state.walk()

    @property
    def leaves(self) -> tuple[State, ...]:
        """The states without children, in document order."""
        return tuple(state for state in self.walk() if not state.children)

    def state(self, id: str) -> State:
        """The state with this id. Raises ``KeyError`` when there is none."""
        for state in self.walk():
            if state.id == id:
                return state
        raise KeyError(f"chart {self.id} has no state {id!r}")

    def path(self, id: str) -> tuple[State, ...]:
        """The states from the outermost one down to ``id``, both included."""

        def search(states: tuple[State, ...]) -> tuple[State, ...]:
            for state in states:
                if state.id == id:
                    return (state,)
                if below := search(state.children):
                    return (state, *below)
            return ()

        if not (found := search(self.states)):
            raise KeyError(f"chart {self.id} has no state {id!r}")
        return found

    @property
    def timers(self) -> tuple[Timer, ...]:
        """The timers of all states, in document order, each once."""
        return tuple(dict.fromkeys(state.timer for state in self.walk() if state.timer))

    @property
    def events(self) -> tuple[str, ...]:
        """Every event the chart may be given, in the order of declaration."""
        expiries = tuple(timer.expired for timer in self.timers)
        return tuple(dict.fromkeys((*self.received, *self.local, *self.reported, *expiries)))
