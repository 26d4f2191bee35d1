"""``hsms-engine run``: what it prints, its exit codes, the file for JUnit; the page of scenarios.

The host talks to a fake equipment over TCP; a side that listens has its peer in memory.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import trio

from hsms_engine import (
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    Message,
    Settings,
    cli,
    open_hsms,
    server,
)
from hsms_engine.cli import run as program
from hsms_engine.cli.command import CommandError
from hsms_engine.logs import LINK
from hsms_engine.process import Process
from hsms_engine.pytest_plugin import FakeEquipments
from hsms_engine.scenario import parse_scenario
from hsms_engine.secs2 import U4, A, B, L
from tests.support.network import closed_port
from tests.support.pair import MemoryListener, server_end
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
# A time that is meant to pass, in seconds.
SHORT = "0.05"

PAGE = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TOML = [text for kind, text in BLOCKS if kind == "toml"]
TEXT = [text for kind, text in BLOCKS if kind == "text"]

ABOUT = L(A("ETCHER"), A("7.1"))


def tool(message: Message) -> Message | None:
    """What the fake equipment answers here."""
    match message.name:
        case "S1F1":
            return Message(1, 2, item=ABOUT)
        case "S1F3":
            return Message(1, 4, item=L(U4(0), U4(0)))
        case "S1F13":
            return Message(1, 14, item=L(B(0), ABOUT))
        case "S2F31":
            return Message(2, 32, item=B(0))
        case "S2F25":
            return Message(2, 26, body=message.body)
        case _:
            return None


START_UP = """
[[step]]
name = "communicate"
send = 'S1F13 W <L [0]>'
expect = 'S1F14 <L [2] <B 0> $about>'

[[step]]
repeat = 2
steps = [{send = 'S2F25 W <B 7>', expect = 'S2F26 <B 7>'}]

