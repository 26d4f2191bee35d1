"""A host starts up, sets the shipped tool up and runs a lot: ours, and secsgem's, as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from hsms_engine import Settings
from hsms_engine.fake import FakeEquipment, serve_fake
from tests.support.hosts import PROGRAM
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent

# By name, with the code of its reply.
ACKNOWLEDGED = [
    ["S1F13", 0],
    # It is on-line already.
    ["S1F17", 2],
    ["S2F31", 0],
    ["S2F37", 0],
    ["S2F33", 0],
    ["S2F33", 0],
    ["S2F35", 0],
    ["S2F37", 0],
    ["S2F41", 0],
    ["S2F41", 4],
]
EVENTS = [
    ["LotStarted", {"PPExecName": PROGRAM, "WaferCount": 0}],
    ["WaferMeasured", {"PPExecName": PROGRAM, "WaferCount": 1}],
    ["LotFinished", {"PPExecName": PROGRAM, "WaferCount": 1}],
]


def count(tool: FakeEquipment, name: str) -> int:
    """How many messages of this name the tool has received."""
    return sum(each.name == name for each in tool.received)


@pytest.mark.parametrize("host", ["ours", "of_secsgem"])
async def test_a_host_sets_the_shipped_tool_up_and_runs_a_lot(host: str) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            tool = await nursery.start(partial(serve_fake, Settings(port=0)))
            done = await trio.run_process(
                [sys.executable, "-m", f"tests.support.hosts.{host}", str(tool.port)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
            )
            await tool.until(lambda: count(tool, "S6F12") == len(EVENTS))
            await tool.aclose()
    told = json.loads(done.stdout)
    assert told == {"acknowledged": ACKNOWLEDGED, "events": EVENTS}
