"""Statecharts as data: declare a chart once; run it, draw it, check it, export it, test with it.

How to write a chart
====================

A chart is a ``Chart`` of ``State`` and ``On`` objects. It asks, and never acts::

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
    step.snapshot, step.effects      # <settling>, (Start(placing),)

* **States** nest by ``children``; the first child is the initial one. ``parallel=True`` makes the
  children regions. ``enter`` and ``exit`` list what is asked for.
* **Order** within a step: exits from the inside out, then the transition's ``do``, then entries
  from the outside in. What must come before an exit effect needs a state of its own.
* **Transitions** are looked up from the innermost active state outwards, in the order declared; the
  first whose guard holds is taken. ``to=None`` stays; ``to=source`` leaves and enters again; an
  event of ``None`` is taken at once.
* **Timers** belong to states: ``State(timer=T7)`` starts T7 on entry and stops it on exit. Its end
  is the event ``t7_expired``, which must leave the state. The chart sees no number of seconds.
* **Variables** have the domain ``0..highest`` and are changed by ``Set`` and ``Increment``; guards
  compare them with numbers and parameters (``when="failures >= threshold"``).
* **Events** are ``received`` (a peer may cause them at any time: total below ``total_in``),
  ``local`` (calls: ``NotAllowedError`` where none is declared) or ``reported``. They carry nothing.
* **Charts are joined** in a ``System``: what one tells (``Tell("carrier_left")``) is, by the same
  name, an event that another reports.

``lint`` refuses what would not mean the same to python-statemachine, XState and a reader: with the
file, the place, and what to write instead.

What is missing, since in python-statemachine it is a trap:

* callbacks, coroutines, convention methods: an action is an object and is never called;
* delayed sends and ``invoke``: time is an effect, and its end an event;
* event data: an event is its name;
* wildcards, and internal transitions: ``to=None`` does without;
* history, and final states, which stop the engine for good;
* charts that inherit from charts;
* a start value: a snapshot is where a chart goes on, and nothing is run to get there.
"""

from .declare import (
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
from .lint import ChartError, Problem, check, lint
from .machine import Machine, NotAllowedError, Snapshot, Step
from .native import ChartFaultError, native_class
from .router import Hop, Router, System, SystemSnapshot, SystemStep

__all__ = [
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
    "lint",
    "native_class",
]
