"""The load port of the cookbook: its page is true, its proof and tour find what is wrong."""

from __future__ import annotations

import dataclasses
import os
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import open_hsms
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.fake.chart import Bindings, Takes, ToolChart
from hsms_engine.messages import S2F41, S2F42, S6F11, S6F12, read
from statecharts import Chart, On, State, dead_ends
from statecharts.explore import BrokenModelError, Checker, Outcome
from statecharts.testgen import tours
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "load_port_tool.py"
BOOK = ROOT / "docs" / "cookbook"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def test_it_prints_what_its_page_shows() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    page = (BOOK / "tool.md").read_text(encoding="utf-8")
    (shown,) = re.findall(
        r"^\$ python load_port_tool\.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    assert (done.stdout, done.stderr) == (shown, "")


def test_the_picture_is_of_this_chart(tmp_path: Path) -> None:
    file = tmp_path / "drawn.dot"
    subprocess.run([sys.executable, EXAMPLE, "draw", file], env=ENVIRONMENT, check=True)
    drawn = (BOOK / "load_port_tool.dot").read_text(encoding="utf-8")
    assert file.read_text(encoding="utf-8") == drawn
    # The numbers of the picture depend on dot and its fonts, its words do not.
    picture = (BOOK / "load_port_tool.svg").read_text(encoding="utf-8")
    for word in ("Empty", "Jammed", "carrier placed", "Announce(Docked)", "A wafer is out"):
        assert word in picture


def test_other_words_are_answered_with_how_it_is_called() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, "tour"],
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "python load_port_tool.py draw FILE" in done.stderr


# The tool in a process of its own


async def test_a_host_here_works_with_the_tool_in_another_process() -> None:
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            [sys.executable, EXAMPLE, "serve", "0"],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            told = await line_of(process.stdout)
            port = int(told.removeprefix("listening on 127.0.0.1:"))
            async with open_hsms("127.0.0.1", port) as host:
                assert await host.request(S2F41("CLAMP")) == S2F42(2)
                await process.stdin.send_all(b"carrier_placed\n")
                assert await next_event(host) == 100
                assert await host.request(S2F41("CLAMP")) == S2F42(0)
                assert await host.request(S2F41("CLAMP")) == S2F42(2)
            await process.stdin.send_all(b"carrier_placed\n")
            assert "load_port does not take 'carrier_placed'" in await line_of(process.stdout)
            await process.stdin.aclose()
            assert await process.wait() == 0
            await process.stdout.aclose()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def line_of(stream: trio.abc.ReceiveStream) -> str:
    read = b""
    while not read.endswith(b"\n"):
        more = await stream.receive_some(1)
        assert more, f"it ended after {read!r}"
        read += more
    return read.decode().rstrip()


async def next_event(host: Any) -> int:
    async for primary in host:
        match read(primary):
            case S6F11(ceid=int(ceid)):
                await host.reply(primary, S6F12(0))
                return ceid
            case other:
                raise AssertionError(other)
    raise AssertionError("separated")


# What is wrong is found


def without(chart: Chart, transition: str) -> Chart:
    kept = tuple(on for on in chart.transitions if str(on) != transition)
    assert len(kept) == len(chart.transitions) - 1
    return dataclasses.replace(chart, transitions=kept)


def failed(example: dict[str, Any], chart: Chart) -> set[str]:
    """The claims that do not hold of another chart."""
    example["search"].__globals__["LOAD_PORT"] = chart
    verdicts = Checker(example["search"]()).check(example["CLAIMS"])
    return {each.name for each in verdicts if each.outcome is not Outcome.HELD}


def test_the_proof_finds_a_clamp_that_stays_closed(example: dict[str, Any]) -> None:
    chart = example["LOAD_PORT"]
    transitions = tuple(
        dataclasses.replace(on, do=()) if on.source == "unclamping" else on
        for on in chart.transitions
    )
    assert failed(example, dataclasses.replace(chart, transitions=transitions)) == {"hands"}


