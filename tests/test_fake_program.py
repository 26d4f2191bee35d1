"""The program ``fake`` and its tool file: checked, listed, and taken again beneath a host."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hsms_engine import Message, Settings, cli, open_hsms
from hsms_engine.fake.file import ToolFile, read_tool_file
from hsms_engine.fake.program import Beside, run_fake
from hsms_engine.fake.rows import rows
from hsms_engine.messages import S1F1, S2F41
from hsms_engine.process import Process
from hsms_engine.secs2 import B, L
from tests.support.patience import PATIENCE

TOOL = """
[tool]
model = "ETCHER"

[variable.1001]
name = "Count"
value = '<U4 0>'
lowest = 0
highest = 9

[variable.1002]
source = "clock"
kind = "data"

[constant.2001]
name = "Limit"
units = "Pa"
value = '<F4 1.5>'

[report.1]
variables = ["Count"]

[event.101]
name = "Started"
reports = [1]

[event.102]
enabled = false

[alarm.5001]
text = "hot"
set_event = 101
clear_event = 102

[program.RECIPE]
body = '<A "step">'

[command.START]
answer = 4

[command.STOP]
parameters = ["LOT"]

[command.PPSELECT]
parameters = {PPID = {program = true, required = true, variable = "Count"}, SLOT = {}}

[[rule]]
name = "started"
event = 101
then = [{add = {Count = 1}}]

[[rule]]
on = 'S2F41 W <L [2] <A "GO"> $all>'
when = 'count > 1'
times = 5
reply = ['S2F42 <L [2] <B 4> <L <L [2] $all.1.1 <B 1>> ...$all>>', "none"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tool.toml"
    path.write_text(TOOL, encoding="utf-8")
    return path


def line_of(file: Path, more: str = "") -> Path:
    path = file.parent / "line.toml"
    path.write_text(
        f"[tools.A]\nfile = '{file.name}'\ncount = 2\n{more}",
        encoding="utf-8",
    )
    return path


class Running:
    """The program in this process: what it has told, and where it listens."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.ports: list[int] = []
        self._news = trio.Event()

    def report(self, event: str, details: Any) -> None:
        self.told.append((event, dict(details)))
        if event == "listening":
            self.ports.append(details["port"])
        news, self._news = self._news, trio.Event()
        news.set()

    async def until(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until this has been told so often; what was told of it last."""
        while len(found := [details for told, details in self.told if told == event]) < count:
            await self._news.wait()
        return found[-1]

    def hang_up(self) -> None:
        """As at SIGHUP."""
        self.process._take(signal.Signals["SIGHUP"])


@asynccontextmanager
async def running(
    file: Path, *, reload: bool = False, kind: type[Running] | None = None, **beside: Any
) -> AsyncIterator[Running]:
    this = (kind or Running)(Process())
    read = read_tool_file(file)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            run = partial(
                run_fake,
                this.process,
                Settings(port=0),
                Beside(**beside),
                file=read,
                reload=reload,
                report=this.report,
            )
            nursery.start_soon(run)
            await this.until("listening", len({each.port for each in read.tools}))
            # It has begun to hear signals.
            await trio.testing.wait_all_tasks_blocked()
            yield this
            this.process._take(signal.SIGTERM)
            await this.until("stopped")


def rewrite(file: Path, text: str) -> None:
    """Write a file that looks changed, also where the clock of files is coarse."""
    file.write_text(text, encoding="utf-8")
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000_000))


# Taken again


async def test_at_a_hangup_the_file_is_taken_and_the_link_stays(file: Path) -> None:
    async with running(file) as this, open_hsms("127.0.0.1", this.ports[0]) as host:
        rewrite(file, TOOL.replace("answer = 4", "answer = 2"))
        this.hang_up()
        await this.until("adopted")
        assert await host.request(S2F41("START")) == Message(2, 42, item=L(B(2), L()))


