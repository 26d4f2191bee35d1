"""The load port in real time: a loop that runs its timer and its effects.

    python load_port_loop.py

Type what happens, a line each: carrier_arrived, carrier_left, unclamp_requested.
"""

import queue
import sys
import threading
import time
from collections.abc import Callable

from load_port import LOAD_PORT

from statecharts import Effect, Machine, NotAllowedError, Start, Stop, Timer

# The next event, or None after so many seconds without one (None: wait as long as it takes).
NextEvent = Callable[[float | None], str | None]


def run(
    machine: Machine,
    next_event: NextEvent,
    act: Callable[[Effect], None],
    clock: Callable[[], float],
) -> None:
    """Run the chart until the event "end"."""
    snapshot, effects = machine.initial, machine.initial_effects
    ends: dict[Timer, float] = {}
    while True:
        for effect in effects:
            match effect:
                case Start(timer):
                    ends[timer] = clock() + timer.seconds
                case Stop(timer):
                    # Also when it has run out: its transition exits the state.
                    del ends[timer]
                case _:
                    act(effect)
        first = min(ends, key=ends.__getitem__, default=None)
        event = next_event(None if first is None else max(0.0, ends[first] - clock()))
        if event is None and first is not None and clock() >= ends[first]:
            event = first.expired
        effects = ()
        match event:
            case None:
                continue
            case "end":
                return
        try:
            snapshot, effects, _ = machine.step(snapshot, event)
            print(snapshot, flush=True)
        except NotAllowedError as error:
            print(error, flush=True)


def main() -> None:
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line.strip())
        lines.put("end")

    def next_event(timeout: float | None) -> str | None:
        try:
            return lines.get(timeout=timeout)
        except queue.Empty:
            return None

    threading.Thread(target=read, daemon=True).start()
    run(Machine(LOAD_PORT), next_event, print, time.monotonic)


if __name__ == "__main__":
    main()