[[step]]
save = {model = '$about.1'}
"""
PRINTED = [
    "1 communicate: send S1F13, expect S1F14: ok",
    "2 repeat 2 times",
    "2.1, round 1: send S2F25, expect S2F26: ok",
    "2.1, round 2: send S2F25, expect S2F26: ok",
    "2 repeat 2 times: ok",
    "3 save model: ok",
]


@pytest.fixture
def start_up(tmp_path: Path) -> Path:
    return written(tmp_path, START_UP)


def written(folder: Path, text: str) -> Path:
    file = folder / "start-up.toml"
    file.write_text(text, encoding="utf-8")
    return file


def without_seconds(text: str) -> list[str]:
    return [line.rpartition(", ")[0] if line.endswith(" s") else line for line in text.splitlines()]


def objects(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        # A problem of a file has no time, and neither has the error that ends the program.
        if each.get("event", "error") != "error":
            assert datetime.fromisoformat(each.pop("at")).tzinfo is not None
    return found


def test_a_host_is_played_against_a_fake_equipment(
    start_up: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    port = fake_equipments(answer=tool).port
    assert cli.main(["run", str(start_up), HOST, str(port)]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    assert without_seconds(out) == [
        f"// selected: {HOST}:{port}",
        *PRINTED,
        "// start-up: passed, 3 steps",
    ]


def test_the_same_as_objects(
    start_up: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    port = fake_equipments(answer=tool).port
    assert cli.main(["run", str(start_up), HOST, str(port), "--json"]) == 0
    told = objects(capsys.readouterr().out)
    assert [each["event"] for each in told] == [
        "selected",
        "passed",
        "began",
        *["passed"] * 4,
        "passed all",
    ]
    assert told[1] | {"seconds": 0} == {
        "event": "passed",
        "step": "1",
        "rounds": [],
        "name": "communicate",
        "what": "send S1F13, expect S1F14",
        "place": f"{start_up}:2",
        "seconds": 0,
    }
    assert told[4]["rounds"] == [2]


DIFFERS = """
[[step]]
send = 'S1F1 W'
expect = 'S1F2 <L [2] <A "ETCHER"> <A "8.0">>'
[[step]]
wait = 1
"""


def test_a_difference_is_a_diff_and_an_exit_code(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    file, port = written(tmp_path, DIFFERS), fake_equipments(answer=tool).port
    report = tmp_path / "report.xml"
    assert cli.main(["run", str(file), HOST, str(port), "--junit", str(report)]) == 1
    out, errors = capsys.readouterr()
    problem = 'the reply differs at [2]: expected <A "8.0">, found <A "7.1">'
    assert out.splitlines()[1:8] == [
        f"1 send S1F1, expect S1F2: FAILED: {problem}",
        "  S1F2",
        "  <L [2]",
        '    <A "ETCHER">',
        '-   <A "8.0">',
        '+   <A "7.1">',
        "  >",
    ]
    assert errors == (f"hsms-engine run: step 1 ({file}:2), send S1F1, expect S1F2: {problem}\n")
    [suite] = ET.parse(report).getroot()
    assert [[each.tag for each in case] for case in suite] == [[], ["failure"], ["skipped"]]


def test_a_difference_as_objects(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    file, port = written(tmp_path, DIFFERS), fake_equipments(answer=tool).port
    assert cli.main(["run", str(file), HOST, str(port), "--json"]) == 1
    _, failed, error = objects(capsys.readouterr().out)
    assert failed["event"] == "failed"
    assert (failed["step"], failed["path"]) == ("1", "[2]")
    assert (failed["expected"], failed["found"]) == ('<A "8.0">', '<A "7.1">')
    assert failed["diff"][3:5] == ['-   <A "8.0">', '+   <A "7.1">']
    assert error["event"] == "error"
    assert error["exit_code"] == 1


def test_a_step_that_fails_otherwise_as_objects(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    file, port = (
        written(tmp_path, f"[[step]]\nexpect = 'S6F11'\nwithin = {SHORT}"),
        fake_equipments(answer=tool).port,
    )
    assert cli.main(["run", str(file), HOST, str(port), "--json"]) == 1
    _, failed, _ = objects(capsys.readouterr().out)
    assert failed["problem"] == f"no S6F11 came within {SHORT} s"
    assert "diff" not in failed


@pytest.mark.parametrize("as_json", [False, True])
def test_check_only_reads_the_file(
    as_json: bool, start_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(start_up), "--check", *(["--json"] if as_json else [])]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    if as_json:
        assert objects(out) == [{"event": "checked", "file": str(start_up)}]
    else:
        assert out == f"// {start_up}: 3 steps\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_pattern_that_no_message_of_the_catalogue_matches_is_a_doubt(
    as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "[[step]]\nexpect = 'S6F11 W <L [2] _ _>'")
    assert cli.main(["run", str(file), "--check", *(["--json"] if as_json else [])]) == 0
    out = capsys.readouterr().out
    told = objects(out)[0]["doubt"] if as_json else out.splitlines()[0].removeprefix("// doubt: ")
    assert told.startswith(f"{file}:2:10: S6F11: E5 has 3 items")


def test_a_bad_file_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "[[step]]\nwait = 0\n[[step]]\nsend = 'S1F2'")
    assert cli.main(["run", str(file), "--check"]) == 2
    wait, send = capsys.readouterr().out.splitlines()
    assert wait == f"{file}:2:8: wait = 0 is not a number in 0.001..86400"
    assert send.startswith(f"{file}:4:8: S1F2 is a secondary")
    assert cli.main(["run", str(file), "--check", "--json"]) == 2
    assert objects(capsys.readouterr().out)[1] == {
        "file": str(file), "line": 4, "column": 8, "problem": send.partition("4:8: ")[2]
    }  # fmt: skip
    assert cli.main(["run", str(file)]) == 2
    assert capsys.readouterr().err == f"hsms-engine run: {wait}; {send}\n"


def test_nobody_listens(start_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port, report = closed_port(), tmp_path / "report.xml"
    assert cli.main(["run", str(start_up), HOST, str(port), "--junit", str(report)]) == 1
    assert "during TCP connect" in capsys.readouterr().err
    [suite] = ET.parse(report).getroot()
    assert [[each.tag for each in case] for case in suite] == [["error"], *[["skipped"]] * 4]


async def dialled(
    monkeypatch: pytest.MonkeyPatch, failures: int, within: float | None
) -> ConnectError | None:
    """Why a side has no connection that dials so often in vain; None: it has one."""
    attempts = 0

    async with server_end() as (_, listener):

        async def dial() -> trio.abc.Stream:
            nonlocal attempts
            attempts += 1
            if attempts <= failures:
                raise ConnectionRefusedError(111, "Connection refused")
            return await listener.dial()

        monkeypatch.setattr(program, "open_hsms", partial(open_hsms, dial=dial))
        output = program._Output(Process(), False)
        try:
            async with program._dialled(Settings(), within, None, output) as connection:
                assert connection.is_selected
                return None
        except ConnectError as error:
            return error
        finally:
            assert attempts == failures + (within == 20)


async def test_who_dials_may_wait_for_who_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await dialled(monkeypatch, 2, 20.0) is None
    assert trio.current_time() == 20.0
    [told] = capsys.readouterr().out.splitlines()
    assert told.startswith("// 127.0.0.1:5000: ")
    assert told.endswith("Connection refused; tried again every 10 s (T5)")


@pytest.mark.parametrize(("failures", "within"), [(1, None), (1, 9.0), (3, 29.0)])
async def test_but_no_longer_than_it_is_told(
    monkeypatch: pytest.MonkeyPatch, failures: int, within: float | None
) -> None:
    error = await dialled(monkeypatch, failures, within)
    assert str(error).endswith("Connection refused")
    assert trio.current_time() == 10.0 * (failures - 1)


async def test_what_fails_after_it_was_selected_is_not_dialled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with server_end() as (_, listener):
        monkeypatch.setattr(program, "open_hsms", partial(open_hsms, dial=listener.dial))
        failed = ConnectError("of the block", "told", "select")
        with pytest.raises(ConnectError) as caught:
            async with program._dialled(Settings(), 60.0, None, program._Output(Process(), False)):
                raise failed
        assert caught.value is failed
        assert listener.dialled == 1


def test_an_equipment_that_never_selects(
    start_up: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    port = fake_equipments("refuse-select=1").port
    assert cli.main(["run", str(start_up), HOST, str(port)]) == 1
    assert "Select" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_told_before_anything_is_sent(
    start_up: Path,
    tmp_path: Path,
    fake_equipments: FakeEquipments,
    capsys: pytest.CaptureFixture[str],
) -> None:
    equipment = fake_equipments(answer=tool)
    report = tmp_path / "none" / "report.xml"
    words = ["run", str(start_up), HOST, str(equipment.port), "--junit", str(report)]
    assert cli.main(words) == 1
    assert capsys.readouterr().err == (
        f"hsms-engine run: cannot write --junit {report}: No such file or directory\n"
    )
    assert equipment.counts["accepted"] == 0


def test_the_encoding_of_texts_is_that_of_the_file(
    start_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(start_up), "--text-encoding", "gbk"]) == 2
    assert "write it in [settings] there" in capsys.readouterr().err


def test_what_a_step_says_is_told_also_when_closing_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fake_equipments: FakeEquipments,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @asynccontextmanager
    async def opened(settings: Settings, **others: Any) -> AsyncIterator[HsmsConnection]:
        async with open_hsms(settings, **others) as connection:
            yield connection
        raise ConnectionLostError("9 bytes were not written", "not written")

    monkeypatch.setattr(program, "open_hsms", opened)
    good, port = written(tmp_path, "[[step]]\nwait = 0.001"), str(fake_equipments(answer=tool).port)
    assert cli.main(["run", str(good), HOST, port]) == 1
    assert capsys.readouterr().err == "hsms-engine run: 9 bytes were not written\n"
    assert cli.main(["run", str(written(tmp_path, DIFFERS)), HOST, port]) == 1
    assert "the reply differs" in capsys.readouterr().err


@ON_POSIX
def test_a_signal_stops_it_and_the_report_says_where(
    start_up: Path,
    tmp_path: Path,
    fake_equipments: FakeEquipments,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def answer(message: Message) -> Message | None:
        if message.function == 25:
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()
        return tool(message)

    equipment, report = fake_equipments(answer=answer), tmp_path / "report.xml"
    words = ["run", str(start_up), HOST, str(equipment.port), "--junit", str(report)]
    assert cli.main(words) == 130
    assert capsys.readouterr().out.endswith("\n// stopped in step 2.1\n")
    [suite] = ET.parse(report).getroot()
    assert [error.get("message") for error in suite.iter("error")] == ["it was stopped in step 2.1"]


# A side that listens

EQUIPMENT = """
[scenario]
role = "equipment"
[[step]]
expect = 'S1F13 W'
reply = 'S1F14 <L [2] <B 0> <L [0]>>'
"""


def listening(
    monkeypatch: pytest.MonkeyPatch, host: Callable[[MemoryListener], Awaitable[object]]
) -> None:
    """Let the program listen in memory, and ``host`` do what peers do."""
    served = server.serve_hsms

    async def serve(*given: Any, task_status: trio.TaskStatus[Any], **others: Any) -> None:
        listener = MemoryListener()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host, listener)
            await served(*given, listener=listener, task_status=task_status, **others)
            nursery.cancel_scope.cancel()

    monkeypatch.setattr(program, "serve_hsms", serve)


async def start_up_host(listener: MemoryListener) -> None:
    async with open_hsms("tool", 5000, dial=listener.dial) as connection:
        reply = await connection.request(Message.parse("S1F13 W <L [0]> ."))
        assert reply.name == "S1F14"
        await trio.sleep_forever()


@pytest.mark.parametrize("as_json", [False, True])
def test_an_equipment_is_played_for_a_host_that_comes(
    as_json: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listening(monkeypatch, start_up_host)
    file = written(tmp_path, EQUIPMENT)
    assert cli.main(["run", str(file), *(["--json"] if as_json else [])]) == 0
    out = capsys.readouterr().out
    if as_json:
        assert [each["event"] for each in objects(out)] == [
            "listening",
            "selected",
            "passed",
            "passed all",
        ]
    else:
        assert without_seconds(out) == [
            "// listening on memory",
            "// selected: memory peer 1",
            "1 expect S1F13, reply S1F14: ok",
            "// start-up: passed, 1 step",
        ]


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_unexpected_is_told_and_so_is_a_warning(
    as_json: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def talking(listener: MemoryListener) -> None:
        async with open_hsms("host", 5000, dial=listener.dial) as connection:
            LINK.warning("odd")
            reply = await connection.request(Message(10, 1, True, A("hello")))
            await connection.send(Message(6, 3, item=reply.item))
            await connection.send(Message(6, 13))
            await trio.sleep_forever()

    listening(monkeypatch, talking)
    file = written(tmp_path, "[[step]]\nexpect = 'S6F13'")
    assert cli.main(["run", str(file), "--listen", *(["--json"] if as_json else [])]) == 0
    out = capsys.readouterr().out
    if as_json:
        _, _, first, second, _, warning, _ = objects(out)
        assert first == {
            "event": "unexpected",
            "message": "S10F1",
            "sml": 'S10F1 W\n<A "hello"> .',
            "reply": "S10F2",
        }
        assert second["reply"] is None
        assert warning == {"event": "warning", "warning": "odd"}
    else:
        assert without_seconds(out)[2:] == [
            '// unexpected, answered with S10F2: S10F1 W <A "hello">',
            "// unexpected, no reply wanted: S6F3 <B 0x00>",
            "1 expect S6F13: ok",
            "// warning: odd",
            "// start-up: passed, 1 step",
        ]


async def nobody_selects(
    monkeypatch: pytest.MonkeyPatch, host: Callable[[MemoryListener], Awaitable[object]]
) -> str:
    """Why nobody is served, after a time that passes at once."""
    listening(monkeypatch, host)
    output = program._Output(Process(), False)
    with pytest.raises(CommandError) as caught:
        async with program._awaited(Settings(), 5.0, None, output):
            raise AssertionError("nobody has selected")
    assert trio.current_time() == 5.0
    return str(caught.value)


async def test_no_host_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(_: MemoryListener) -> None:
        await trio.sleep_forever()

    why = await nobody_selects(monkeypatch, nobody)
    assert why == "no peer has selected within 5 s on memory: 0 connections came"


async def test_a_host_that_never_selects(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def mute(listener: MemoryListener) -> None:
        peer = await listener.raw()
        await peer.close()
        await listener.raw()
        await trio.sleep_forever()

    why = await nobody_selects(monkeypatch, mute)
    assert why.startswith(
        "no peer has selected within 5 s on memory: 2 connections came, the last one that ended: "
        "memory peer 1: "
    )
    assert "// never selected: memory peer 1: " in capsys.readouterr().out


def test_the_option_for_that_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def nobody(_: MemoryListener) -> None:
        await trio.sleep_forever()

    listening(monkeypatch, nobody)
    file, report = written(tmp_path, EQUIPMENT), tmp_path / "report.xml"
    words = ["run", str(file), "--peer-within", SHORT, "--junit", str(report)]
    assert cli.main(words) == 1
    why = f"no peer has selected within {SHORT} s on memory: 0 connections came"
    assert capsys.readouterr().err == f"hsms-engine run: {why}\n"
    [suite] = ET.parse(report).getroot()
    assert [error.get("message") for error in suite.iter("error")] == [why]


def test_a_second_host_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one leaves, and fails the step; the other one is served by nobody."""

    async def two(listener: MemoryListener) -> None:
        async with open_hsms("tool", 5000, dial=listener.dial):
            pass
        async with open_hsms("tool", 5000, dial=listener.dial):
            await trio.sleep_forever()

    listening(monkeypatch, two)
    assert cli.main(["run", str(written(tmp_path, EQUIPMENT))]) == 1
    assert "the other side has separated, before S1F13 came" in capsys.readouterr().err