async def test_a_bad_file_leaves_the_old_one_in_force_and_all_problems_are_told(
    file: Path,
) -> None:
    async with running(file) as this, open_hsms("127.0.0.1", this.ports[0]) as host:
        rewrite(file, TOOL.replace("answer = 4", "answer = -1").replace("event = 101", "evnt = 1"))
        this.hang_up()
        await this.until("not adopted", 2)
        whys = [details["why"] for told, details in this.told if told == "not adopted"]
        assert all(str(file) in each for each in whys), whys
        assert await host.request(S2F41("START")) == Message(2, 42, item=L(B(4), L()))
        await trio.testing.wait_all_tasks_blocked()
        whys = [details["why"] for told, details in this.told if told == "not adopted"]
        file.unlink()  # noqa: ASYNC240  # nothing else runs
        this.hang_up()
        assert "tool.toml" in (await this.until("not adopted", len(whys) + 1))["why"]
        rewrite(file, "[event.1]\n")
        this.hang_up()
        with pytest.raises(ValueError, match="the tool has no alarm"):
            Beside(alarms=1.0).plans(read_tool_file(file), Settings())
        await this.until("adopted")
        assert (await host.request(S1F1())).name == "S1F2"


async def test_other_settings_and_other_ports_need_a_new_start(file: Path) -> None:
    line = line_of(file)
    async with running(line) as this:
        rewrite(line, line.read_text(encoding="utf-8") + "[settings]\nt3 = 9\n")
        this.hang_up()
        why = "not t3 of [settings]: that needs a new start"
        assert await this.until("adopted") == {"but": why}
        # As long as it is so.
        this.hang_up()
        assert await this.until("adopted", 2) == {"but": why}
        line_of(file, f"[tools.FAR]\nfile = '{file.name}'\nport = 5999\n")
        this.hang_up()
        assert "other ports need a new start" in (await this.until("not adopted"))["why"]
        line_of(file, f"[tools.NEAR]\nfile = '{file.name}'\nsession_id = 9\n")
        this.hang_up()
        assert "other tools" in (await this.until("not adopted", 2))["why"]


def test_a_file_that_changes_is_taken_where_it_is_looked_at(file: Path) -> None:
    # Sockets are of the system, time is not: so it jumps when this test lets it.
    clock = trio.testing.MockClock()

    async def main() -> None:
        async with running(file, reload=True) as this:
            clock.jump(1.5)
            await trio.testing.wait_all_tasks_blocked(0.01)
            rewrite(file, TOOL.replace("answer = 4", "answer = 2"))
            clock.jump(1.5)
            await this.until("adopted")
            rewrite(file, "[")
            clock.jump(1.5)
            await this.until("not adopted")
            clock.jump(1.5)
            await trio.testing.wait_all_tasks_blocked(0.01)
            # It is told once.
            assert [told for told, _ in this.told].count("not adopted") == 1

    trio.run(main, clock=clock)


