"""Statecharts as data: declare a chart once; run it, draw it, check it, export it, test with it.

How to write a chart
====================

A chart is a ``Chart`` of ``State`` and ``On`` objects. It asks, and never acts::

    from dataclasses import dataclass

    from statecharts import Chart, Effect, Machine, On, State, Timer

    @dataclass(frozen=True, slots=True)
    class LockClamp(Effect):
        "Close the clamp."

    PLACING = Timer("placing", "placing", "a carrier settles", seconds=2, lowest=0.1, highest=10)

    LOAD_PORT = Chart(
        id="load_port",
        title="Load port",
        reported=("carrier_arrived", "carrier_left"),
        states=(
            State("empty"),
            State("settling", timer=PLACING),
            State("clamped", enter=(LockClamp(),)),
        ),
        transitions=(
            On("carrier_arrived", "empty", to="settling"),
            On("placing_expired", "settling", to="clamped"),
            On("carrier_left", "settling", to="empty"),
            On("carrier_left", "clamped", to="empty"),
        ),
    )

    machine = Machine(LOAD_PORT)
    step = machine.step(machine.initial, "carrier_arrived")
    print(step.snapshot, *step.effects)  # <settling> Start(placing)

* **States** nest by ``children``; the first child is the initial one. ``parallel=True`` makes the
  children regions. ``enter`` and ``exit`` list what is asked for.
* **Order** within a step: exits from the inside out, then the transition's ``do``, then entries
  from the outside in. What must come before an exit effect needs a state of its own.
* **Transitions** are looked up from the innermost active state outwards, in the order declared; the
  first one whose guard holds is taken. ``to=None`` stays in the state; ``to=source`` exits and
  enters it again; a transition whose event is ``None`` is taken at once.
* **Timers** belong to states: ``State(timer=T7)`` starts T7 on entry and stops it on exit. When T7
  runs out, the event ``t7_expired`` comes; its transition must exit the state. The chart sees no
  number of seconds. Where a state that is left and one that is entered have the same timer,
  ``On(..., keep=T7)`` lets it run on: it is neither stopped nor started again.
* **Parameters**, ``Parameter(name, default, lowest, highest)``, are whole numbers that are chosen
  when the chart is bound: ``Machine(CHART, threshold=3)``. A chart that runs goes on with other
  values by ``step = other_machine.adopt(snapshot)``. A transition without an event whose guard
  holds under the new values is taken at once; in a system such a hop has the event ``ADOPTED``.
* **Variables** have the domain ``0..highest`` and are changed by ``Set`` and ``Increment``, which
  counts up to the highest value and stays there; guards compare them with numbers and parameters
  (``when="failures >= threshold"``). The bound is a number or the name of a parameter:
  ``Variable("failures", highest="threshold")``.
* **Events** are ``received`` (a peer may cause them at any time: each leaf inside ``total_in`` must
  answer each of them), ``local`` (calls) or ``reported`` (facts from the driver or another chart).
  Where no transition takes an event, ``step`` raises ``NotAllowedError``. Events carry nothing.
* **Charts are joined** in a ``System``: what one chart tells (``Tell("carrier_left")``) is an event
  of the chart that declares this name under ``reported``.

``statecharts.run`` runs a chart with trio: ``async with open_chart(machine, act) as running``. Its
timers come true, ``act(effect)`` does the other effects and gives the events that follow, and
``running.send("carrier_arrived")`` makes an event happen.

A program that is started again goes on where it was: ``machine.save(snapshot)`` gives plain JSON
values, and ``machine.restore(saved)`` the snapshot, or ``SavedError``. The timers that then run are
``machine.timers(snapshot)``. When the parameters have changed, ``machine.adopt`` it.

``lint`` refuses a chart that python-statemachine, XState and a reader would not understand in the
same way. It names the file and the place, and says what to write instead. ``dead_ends`` finds
states that are never left again, for a chart that should go on for ever; those that are meant stand
in ``Chart(ends=("closed",))``.

These features of python-statemachine are missing on purpose, because each is a trap there:

* callbacks, coroutines, convention methods: here an action is an object and is never called;
* delayed sends and ``invoke``: here a timer starts by an effect and expires by an event;
* event data: an event is only its name;
* wildcards, and internal transitions: ``to=None`` replaces them;
* history, and final states, which stop the engine for good;
* charts that inherit from charts;
* a start value: a step can begin from any snapshot, and ``machine.snapshot`` makes one of the
  active states, with their ancestors, and the values of the variables:
  ``machine.snapshot(["half_open", "ready"], [0])``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .declare import (
    ADOPTED,
    Action,
    Chart,
    Effect,
    Increment,
    On,
    Parameter,
    Set,
    Start,
    State,
    Stop,
    Tell,
    Timer,
    Variable,
)
from .machine import Machine, NotAllowedError, Snapshot, Step
from .native import ChartFaultError, native_class
from .router import Hop, Router, System, SystemSnapshot, SystemStep
from .saving import SavedError

if TYPE_CHECKING:
    from .linting import ChartError, Problem, check, dead_ends, lint
else:
    # Who runs charts that their package has linted needs none of these: imported when first named.
    def __getattr__(name: str) -> object:
        if name not in {"ChartError", "Problem", "check", "dead_ends", "lint"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found: object = getattr(import_module(f"{__name__}.linting"), name)
        globals()[name] = found
        return found


__all__ = [
    "ADOPTED",
    "Action",
    "Chart",
    "ChartError",
    "ChartFaultError",
    "Effect",
    "Hop",
    "Increment",
    "Machine",
    "NotAllowedError",
    "On",
    "Parameter",
    "Problem",
    "Router",
    "SavedError",
    "Set",
    "Snapshot",
    "Start",
    "State",
    "Step",
    "Stop",
    "System",
    "SystemSnapshot",
    "SystemStep",
    "Tell",
    "Timer",
    "Variable",
    "check",
    "dead_ends",
    "lint",
    "native_class",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
