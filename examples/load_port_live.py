"""The load port in real time, with trio.

    python load_port_live.py

Type what happens, a line each: carrier_arrived, carrier_left, unclamp_requested.
"""

import sys
from collections.abc import AsyncIterable

import trio
from load_port import LOAD_PORT

from statecharts import Effect, Machine, NotAllowedError, Snapshot, Step
from statecharts.run import open_chart


def act(effect: Effect) -> None:
    """Do what the chart asks for. The event that follows from it would be given back."""
    print(effect, flush=True)


def show(event: str, before: Snapshot, step: Step) -> None:
    print(f"{event}: {before} -> {step.snapshot}", flush=True)


async def run(lines: AsyncIterable[str], seconds: dict[str, float]) -> None:
    async with open_chart(Machine(LOAD_PORT), act, seconds=seconds, watch=show) as running:
        async for line in lines:
            try:
                running.send(line.strip())
            except NotAllowedError as error:
                print(error, flush=True)


if __name__ == "__main__":
    trio.run(run, trio.wrap_file(sys.stdin), {"settle": 3.0})