@pytest.mark.parametrize("when", ["as it listens", "as it is read"])
def test_no_change_of_a_file_is_missed(
    file: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    # It moves only when it is told to, so that nothing is due while a file is written.
    clock = trio.testing.MockClock()
    changed = TOOL.replace("answer = 4", "answer = 2")
    reads: list[Path] = []

    def reading(name: Path) -> ToolFile:
        found = read_tool_file(name)
        if not reads:
            rewrite(file, changed)
        reads.append(name)
        return found

    class Hasty(Running):
        def report(self, event: str, details: Any) -> None:
            super().report(event, details)
            if event == "listening" and when == "as it listens":
                rewrite(file, changed)

    async def main() -> None:
        async with running(file, reload=True, kind=Hasty) as this:
            if when == "as it is read":
                monkeypatch.setattr("hsms_engine.fake.program.read_tool_file", reading)
                rewrite(file, TOOL + "\n")
            clock.jump(1.5)
            await this.until("adopted")
            if when == "as it is read":
                clock.jump(1.5)
                await this.until("adopted", 2)
            clock.jump(1.5)
            await trio.testing.wait_all_tasks_blocked(0.01)
            count = 1 if when == "as it listens" else 2
            assert [told for told, _ in this.told].count("adopted") == count

    trio.run(main, clock=clock)


def test_a_file_that_is_named_and_missing_may_come_later(file: Path) -> None:
    # It moves only when it is told to, so that nothing is due while a file is written.
    clock = trio.testing.MockClock()
    program = TOOL + "[program.R-2]\nfile = 'recipe.bin'\n"

    async def main() -> None:
        async with running(file, reload=True) as this:
            rewrite(file, program)
            clock.jump(1.5)
            await this.until("not adopted")
            clock.jump(1.5)
            await trio.testing.wait_all_tasks_blocked(0.01)
            (file.parent / "recipe.bin").write_bytes(b"step")
            clock.jump(1.5)
            await this.until("adopted")
            # It is told once.
            assert [told for told, _ in this.told].count("not adopted") == 1

    trio.run(main, clock=clock)


async def test_a_hangup_is_heard_as_soon_as_it_listens(file: Path) -> None:
    class Hasty(Running):
        def report(self, event: str, details: Any) -> None:
            super().report(event, details)
            if event == "listening":
                self.hang_up()

    async with running(file, kind=Hasty) as this:
        await this.until("adopted")


def test_each_port_has_its_tools(file: Path) -> None:
    other = line_of(file, f"[tools.B]\nfile = '{file.name}'\nport = 5999\n")
    plans = Beside(unknown="echo").plans(read_tool_file(other), Settings(port=0))
    assert {port: [each.name for each in tools] for port, tools in plans.items()} == {
        0: ["A-1", "A-2"],
        5999: ["B"],
    }
    assert {each.unknown for tools in plans.values() for each in tools} == {"echo"}


async def test_without_a_file_a_hangup_is_a_signal_to_stop() -> None:
    this = Running(Process())
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            run = partial(run_fake, this.process, Settings(port=0), Beside(), report=this.report)
            nursery.start_soon(run)
            await this.until("listening")
            await trio.testing.wait_all_tasks_blocked()
            this.hang_up()
            await this.until("stopped")


# Checked and listed


def outcome(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[str], str]:
    code = cli.main([*map(str, ("fake", *words))])
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err


def test_a_file_is_checked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (line,), errors = outcome(capsys, file, "--check")
    assert (code, errors) == (0, "")
    assert line.startswith(f"{file}: good: ")
    code, (line,), _ = outcome(capsys, file, "--check", "--json")
    assert (code, json.loads(line)["file"]) == (0, str(file))


def test_a_doubt_is_no_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubtful = "[[rule]]\non = 'S2F41 W <A _>'\nthen = [{event = 101}]\n"
    file.write_text(TOOL + doubtful, encoding="utf-8")
    code, (doubt, *_, good), _ = outcome(capsys, file, "--check")
    assert code == 0
    assert doubt.endswith("(a doubt, and no error)")
    assert "good" in good
    _, (doubt, *_), _ = outcome(capsys, file, "--check", "--json")
    assert json.loads(doubt)["is_doubt"] is True


def test_all_that_is_wrong_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[event.1]\nnme = 'x'\n[alarm.1]\ncategory = 200\n", encoding="utf-8")
    code, lines, errors = outcome(capsys, file, "--check")
    assert (code, len(lines), errors) == (2, 2, "")
    assert all(line.startswith(f"{file}:") for line in lines)
    code, lines, _ = outcome(capsys, file, "--check", "--json")
    assert [json.loads(line)["line"] for line in lines] == [2, 4]
    code, lines, errors = outcome(capsys, file)
    assert (code, lines) == (2, [])
    assert errors.count("tool.toml:") == 2


def test_what_is_asked_for_must_be_there(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, why in (
        (("--check",), "--check needs a FILE"),
        (("--reload",), "--reload needs a FILE"),
        ((tmp_path / "none.toml",), "none.toml"),
        ((file, "--config", file), "which?"),
        ((file, "--unknown", "eco"), "'eco' is not one of report|echo"),
        ((file, "--alarms", 0), "alarms=0"),
    ):
        code, lines, errors = outcome(capsys, *words)
        assert (code, lines) == (2, [])
        assert why in errors


def test_the_model_and_the_rules_are_listed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, file, "--list")[1] == [
        "tool ETCHER 1.0; on-line; ids U4; seed 0; unknown: report",
        "variable 1001 Count; <U4 0>; 0..9",
        "variable 1002 from clock; in reports only",
        "constant 2001 Limit; <F4 1.5>; Pa",
        "report 1 1001",
        "event 101 Started; reports 1",
        "event 102 disabled",
        "alarm 5001 hot; category 7; set: 101; cleared: 102",
        'program RECIPE <A "step">',
        "command START HCACK 4; any parameters",
        "command STOP HCACK 0; parameters LOT",
        "command PPSELECT HCACK 0; parameters PPID (required, a program, to variable 1001), SLOT",
        "rule started: event 101; then add 1 to 1001",
        (
            'rule 2: on S2F41 W <L [2] <A "GO"> $all>; when count > 1; at most 5 times; '
            "reply S2F42 <L <B 0x04> <L <L $all.1.1 <B 0x01>> ...$all>> or none"
        ),
    ]
    shipped = "tool hsms-engine 1.0; on-line; ids U4; seed 0; unknown: report"
    assert outcome(capsys, "--list")[1][0] == shipped


def test_a_listing_for_programs_has_each_value_under_its_key(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(each) for each in outcome(capsys, file, "--list", "--json")[1]]
    texts = [str(each.pop("text")) for each in lines]
    assert texts[0] == "ETCHER 1.0; on-line; ids U4; seed 0; unknown: report"
    assert [(each["kind"], each["key"], each["details"]) for each in lines] == [
        (
            "tool",
            "",
            {
                "model": "ETCHER",
                "software": "1.0",
                "ids": "U4",
                "seed": 0,
                "unknown": "report",
                "control": "online",
            },
        ),
        (
            "variable",
            "1001",
            {"name": "Count", "value": "<U4 0>", "lowest": 0, "highest": 9, "kind": "status"},
        ),
        ("variable", "1002", {"kind": "data", "source": "clock"}),
        ("constant", "2001", {"name": "Limit", "units": "Pa", "value": "<F4 1.5>"}),
        ("report", "1", {"variables": [1001]}),
        ("event", "101", {"name": "Started", "reports": [1], "enabled": True}),
        ("event", "102", {"enabled": False}),
        (
            "alarm",
            "5001",
            {
                "text": "hot",
                "category": 7,
                "enabled": True,
                "set_event": 101,
                "clear_event": 102,
            },
        ),
        ("program", "RECIPE", {"body": '<A "step">'}),
        ("command", "START", {"answer": 4}),
        (
            "command",
            "STOP",
            {
                "answer": 0,
                "parameters": {"LOT": {"program": False, "required": False, "variable": None}},
            },
        ),
        (
            "command",
            "PPSELECT",
            {
                "answer": 0,
                "parameters": {
                    "PPID": {"program": True, "required": True, "variable": 1001},
                    "SLOT": {"program": False, "required": False, "variable": None},
                },
            },
        ),
        ("rule", "", {"name": "started", "event": "101", "then": ["add 1 to 1001"]}),
        (
            "rule",
            "",
            {
                "name": "rule 2",
                "on": 'S2F41 W <L [2] <A "GO"> $all>',
                "when": "count > 1",
                "times": 5,
                "reply": ["S2F42 <L <B 0x04> <L <L $all.1.1 <B 0x01>> ...$all>>", "none"],
            },
        ),
    ]


def test_tools_that_are_alike_are_listed_once(file: Path) -> None:
    more = f"[tools.B]\nfile = '{file.name}'\nport = 5999\n"
    listed = [str(each) for each in rows(read_tool_file(line_of(file, more)))]
    tools = [each for each in listed if each.startswith("tool ")]
    assert tools[1] == (
        "tool A-2 ETCHER 1.0; on-line; ids U4; seed 1; unknown: report; session id 1; port 5000; "
        "as A-1"
    )
    assert "port 5999" in tools[2]
    assert len(listed) < 2 * 14 + 3
