"""A load port: your own chart, run, drawn, checked and tested in forty lines."""

from dataclasses import dataclass

from statecharts import Chart, Effect, Machine, On, State, Timer
from statecharts.draw import draw
from statecharts.explore import Always, CanAlwaysReach, Checker, Graph, alone
from statecharts.testgen import MachineSubject, drive, tours


@dataclass(frozen=True, slots=True)
class Clamp(Effect):
    closed: bool


SETTLE = Timer("settle", "settling time", "a carrier settles", seconds=2, lowest=0.1, highest=10)
LOAD_PORT = Chart(
    id="load_port",
    title="Load port",
    local=("unclamp_requested",),
    reported=("carrier_arrived", "carrier_left"),
    states=(
        State("empty"),
        State("settling", timer=SETTLE),
        State("clamped", enter=(Clamp(True),), exit=(Clamp(False),)),
        State("finished"),
    ),
    transitions=(
        On("carrier_arrived", "empty", to="settling"),
        On("settle_expired", "settling", to="clamped"),
        On("carrier_left", "settling", to="empty"),
        On("unclamp_requested", "clamped", to="finished"),
        On("carrier_left", "finished", to="empty"),
    ),
)
CLAIMS = (
    Always("timer", "runs while settling", lambda s: ("settling" in s.snapshot) == bool(s.world)),
    CanAlwaysReach("comes back", "it can be empty again", lambda s: "empty" in s.snapshot),
)

if __name__ == "__main__":
    machine = Machine(LOAD_PORT)
    print(machine.step(machine.initial, "carrier_arrived").effects)
    graph = Graph(alone(machine))
    print(*Checker(graph).check(CLAIMS), graph.statistics(), draw(LOAD_PORT), sep="\n")
    print(*(drive(graph, tour, MachineSubject(machine)) or "as it should" for tour in tours(graph)))
