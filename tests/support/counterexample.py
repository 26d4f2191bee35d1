"""A counterexample as a pytest file, and the replay on the real driver that such a file calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from statecharts import System
from statecharts.explore import Trace
from statecharts.hsms import ACTIVE_LINK, OWNED_LINK, PASSIVE_LINK
from tests.support.driven import OF_TRAFFIC, driven, memory_pairs

# For each model, its ends by the names in their moves.
_MODELS: dict[str, dict[str, System]] = {
    "active_link": {"active_link": ACTIVE_LINK},
    "passive_link": {"passive_link": PASSIVE_LINK},
    "owned_link": {"owned_link": OWNED_LINK},
    "two_ends": {"active": ACTIVE_LINK, "passive": PASSIVE_LINK},
}
_OF_TRAFFIC = frozenset(str(effect) for effect in OF_TRAFFIC)


async def replay(
    model: str,
    steps: Sequence[tuple[str, str, Sequence[str]]],
    parameters: Mapping[str, Mapping[str, int]],
) -> None:
    """Make each end's events happen to a driver of its own, in this order.

    Raises `AssertionError` when a driver does something else. Two kinds of steps are skipped: those
    of the cable and of data messages, which are no events of a chart, and those of reading and
    writing, which the driver does by itself.
    """
    async with AsyncExitStack() as stack:
        ends = {
            name: await stack.enter_async_context(driven(system, memory_pairs, parameters))
            for name, system in _MODELS[model].items()
        }
        for number, (actor, event, effects) in enumerate(steps, start=1):
            if actor not in ends or not ends[actor].compares(event):
                continue
            found, _ = await ends[actor].take(event)
            asked = [str(each) for each in found]
            wanted = [each for each in effects if each not in _OF_TRAFFIC]
            assert asked == wanted, f"step {number}, {actor} {event}: asks for {asked}"


_TEST = '''"""{title}

Written by the checker from a counterexample. It passes when the fault in the charts is corrected.
"""

from tests.support.counterexample import replay
from tests.support.virtual import virtual_time as virtual_time

STEPS = [
{steps}
]


async def test_{name}() -> None:
    await replay({model!r}, STEPS, {parameters!r})
'''


def pytest_file(
    name: str,
    title: str,
    model: str,
    trace: Trace,
    parameters: Mapping[str, Mapping[str, int]],
) -> str:
    """The text of a pytest file that replays the trace.

    It gives each (actor, event, effects) to the real driver of this end in `model` and compares the
    effects, as text.
    """
    steps = "\n".join(
        f"    ({move.actor!r}, {move.event!r}, {[str(each) for each in move.effects]!r}),"
        for move in trace.moves
    )
    bound = {chart: dict(values) for chart, values in parameters.items()}
    return _TEST.format(name=name, title=title, model=model, steps=steps, parameters=bound)