def test_a_host_may_listen_and_an_equipment_may_dial(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fake_equipments: FakeEquipments,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listening(monkeypatch, answering)
    assert cli.main(["run", str(written(tmp_path, DIFFERS)), "--listen"]) == 1
    assert capsys.readouterr().out.startswith("// listening on memory\n// selected: memory peer 1")
    file = written(tmp_path, "[scenario]\nrole = 'equipment'\n[[step]]\nsend = 'S6F3'")
    assert cli.main(["run", str(file), "--dial", HOST, str(fake_equipments(answer=tool).port)]) == 0


async def answering(listener: MemoryListener) -> None:
    async with open_hsms("host", 5000, dial=listener.dial) as connection:
        async for primary in connection:
            await connection.reply(primary, Message(1, 2))


def test_an_address_on_which_it_cannot_listen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fake_equipments: FakeEquipments
) -> None:
    port = fake_equipments(answer=tool).port
    assert cli.main(["run", str(written(tmp_path, EQUIPMENT)), HOST, str(port)]) == 1
    assert capsys.readouterr().err.startswith(f"hsms-engine run: cannot listen on {HOST}:{port}: ")


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "soon"])
def test_how_long_to_wait_for_a_peer_is_a_time(
    value: str, start_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(start_up), "--peer-within", value]) == 2
    assert f"{value!r} is not a number of seconds above 0" in capsys.readouterr().err


