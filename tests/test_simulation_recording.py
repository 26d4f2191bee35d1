"""A run of the simulation as a recording: the same run, the same bytes, its fault at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from hsms_engine.capture.writing import PcapWriter
from hsms_engine.recording import (
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    LinkRecord,
    Record,
    StepRecord,
)
from hsms_engine.virtual import Kernel
from tests.simulation.__main__ import explain, main
from tests.simulation.beside import Timekeeper
from tests.simulation.monitors import Monitors
from tests.simulation.plan import Action, Plan, Theme, make_plan
from tests.simulation.recording import FAULT
from tests.simulation.run import run_plan
from tests.support.recordings_read import follow, read_whole, recording_of
from tests.support.told import NOTE, WALL

ROOT = Path(__file__).parent.parent
THEMES: tuple[Theme, ...] = ("storm", "late", "slow", "burst", "contest")


def recorded(plan: Plan, folder: Path) -> list[Record]:
    path = folder / "run.jsonl"
    path.write_text(recording_of(plan), "ascii")
    return read_whole(path)


@pytest.mark.parametrize("theme", THEMES)
def test_a_run_that_is_recorded_is_the_same_run_and_has_the_same_recording(theme: Theme) -> None:
    plan, file = make_plan(4, theme), StringIO()
    assert run_plan(plan, record=file).log == run_plan(plan).log
    assert file.getvalue() == recording_of(plan)


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    def run(hash_seed: str) -> bytes:
        path = tmp_path / hash_seed
        known = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.simulation", "12", "--record", str(path)]
        subprocess.run(command, env=known, cwd=ROOT, check=True, capture_output=True)
        return path.read_bytes()

    assert run("1") == run("2") == recording_of(make_plan(12)).encode()


@pytest.mark.parametrize("seed", range(6))
def test_every_end_is_a_link_and_its_states_follow_each_other(seed: int, tmp_path: Path) -> None:
    plan = make_plan(seed)
    records = recorded(plan, tmp_path)

    head, *_, end = records
    assert isinstance(head, HeadRecord)
    assert end == EndRecord(end.at, end.wall, "the run is over")
    assert all(each.wall == WALL + each.at for each in records)
    assert [each.at for each in records] == sorted(each.at for each in records)
    links = [each for each in records if isinstance(each, LinkRecord)]
    assert [each.link for each in links] == [*range(1, len(links) + 1)]
    hosts = {each.name: each for each in links if each.role == "active" and "host" in each.name}
    tools = [each for each in links if each.role == "passive"]
    assert hosts.keys() == {f"host {number}" for number in range(len(plan.links))}
    for number, server in enumerate(plan.links):
        assert hosts[f"host {number}"].peer == f"127.0.0.1:{5_000 + server}"
        assert {f"tool {server}"} == {
            each.name for each in tools if each.peer.startswith(f"host {number}:")
        }
    assert all(each.server == each.name for each in tools)
    states = follow(records)
    gone = {each.link for each in records if isinstance(each, GoneRecord)}
    # Charts of a program without power stay where they are.
    assert all("closed" in states[link].values() for link in gone)
    kinds = Counter(type(each) for each in records)
    assert kinds[FrameRecord] > 10
    assert kinds[StepRecord] > 10
    assert kinds[EventRecord] > 10


def test_what_the_plan_does_is_told_of_the_link_it_is_about(tmp_path: Path) -> None:
    actions = (Action(0.0, "black-hole", who=1, value=1), Action(2.0, "linktest"))
    plan = Plan(1, "storm", {"max_sessions": 2}, Kernel(), (0, 0), 5.0, actions=actions)
    records = recorded(plan, tmp_path)

    names = {each.link: each.name for each in records if isinstance(each, LinkRecord)}
    told = [
        (each.at, names[each.link], each.fields["what"])
        for each in records
        if isinstance(each, EventRecord) and each.event == NOTE
    ]
    calm = [who for at, who, _ in told if at == 5.0]
    assert told[:2] == [
        (0.0, "host 1", "0.000000 s: black-hole of host 1, value 1"),
        (2.0, "host 0", "2.000000 s: linktest of host 0"),
    ]
    assert sorted(calm) == ["host 0", "host 1", "tool 0", "tool 0"]


def test_a_request_that_fails_is_told_on_the_same_clocks(tmp_path: Path) -> None:
    asks = Action(1.0, "request", asks="never")
    plan = Plan(1, "storm", {"t3": 3}, Kernel(), (0,), 10.0, actions=(asks,))
    (failed,) = [each for each in recorded(plan, tmp_path) if isinstance(each, ErrorRecord)]
    assert failed.error == "ReplyTimeoutError"
    assert failed.at == pytest.approx(4.0)
    assert failed.wall == WALL + failed.at


def test_what_is_done_before_a_host_has_a_link_is_told_when_it_has_one(tmp_path: Path) -> None:
    # Trio may begin with the storm, or with the hosts.
    for seed in range(6):
        plan = Plan(seed, "storm", {}, Kernel(), (0,), 1.0, actions=(Action(0.0, "slice"),))
        records = recorded(plan, tmp_path)
        assert sum(isinstance(each, EventRecord) and each.event == NOTE for each in records) > 1


def test_a_fault_in_a_step_is_the_last_record_behind_that_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judge = Monitors.judge

    def judged(
        monitors: Monitors, life: Any, waits: Any, before: Any, event: str, *rest: Any
    ) -> str:
        return (
            "never so"
            if event == "select_rsp_accepted"
            else judge(monitors, life, waits, before, event, *rest)
        )

    monkeypatch.setattr(Monitors, "judge", judged)
    *_, step, error, end = recorded(Plan(1, "storm", {}, Kernel(), (0,), 5.0), tmp_path)

    assert isinstance(step, StepRecord)
    assert step.event == "select_rsp_accepted"
    assert isinstance(error, ErrorRecord)
    assert (error.link, error.epoch, error.error) == (step.link, step.epoch, FAULT)
    assert "never so" in error.text
    assert end == EndRecord(step.at, step.wall, f"{FAULT}: {error.text}")


def test_a_fault_between_steps_is_told_where_it_was_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Timekeeper, "late", lambda *_: "too late")
    plan = Plan(1, "storm", {}, Kernel(), (0,), 5.0, actions=(Action(1.0, "slice"),))
    *_, error, end = recorded(plan, tmp_path)

    assert isinstance(error, ErrorRecord)
    assert error.at == end.at == 1.0
    assert "too late" in error.text


def test_a_fault_of_no_end_is_told_at_all_that_are_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.simulation.recovery.Recovery._are_selected", lambda _: False)
    *_, one, other, end = recorded(Plan(1, "storm", {}, Kernel(), (0,), 5.0), tmp_path)

    assert isinstance(one, ErrorRecord)
    assert isinstance(other, ErrorRecord)
    assert {one.link, other.link} == {1, 2}
    assert one.text == other.text
    assert isinstance(end, EndRecord)
    assert end.why == f"{FAULT}: {one.text}"


def test_it_becomes_a_capture(tmp_path: Path) -> None:
    writer, packets = PcapWriter(), 0
    records = recorded(make_plan(3), tmp_path)
    for each in records:
        packets += sum(1 for _ in writer.packets(each))
    assert writer.frames == sum(isinstance(each, FrameRecord) for each in records)
    assert packets > writer.frames


@pytest.mark.parametrize("given", [["1", "2"], [], ["--seeds", "3"]])
def test_more_than_one_run_is_not_recorded(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.jsonl"
    with pytest.raises(SystemExit) as caught:
        main([*given, "--record", str(path)])
    assert caught.value.code == 2
    assert "--record is for one seed or one plan" in capsys.readouterr().err
    assert not path.exists()


def test_a_file_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["1", "--record", str(tmp_path / "absent" / "run.jsonl")])
    assert caught.value.code == 2
    assert "No such file" in capsys.readouterr().err


def test_a_fault_is_explained_though_its_recording_has_no_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    monkeypatch.setattr(Timekeeper, "late", lambda *_: "too late")
    plan = Plan(1, "storm", {}, Kernel(), (0,), 5.0, actions=(Action(1.0, "slice"),))

    assert "too late" in explain(plan).fault
    printed = capsys.readouterr().out
    assert "smallest plan that fails" in printed
    assert "not recorded: " in printed


class Full(StringIO):
    """A disk that has room for some lines."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def writelines(self, lines: Any) -> None:
        self._room -= 1
        if self._room < 0:
            raise OSError(28, "No space left on device")
        super().writelines(lines)


@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_full_disk_is_told_and_what_was_written_stays(room: int) -> None:
    disk, plan = Full(room), make_plan(3)
    with pytest.raises(OSError, match="No space left"):
        run_plan(plan, record=disk)
    assert disk.getvalue().count("\n") == room
    assert recording_of(plan).startswith(disk.getvalue())
