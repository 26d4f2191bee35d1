"""The demo tells its story, and a story that goes otherwise ends it with exit code 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import HsmsError, HsmsLink, Message, Settings, demo, open_link
from hsms_engine.driver.tcp import connect_tcp
from hsms_engine.fake import serve_fake
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent

# What a reader is to see, in this order.
STORY = (
    "a fake equipment listens on",
    "select_rsp_accepted",
    "S1F13 is answered: S1F14",
    "the equipment reports: S6F11",
    "and again, having had S6F12: S6F11",
    "1000 round trips of S1F1",
    "the breaker's threshold is now: 3",
    "the equipment is killed, and ends with: -9",
    "attempts until the breaker opened: 3",
    "request: LinkDownError in",
    "connect: CircuitOpenError in",
    "attempts these calls have caused: 0",
    "attempts that reached the port: 3",
    "the equipment is back",
    "open_time_expired",
    "probes: 1",
    "S1F13 is answered: S1F14",
    "close_requested",
    "connections the equipment saw: 1",
    "the equipment is told to end, and ends with: 0",
)


def test_the_demo_tells_the_whole_story_and_ends_well(tmp_path: Path) -> None:
    # Neither of its two processes needs what the command line needs.
    (tmp_path / "typer.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "hsms_engine.demo"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == "elapsed what happened chart state breaker state".split()
    assert lines[-1] == "demo: ok"
    rest = iter(lines)
    for step in STORY:
        assert any(step in line for line in rest), f"{step!r} is missing, or out of order"
    # Each line has both states: the breaker opens with the third failure and not before.
    failures = [line.split()[-2:] for line in lines if line.split()[1:2] == ["tcp_closed"]][1:4]
    assert failures == [["waiting", "breaker_closed"]] * 2 + [["waiting", "breaker_open"]]


async def test_the_equipment_of_a_demo_that_is_gone_ends_too() -> None:
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "hsms_engine.demo", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        port = json.loads(await process.stdout.receive_some())["port"]
        await process.stdout.aclose()
        # The first event that nobody hears of.
        stream = await connect_tcp(demo.HOST, port)
        assert await process.wait() == 0
        stream.close()
        assert b"".join([each async for each in process.stderr]) == b""
        await process.stderr.aclose()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The demo in this process, its servers in theirs."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    return monkeypatch


def test_a_threshold_that_does_not_change_is_noticed(
    here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure = HsmsLink.configure

    def forgetful(link: HsmsLink, settings: Settings | None = None, **changes: Any) -> None:
        changes.pop("breaker_threshold", None)
        configure(link, settings, **changes)

    here.setattr(HsmsLink, "configure", forgetful)
    here.setattr(demo, "ROUND_TRIPS", 1)
    assert demo.main() == 1
    out, errors = capsys.readouterr()
    assert errors == (
        "demo: WRONG: configure(): the breaker's threshold is now: expected 3, seen 5\n"
    )
    assert "demo: ok" not in out


def _wrong() -> None:
    raise HsmsError("it broke")


def _unread() -> None:
    raise BrokenPipeError


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (trio.sleep_forever, "demo: WRONG: no end within 0.01 s\n"),
        (_wrong, "demo: WRONG: it broke\n"),
        (_unread, ""),
    ],
)
def test_a_story_that_breaks_or_never_ends_is_wrong(
    happens: Callable[[], Any],
    told: str,
    here: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def demonstrate(_: demo.Timeline) -> None:
        await happens()

    here.setattr(demo, "demonstrate", demonstrate)
    here.setattr(demo, "PATIENCE", 0.01)
    assert demo.main() == 1
    assert capsys.readouterr().err == told


async def test_a_call_that_should_be_refused_and_is_not_is_wrong() -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            equipment = await nursery.start(serve_fake)
            async with open_link(Settings(port=equipment.port)) as link:
                await link.wait_selected()
                with pytest.raises(demo.WrongStepError, match="seen to succeed"):
                    await demo.refused(demo.Timeline(), link)
            await equipment.aclose()


async def test_events_that_cannot_be_answered_or_counted_do_not_end_the_host() -> None:
    send, arrived = trio.open_memory_channel[str](1)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_fake, events=0.001)
            equipment = await nursery.start(serve)
            async with open_link(Settings(port=equipment.port)) as link:
                await link.wait_selected()
                # It wants no reply, so that the attempt to give one fails.
                await equipment.send(Message(6, 3))
                nursery.start_soon(demo.answer_events, link, send)
                # More than the channel holds.
                await equipment.until(lambda: equipment.counts["acknowledged"] >= 3)
            assert await arrived.receive() == "S6F11"
            await equipment.aclose()