def test_as_a_process(start_up: Path, fake_equipments: FakeEquipments) -> None:
    port = fake_equipments(answer=tool).port
    done = subprocess.run(
        [sys.executable, "-m", "hsms_engine", "run", start_up, HOST, str(port)],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.endswith("// start-up: passed, 3 steps\n")


# Out of logs

LOG = """\
10:00:00.000 SEND S1F13 W SystemBytes=00000001
<L [0]>.
10:00:00.010 RECV S1F14 SystemBytes=00000001
<L [2] <B 0x00> <L [2] <A "ETCHER"> <A "7.1">>>.
10:00:00.020 SEND Linktest.req
10:00:01.000 SEND S2F25 W SystemBytes=00000002
<B 0x07>.
10:00:01.001 RECV S2F26 SystemBytes=00000002
<B 0x07>.
"""


def test_a_log_is_played_again(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "start-up.log"
    log.write_text(LOG, encoding="utf-8")
    assert cli.main(["sml", "from-log", "--scenario", "host", "--log-of", "host", str(log)]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    assert 'name = "start-up"' in out
    port = fake_equipments(answer=tool).port
    assert cli.main(["run", str(written(tmp_path, out)), HOST, str(port)]) == 0
    assert capsys.readouterr().out.endswith("// start-up: passed, 2 steps\n")


@pytest.mark.parametrize(
    ("log", "words", "code", "why"),
    [
        ("", ["--scenario", "host"], 1, "no scenario is made of {log}: there is no message"),
        (LOG, ["--scenario", "tool"], 2, "'tool' is neither host nor equipment"),
        (LOG, ["--scenario", "host", "--json"], 2, "--scenario writes TOML"),
        (LOG, ["--log-of", "host"], 2, "--log-of is for --scenario"),
    ],
)
def test_what_makes_no_scenario(
    log: str,
    words: list[str],
    code: int,
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "tool.log"
    file.write_text(log, encoding="utf-8")
    assert cli.main(["sml", "from-log", *words, str(file)]) == code
    out, errors = capsys.readouterr()
    assert why.format(log=file) in out + errors


def test_what_is_cut_in_a_log_is_told_and_the_rest_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tool.log"
    file.write_text(f"{LOG}RECV S6F11 W length=30\n", encoding="utf-8")
    assert cli.main(["sml", "from-log", "--scenario", "host", "--log-of", "host", str(file)]) == 1
    out, errors = capsys.readouterr()
    assert out.count("[[step]]") == 2
    assert "S6F11" in errors


# The page


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d{3} s", "... s", text)


def page_scenario(folder: Path) -> Path:
    return written(folder, TOML[0])


def test_the_scenario_of_the_page_prints_what_the_page_says(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    port = fake_equipments(answer=tool).port
    assert cli.main(["run", str(page_scenario(tmp_path)), HOST, str(port)]) == 0
    said = TEXT[0].replace("10.1.2.3:5000", f"{HOST}:{port}")
    assert without_times(capsys.readouterr().out) == without_times(said)


def test_it_can_be_played_against_the_tool_that_comes_with_the_package(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(page_scenario(tmp_path)), HOST, str(fake_equipments().port)]) == 0
    assert capsys.readouterr().err == ""


def test_its_difference_is_that_of_the_page(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    def timeless(message: Message) -> Message | None:
        return Message(2, 32, item=B(1)) if message.function == 31 else tool(message)

    port = fake_equipments(answer=timeless).port
    assert cli.main(["run", str(page_scenario(tmp_path)), HOST, str(port)]) == 1
    printed = capsys.readouterr().out.splitlines(keepends=True)
    assert without_times("".join(printed[2:])) == without_times(TEXT[1])


def test_the_two_sides_of_the_page_play_with_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def host(listener: MemoryListener) -> None:
        async with open_hsms("tool", 5000, dial=listener.dial) as connection:
            await connection.request(Message.parse("S1F13 W <L [0]> ."))
            started = Message.parse('S2F41 W <L [2] <A "START"> <L [0]>> .')
            await connection.request(started)
            event = await connection.receive()
            await connection.reply(event, Message(6, 12, item=B(0)))
            await trio.sleep_forever()

    listening(monkeypatch, host)
    scenario = parse_scenario(TOML[1])
    assert (scenario.role, scenario.peer_within, scenario.settings.t3) == ("equipment", 30, 20)
    file = written(tmp_path, TOML[1].replace("wait = 2.0", "wait = 0.001"))
    assert cli.main(["run", str(file)]) == 0
    assert capsys.readouterr().out.endswith("// start-up: passed, 4 steps\n")


def test_the_program_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [text] = [text for kind, text in BLOCKS if kind == "python"]
    exec(text, {})
    assert capsys.readouterr().out == TEXT[2]


def test_the_commands_of_the_page_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [line.split() for kind, text in BLOCKS if not kind for line in text.splitlines()]
    assert len(commands) == 3
    monkeypatch.chdir(tmp_path)
    for name, text in (("start-up.toml", TOML[0]), ("tool.toml", TOML[1]), ("tool.log", LOG)):
        Path(name).write_text(text, encoding="utf-8")
    for name, *words in commands:
        assert name == "hsms-engine"
        if words[0] == "run":
            assert cli.main([*words, "--check"]) == 0
        else:
            assert words[-2:] == [">", "start-up.toml"]
            assert cli.main([*words[:-2], "--log-of", "host"]) == 0
    capsys.readouterr()
