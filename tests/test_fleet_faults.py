"""A fleet whose processes come, go, die and are cut off at random: what holds all the same."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import trio

from hsms_engine import HsmsError, LeaseError, Message
from hsms_engine.fleet import Gap, Published, fleet_stream, open_fleet_client
from hsms_engine.secs2 import U4
from tests.support.leaks import leak_check, no_task_left
from tests.support.shop import LENGTH, FaultyStore, Process, Shop, shop
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

TOOLS = 6
ROUNDS = 12


class Life:
    """What happens to the processes, by chance, and what the tools and their callers do."""

    def __init__(self, floor: Shop, random: Random) -> None:
        self._floor = floor
        self._random = random
        self._started = 0
        self.said: dict[str, list[int]] = {name: [] for name in floor.tools}
        self.asked = 0
        self.answered = 0

    @property
    def _living(self) -> list[Process]:
        processes = self._floor.processes.values()
        return [each for each in processes if not each.ended.is_set() and each.fleet is not None]

    async def begin(self) -> None:
        self._started += 1
        await self._floor.process(f"p{self._started}")

    async def happen(self) -> None:
        """One thing that can happen."""
        living = self._living
        one = self._random.choice(living)
        match self._random.randrange(6):
            case 0 if len(living) < 4:
                await self.begin()
            case 1 if len(living) > 1:
                one.crash()
                await one.ended.wait()
            case 2 if len(living) > 1:
                one.is_there.drain(self._random.choice((0, 5, 20)))
            case 3:
                one.store.fail(LeaseError("away"))
                await trio.sleep(self._random.uniform(0, 2 * LENGTH))
                one.store.fail(None)
            case 4:
                for each in living:
                    each.store.fail(LeaseError("away"))
                await trio.sleep(self._random.uniform(0, 0.5 * LENGTH))
                for each in living:
                    each.store.fail(None)
            case _:
                pass
        await trio.sleep(self._random.uniform(0, LENGTH))

    async def say(self, name: str) -> None:
        """The tool sends what it has to say, numbered."""
        tool, number = self._floor.tools[name], 0
        while True:
            await trio.sleep(self._random.uniform(0, 2))
            if tool.connection is not None and tool.sessions:
                number += 1
                try:
                    await tool.connection.send(Message(6, 11, item=U4(number)))
                except HsmsError:
                    continue
                self.said[name].append(number)

    async def ask(self) -> None:
        """Commands that must not come twice, each with a number of its own."""
        store = FaultyStore(self._floor.store, self._floor.streams)
        async with open_fleet_client(store, streams=store.streams) as client:
            while True:
                await trio.sleep(self._random.uniform(0, 2))
                self.asked += 1
                name = self._random.choice([*self._floor.tools])
                command = Message(2, 41, wait=True, item=U4(self.asked))
                with trio.move_on_after(self._random.choice((1, 30))):
                    try:
                        await client.request(name, command)
                        self.answered += 1
                    except HsmsError:
                        pass


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_no_tool_has_two_hosts_and_nothing_comes_twice(seed: int) -> None:
    async with shop(TOOLS) as floor:
        life = Life(floor, Random(seed))
        await life.begin()
        await life.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.ask)
            for name in floor.tools:
                nursery.start_soon(life.say, name)
            for _ in range(ROUNDS):
                await life.happen()
            # When nothing more happens, each tool has an owner again.
            await floor.until_all_owned(4 * LENGTH)
            await trio.sleep(LENGTH)
            nursery.cancel_scope.cancel()
        assert life.answered > 0
        for name, tool in floor.tools.items():
            commands = Counter(each.body for each in tool.got if each.name == "S2F41")
            assert max(commands.values(), default=1) == 1
            await read_all(floor, name, life.said[name])


async def read_all(floor: Shop, name: str, said: list[int]) -> None:
    """What was said is read in order, once each, and nothing is missing without a gap."""
    read: list[int] = []
    gaps = 0
    async with fleet_stream(floor.store, name, streams=floor.streams) as stream:
        with trio.move_on_after(1):
            while True:
                match await anext(stream):
                    case Published(message=message):
                        [number] = message.item.values  # type: ignore[union-attr]  # a U4
                        read.append(number)
                    case Gap():
                        gaps += 1
                    case other:
                        raise AssertionError(other)
    assert max(Counter(read).values(), default=1) == 1
    assert {*read} <= {*said} | {max(said, default=0) + 1}
    assert gaps or {*said} <= {*read}
