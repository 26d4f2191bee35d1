"""A tool to test hosts with: a load port with carrier, clamp and a robot, whose life is a chart.

python load_port_tool.py                check it, and tour it with a host over TCP
python load_port_tool.py draw FILE      draw it, in the language of the program dot
python load_port_tool.py serve 5000     be the tool: type what happens to it, a line each
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from hsms_engine import HsmsConnection, Message, open_hsms
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.fake.chart import Bindings, Takes, ToolChart
from hsms_engine.fake.model import Alarm, Event, Model, Report, Variable
from hsms_engine.fake.rules.stage import Stage
from hsms_engine.messages import S2F41, S2F42, S6F11, S6F12, read
from hsms_engine.secs2 import U1
from statecharts import (
    Chart,
    Effect,
    NotAllowedError,
    On,
    Router,
    State,
    System,
    Timer,
)
from statecharts.draw import draw
from statecharts.explore import (
    Alone,
    Always,
    CanAlwaysReach,
    Checker,
    Graph,
    Here,
    May,
    Sometimes,
    TimersOnly,
)
from statecharts.testgen import Tour, coverage, tours

# The chart: what happens, and what is asked for


@dataclass(frozen=True, slots=True)
class Clamp(Effect):
    closed: bool


@dataclass(frozen=True, slots=True)
class Dock(Effect):
    inside: bool


@dataclass(frozen=True, slots=True)
class Announce(Effect):
    """Send the event of this name to the host."""

    event: str


@dataclass(frozen=True, slots=True)
class Warn(Effect):
    """Set the alarm of the clamp, or clear it."""

    jammed: bool


CLAMPING = Timer("clamp_moves", "clamp", "the clamp moves", 1.0, 0.001, 60)
DOCKING = Timer("dock_moves", "dock", "the dock moves", 3.0, 0.001, 60)
ROBOT = Timer("robot_moves", "robot", "the robot moves a wafer", 2.0, 0.001, 60)

COMMANDS = {
    "CLAMP": "clamp_asked",
    "UNCLAMP": "unclamp_asked",
    "DOCK": "dock_asked",
    "UNDOCK": "undock_asked",
    "TAKE": "take_asked",
    "GIVE": "give_asked",
}

LOAD_PORT = Chart(
    id="load_port",
    title="Load port",
    local=tuple(COMMANDS.values()),
    reported=("carrier_placed", "carrier_removed", "clamp_jammed"),
    states=(
        State("empty"),
        State(
            "occupied",
            enter=(Announce("CarrierPlaced"),),
            exit=(Announce("CarrierRemoved"),),
            children=(
                State("placed"),
                State("clamping", timer=CLAMPING, enter=(Clamp(True),)),
                State("jammed", enter=(Clamp(False), Warn(True)), exit=(Warn(False),)),
                State("clamped"),
                State("docking", timer=DOCKING, enter=(Dock(True),)),
                State(
                    "docked",
                    children=(
                        State("complete", label="Complete: all wafers in the carrier"),
                        State("taking", timer=ROBOT, label="Robot takes a wafer"),
                        State("wafer_out", label="A wafer is out"),
                        State("giving", timer=ROBOT, label="Robot gives it back"),
                    ),
                ),
                State("undocking", timer=DOCKING, enter=(Dock(False),)),
                State("unclamping", timer=CLAMPING),
            ),
        ),
    ),
    transitions=(
        On("carrier_placed", "empty", to="occupied"),
        On("carrier_removed", "placed", to="empty"),
        On("clamp_asked", "placed", to="clamping"),
        On("clamp_moves_expired", "clamping", to="clamped", do=(Announce("Clamped"),)),
        On("clamp_jammed", "clamping", to="jammed"),
        On("clamp_asked", "jammed", to="clamping"),
        On("carrier_removed", "jammed", to="empty"),
        On("dock_asked", "clamped", to="docking"),
        On("dock_moves_expired", "docking", to="docked", do=(Announce("Docked"),)),
        On("take_asked", "complete", to="taking"),
        On("robot_moves_expired", "taking", to="wafer_out", do=(Announce("WaferTaken"),)),
        On("give_asked", "wafer_out", to="giving"),
        On("robot_moves_expired", "giving", to="complete", do=(Announce("WaferGiven"),)),
        On("undock_asked", "complete", to="undocking"),
        On("dock_moves_expired", "undocking", to="clamped", do=(Announce("Undocked"),)),
        On("unclamp_asked", "clamped", to="unclamping"),
        On(
            "clamp_moves_expired",
            "unclamping",
            to="placed",
            do=(Clamp(False), Announce("Unclamped")),
        ),
    ),
)

# The tool: what it has, and what chart and messages are to each other

NAMES = (
    "CarrierPlaced CarrierRemoved Clamped Unclamped Docked Undocked WaferTaken WaferGiven".split()
)
JAMMED = 7
MODEL = Model(
    mdln="LOADPORT",
    variables={
        1: Variable(1, U1(0), "ClampClosed", lowest=0, highest=1),
        2: Variable(2, U1(0), "DockInside", lowest=0, highest=1),
    },
    reports={1: Report(1, (1, 2))},
    events={100 + i: Event(100 + i, name, (1,)) for i, name in enumerate(NAMES)},
    alarms={JAMMED: Alarm(JAMMED, "the clamp is jammed")},
)


def clamp(tool: Stage, effect: Clamp) -> None:
    tool.model.set("ClampClosed", int(effect.closed))


def dock(tool: Stage, effect: Dock) -> None:
    tool.model.set("DockInside", int(effect.inside))


def announce(tool: Stage, effect: Announce) -> None:
    tool.event(effect.event)


def warn(tool: Stage, effect: Warn) -> None:
    tool.alarm(JAMMED, effect.jammed)


BINDINGS = Bindings(
    messages={f'S2F41 <L "{name}" _>': Takes(event) for name, event in COMMANDS.items()},
    effects={Clamp: clamp, Dock: dock, Announce: announce, Warn: warn},
)

# The proof: everything that may happen, in every order


class Port(TimersOnly):
    """What is there, beside the timers that run: a carrier, a closed clamp, a dock that is inside.

    People place a carrier on what is empty, and take one that is not clamped, whenever they like.
    """

    def may(self, world: frozenset[str], event: str) -> May:
        match event:
            case "carrier_placed":
                return May.NEVER if "carrier" in world else May.ALWAYS
            case "carrier_removed":
                return May.ALWAYS if "carrier" in world and "clamp" not in world else May.NEVER
            case _:
                return super().may(world, event)

    def after(self, world: frozenset[str], event: str, effects: Iterable[Effect]) -> frozenset[str]:
        effects = tuple(effects)
        facts = set(super().after(world, event, effects))
        changes = {"carrier_placed": ("carrier", True), "carrier_removed": ("carrier", False)}
        asked = [changes[event]] if event in changes else []
        for effect in effects:
            match effect:
                case Clamp(closed):
                    asked.append(("clamp", closed))
                case Dock(inside):
                    asked.append(("dock", inside))
                case _:
                    pass
        for what, is_there in asked:
            (facts.add if is_there else facts.discard)(what)
        return frozenset(facts)


Place = Here[frozenset[str]]


def has(fact: str) -> Callable[[Place], bool]:
    return lambda place: fact in place.world


def has_no(fact: str) -> Callable[[Place], bool]:
    return lambda place: fact not in place.world


def is_in(state: str) -> Callable[[Place], bool]:
    return lambda place: state in place.snapshot


CLAIMS = (
    Always("clamp", "it is never clamped without a carrier", has("carrier"), given=has("clamp")),
    Always("dock", "a carrier in the dock is always clamped", has("clamp"), given=has("dock")),
    Always("robot", "the robot moves only in a dock that is inside", has("dock"), is_in("docked")),
    Always("hands", "a carrier that is placed can be taken away", has_no("clamp"), is_in("placed")),
    Sometimes("hand-off", "a robot can take a wafer", is_in("wafer_out")),
    CanAlwaysReach("empty", "it can always be empty again", is_in("empty")),
)


def search() -> Graph[Place, Place]:
    """Every state of the chart and of what is there."""
    router = Router(System(LOAD_PORT.id, LOAD_PORT.title, (LOAD_PORT,)))
    return Graph(Alone(router, Port(*LOAD_PORT.events)))


# The tour: over every edge, with a host over TCP


# Timers run out when it is their turn in the tour.
LONG = {timer.id: timer.highest for timer in LOAD_PORT.timers}


async def next_event(host: HsmsConnection) -> str:
    """The name of the next event that the tool sends; alarms are only acknowledged."""
    async for primary in host:
        match read(primary):
            case S6F11(ceid=ceid):
                await host.reply(primary, S6F12(0))
                return MODEL.events[ceid].name
            case _:
                await host.reply(primary, Message(primary.stream, primary.function + 1))
    raise EOFError("the tool has closed the connection")


async def walk(
    graph: Graph[Place, Place], tour: Tour, tool: FakeEquipment, host: HsmsConnection
) -> int:
    """Make each move of the tour, and see that the tool and its host do as the chart says.

    Wherever it comes by for the first time, the host also gives every command that is refused
    there. Returns how many these were.
    """
    commands = {event: name for name, event in COMMANDS.items()}
    timers = {timer.expired: timer for timer in LOAD_PORT.timers}
    here = graph.states[0].snapshot[LOAD_PORT.id]
    seen: set[str] = set()
    refused = 0
    for move, number in tour:
        if here.leaves not in seen:
            seen.add(here.leaves)
            for event, name in commands.items():
                if not here.machine.takes(here, event):
                    assert await host.request(S2F41(name)) == S2F42(2), (here, name)
                    refused += 1
        there = graph.states[number].snapshot[LOAD_PORT.id]
        if move.event in commands:
            assert await host.request(S2F41(commands[move.event])) == S2F42(0), (here, move)
        elif move.event in timers:
            tool.chart.retime(timers[move.event], timers[move.event].lowest)
            await tool.chart.until(there.leaves)
        else:
            tool.chart.send(move.event)
        for effect in move.effects:
            if isinstance(effect, Announce):
                assert await next_event(host) == effect.event, (here, move)
        assert tool.chart.snapshot == there, (here, move)
        here = there
    return refused


async def check() -> None:
    graph = search()
    print(*Checker(graph).check(CLAIMS), graph.statistics(), sep="\n")
    (tour,) = tours(graph)
    patient = ToolChart(LOAD_PORT, BINDINGS, seconds=LONG)
    async with trio.open_nursery() as nursery:
        tool: FakeEquipment = await nursery.start(partial(serve_fake, tool=MODEL, chart=patient))
        async with open_hsms(tool.host, tool.port) as host:
            refused = await walk(graph, tour, tool, host)
        await tool.aclose()
    done, all_of_them = coverage(graph, [tour])
    print(f"toured over TCP: {done} of {all_of_them} edges in {len(tour)} steps")
    print(f"{refused} commands were refused where the chart does not take them")


async def serve(port: int) -> None:
    async with trio.open_nursery() as nursery:
        tool: FakeEquipment = await nursery.start(
            partial(serve_fake, tool=MODEL, chart=LOAD_PORT, bindings=BINDINGS, port=port)
        )
        print(f"listening on {tool.host}:{tool.port}", flush=True)
        async for line in trio.wrap_file(sys.stdin):
            try:
                tool.chart.send(line.strip())
            except NotAllowedError as error:
                print(error, flush=True)
        await tool.aclose()


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            trio.run(check)
        case ["draw", file]:
            Path(file).write_text(draw(LOAD_PORT), encoding="utf-8")
        case ["serve", port]:
            trio.run(serve, int(port))
        case _:
            sys.exit(__doc__)
