"""Tests of a host, with a simulated tool that answers, misbehaves and dies as each test says."""

import pytest
import trio

from hsms_engine import AbortedError, Message, Settings, open_hsms, open_link
from hsms_engine.messages import S1F1, S2F41, S2F42
from hsms_engine.secs2 import A


async def start_job(port: int, recipe: str) -> bool:
    """The host that is tested: does the tool take this job?"""
    async with open_hsms("127.0.0.1", port) as tool:
        reply = await tool.request(S2F41("START", {"PPID": recipe}))
        return reply == S2F42(0)


def test_a_job_is_started(fake_equipment):
    fake_equipment.answer(lambda message: S2F42(0) if message.name == "S2F41" else None)
    assert trio.run(start_job, fake_equipment.port, "ETCH-7")
    seen = fake_equipment.expect('S2F41 W <L [2] <A "START"> <L [1] <L [2] <A "PPID"> $ppid>>>')
    assert seen["ppid"] == A("ETCH-7")


def test_a_tool_that_is_busy_is_told_from_one_that_aborts(fake_equipment):
    fake_equipment.answer(lambda _: S2F42(2))
    assert not trio.run(start_job, fake_equipment.port, "ETCH-7")
    fake_equipment.answer(lambda message: Message(message.stream, 0))
    with pytest.raises(AbortedError):
        trio.run(start_job, fake_equipment.port, "ETCH-7")


def test_the_link_comes_back_after_a_power_cut(fake_equipment):
    async def host():
        settings = Settings(port=fake_equipment.port, t5=0.01, allow_short_timers=True)
        async with open_link(settings) as link:
            await link.wait_selected()
            fake_equipment.kill()
            fake_equipment.restart()
            # A call that waits would stop this loop, so it waits in a thread.
            await trio.to_thread.run_sync(
                fake_equipment.until, lambda: fake_equipment.counts["selected"] == 2
            )
            return await link.request(S1F1())

    assert trio.run(host).name == "S1F2"


def test_two_tools(fake_equipments):
    etcher, stepper = fake_equipments(), fake_equipments("delay-replies=0.01")
    for tool in (etcher, stepper):
        trio.run(start_job, tool.port, "ANY")
        tool.until(lambda tool=tool: tool.counts["ended"] == 1)
