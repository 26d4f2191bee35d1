"""The command ``bounds``: a table, JSON, settings out of a file, a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hsms_engine import Settings, bounds, cli

NAMES = [each.name for each in bounds.table(Settings())]


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.main(["bounds", *map(str, arguments)]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    return out


def test_it_prints_each_bound_its_terms_and_the_conditions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys).splitlines()
    assert lines[0].split(":")[0].split() == ["84.4", "s", "recovery"]
    assert lines[1].split(":")[0].split() == ["12", "s", "pause"]
    assert lines[2].split(":")[0].split() == ["0.2", "s", "4", "x", "delay"]
    assert [line.strip() for line in lines[-4:]] == [
        "conditions:",
        "connect_timeout = 10 s > 0.1 s",
        "t6 = 5 s > 0.1 s",
        "t7 = 10 s > 0.1 s",
    ]


def test_it_says_never_and_what_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--linktest", 0, "--second-host", "refuse")
    assert "     never  crashed host: " in out
    assert "nobody asks whether the old session lives: set linktest_interval or second_host" in out
    assert "     never  silence: " in out
    assert "  for ever  linktest interval: no linktest is sent: set linktest_interval" in out
    out = printed(capsys, "--t6", 1, "--one-way-delay", 0.5, "--of", "opened breaker")
    assert [line.strip() for line in out.splitlines()][1:] == [
        "t6 = 1 s <= 1 s: responses come too late",
        "72 s  open time: the breaker is open, with all of its jitter",
        "2 s  4 x delay: the dial, there and back; Select.req; Select.rsp",
        "conditions:",
        "connect_timeout = 10 s > 1 s",
        "t6 = 1 s <= 1 s: responses come too late",
        "t7 = 10 s > 1 s",
    ]
    assert out.startswith("     never  opened breaker: ")


def test_one_bound_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--of", "silence").splitlines() == [
        "      35 s  silence: from the last byte of the peer until its connection is closed",
        "                30 s  linktest interval: no byte comes before each probe",
        "                 5 s  T6: no answer to each probe",
    ]
    told = printed(capsys, "--json", "--of", "silence", "--linktest-interval", 10)
    assert json.loads(told)["seconds"] == 15


def test_the_wait_for_a_slot_is_a_term_of_recovery(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--slot-wait", 2, "--of", "recovery")
    assert out.split()[0] == "86.4"
    assert "2 s  slot: other links of the program dial first" in out


def test_as_json_each_bound_is_an_object_and_null_is_never(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [json.loads(line) for line in printed(capsys, "--json", "--linktest", 0).splitlines()]
    assert [each["bound"] for each in told] == NAMES
    by_name = {each["bound"]: each for each in told}
    assert by_name["opened breaker"]["seconds"] == pytest.approx(72.2)
    assert by_name["opened breaker"]["terms"][0]["name"] == "open time"
    assert by_name["opened breaker"]["conditions"][1] == {
        "setting": "t6",
        "seconds": 5,
        "least": 0.1,
        "holds": True,
    }
    assert by_name["silence"]["seconds"] is None
    assert by_name["silence"]["terms"][0]["seconds"] is None


def test_settings_come_from_a_file_and_the_command_line_changes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "links.toml"
    file.write_text(
        '[link.tool]\nbreaker_open_time = 40\nbackoff_jitter = 0\nt6 = 3\nhost = "tool"\n',
        encoding="utf-8",
    )
    out = printed(capsys, "--config", file)
    assert out.split()[0] == "50.4"
    out = printed(
        capsys,
        *("--config", file, "--link", "tool"),
        *("--t6", 4, "--one-way-delay", 1, "--allow-short-timers"),
    )
    assert out.split()[0] == "58"


@pytest.mark.parametrize("name", NAMES)
def test_on_request_it_draws_the_run_that_takes_as_long(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "worst.mmd"
    printed(capsys, "--picture", file, "--of", name)
    (bound,) = (each for each in bounds.table(Settings()) if each.name == name)
    assert file.read_text(encoding="utf-8").splitlines()[:2] == [
        "sequenceDiagram",
        f"    title {name}: {bound.seconds:g} s",
    ]


def test_a_picture_that_cannot_be_written_is_a_failure_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bounds", "--picture", str(tmp_path)]) == 1
    out, errors = capsys.readouterr()
    assert errors == f"hsms-engine bounds: cannot write --picture {tmp_path}: Is a directory\n"
    assert out == ""
