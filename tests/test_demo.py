"""The demo tells its story, and a story that goes otherwise ends it with exit code 1."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import HsmsError, HsmsLink, Message, Settings, demo, open_link
from hsms_engine.driver.tcp import connect_tcp, listen_tcp
from hsms_engine.fake import serve_fake
from hsms_engine.process import Process
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
    "the equipment is killed (-9), and ends well: False",
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
    (tmp_path / "typer.py").write_text("raise ImportError", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "hsms_engine.demo"],
        check=False,
        capture_output=True,
        encoding="utf-8",
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
        assert await process.wait() == 1
        stream.close()
        assert b"".join([each async for each in process.stderr]) == b""
        await process.stderr.aclose()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
async def test_a_signal_ends_the_demo_and_its_equipment(name: str) -> None:
    if sys.platform == "win32":
        pytest.skip("programs are told to end by other means there")
    number = signal.Signals[name]
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "hsms_engine.demo"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            # The shell that started the tests may ignore it.
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        told = b""
        while not (found := re.search(rb"listens on .*, process (\d+)", told)):
            told += await process.stdout.receive_some()
        process.send_signal(number)
        assert await process.wait() == 128 + number
        assert b"".join([each async for each in process.stderr]) == b""
        await process.stderr.aclose()
        await process.stdout.aclose()
        with pytest.raises(ProcessLookupError):
            os.kill(int(found[1]), 0)


@pytest.mark.parametrize("arguments", [[], ["0"]])
@pytest.mark.parametrize(
    ("redirection", "why"),
    [
        (">/dev/full", "No space left on device"),
        (">/dev/full 2>/dev/full", None),
        (">&-", "standard output is closed"),
    ],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has this device")
def test_a_demo_that_cannot_be_shown_says_so(
    redirection: str, why: str | None, arguments: list[str]
) -> None:
    words = [sys.executable, "-m", "hsms_engine.demo", *arguments]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *words],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    told = "" if why is None else f"demo: cannot write the output: {why}\n"
    assert (done.stdout, done.stderr) == ("", told)


async def test_the_equipment_of_the_demo_says_when_it_cannot_listen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listener = await listen_tcp(demo.HOST, 0)
    assert await trio.to_thread.run_sync(demo.main, str(listener.port)) == 1
    listener.close()
    assert capsys.readouterr().err == "demo: WRONG: [Errno 98] Address already in use\n"


def test_the_demo_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main("--help", "x") == 2
    assert capsys.readouterr().err == "demo: it takes no arguments, not '--help x'\n"


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


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (trio.sleep_forever, "demo: WRONG: no end within 0.01 s\n"),
        (_wrong, "demo: WRONG: it broke\n"),
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
                    await demo.refused(demo.Timeline(Process()), link)
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
                await equipment.until(lambda: equipment.counts["received"] >= 3)
            assert await arrived.receive() == "S6F11"
            await equipment.aclose()