def test_the_proof_finds_a_clamp_that_closes_on_nothing(example: dict[str, Any]) -> None:
    chart = example["LOAD_PORT"]
    empty, *others = chart.states
    closed = dataclasses.replace(empty, exit=(), enter=(example["Clamp"](True),))
    assert "clamp" in failed(example, dataclasses.replace(chart, states=(closed, *others)))


def test_the_proof_finds_a_carrier_that_nobody_misses(example: dict[str, Any]) -> None:
    chart = without(example["LOAD_PORT"], "jammed: carrier_removed -> empty")
    with pytest.raises(BrokenModelError, match="carrier_removed"):
        failed(example, chart)


def test_the_proof_finds_an_undocking_without_a_way_on(example: dict[str, Any]) -> None:
    chart = without(example["LOAD_PORT"], "wafer_out: give_asked -> giving")
    chart = dataclasses.replace(
        chart,
        local=tuple(event for event in chart.local if event != "give_asked"),
        states=chart.states,
    )
    chart = dataclasses.replace(
        chart,
        transitions=(
            *(on for on in chart.transitions if on.source != "giving"),
            On("take_asked", "wafer_out"),
        ),
        states=tuple(_without_state(state, "giving") for state in chart.states),
    )
    assert failed(example, chart) == {"empty"}
    assert [each.place for each in dead_ends(chart)] == ["state wafer_out"]


def _without_state(state: State, id: str) -> State:
    kept = tuple(_without_state(child, id) for child in state.children if child.id != id)
    return dataclasses.replace(state, children=kept)


async def tour(example: dict[str, Any], **changes: Any) -> None:
    """Lead a tool that is changed along the tour of the chart that is not."""
    graph = example["search"]()
    async with trio.open_nursery() as nursery:
        given = {"chart": example["LOAD_PORT"], "bindings": example["BINDINGS"], **changes}
        chart = ToolChart(**given, seconds=example["LONG"])
        serve = partial(serve_fake, tool=example["MODEL"], chart=chart)
        tool: FakeEquipment = await nursery.start(serve)
        async with open_hsms(tool.host, tool.port) as host:
            for each in tours(graph):
                await example["walk"](graph, each, tool, host)
        await tool.aclose()


async def find(example: dict[str, Any], **changes: Any) -> AssertionError:
    with trio.fail_after(PATIENCE), pytest.raises(BaseExceptionGroup) as caught:
        await tour(example, **changes)
    (found,) = caught.value.split(AssertionError)[0].exceptions  # type: ignore[union-attr]
    assert isinstance(found, AssertionError)
    return found


async def test_the_tour_passes_as_it_is(example: dict[str, Any]) -> None:
    with trio.fail_after(PATIENCE):
        await tour(example)


async def test_the_tour_finds_a_command_that_is_taken_where_it_should_not_be(
    example: dict[str, Any],
) -> None:
    chart = example["LOAD_PORT"]
    more = On("dock_asked", "placed", to="docking")
    changed = dataclasses.replace(chart, transitions=(*chart.transitions, more))
    # The tool takes what the chart of the tour does not.
    assert "'DOCK'" in str(await find(example, chart=changed))


async def test_the_tour_finds_another_answer_and_another_event(example: dict[str, Any]) -> None:
    bindings = example["BINDINGS"]
    four = Takes("clamp_asked", accepted="S2F42 <L <B 4> <L>>")
    messages = {**bindings.messages, 'S2F41 <L "CLAMP" _>': four}
    await find(example, bindings=dataclasses.replace(bindings, messages=messages))

    def announce(tool: Any, effect: Any) -> None:
        tool.event("Undocked" if effect.event == "Docked" else effect.event)

    effects = {**bindings.effects, example["Announce"]: announce}
    assert isinstance(bindings, Bindings)
    await find(example, bindings=dataclasses.replace(bindings, effects=effects))
