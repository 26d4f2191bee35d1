"""What is said of counted instructions. That they are counted is ``make instructions``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.instructions import __main__ as program
from tests.instructions import counting
from tests.instructions.counting import COPIES, PINNED, Counts, judged, told
from tests.instructions.scenarios import SCENARIOS, YARDSTICK

PINS = Counts("here", {YARDSTICK: 1_000, "sequential": 2_000})


def verdicts(counted: Counts) -> list[bool]:
    return [is_well for _, is_well in judged(counted, PINS)]


@pytest.mark.parametrize(("count", "is_well"), [(2_059, True), (2_062, False), (1_938, False)])
def test_with_the_same_python_a_count_may_differ_by_3_percent(count: int, is_well: bool) -> None:
    assert verdicts(Counts("here", {YARDSTICK: 1_000, "sequential": count})) == [True, is_well]


@pytest.mark.parametrize(
    ("copied", "is_well"),
    # What was counted in two folders, and one more copy with each of them.
    [(266_564, True), (1_052_856, True), (1_270_564, False), (2_056_856, False)],
)
def test_of_the_megabyte_one_more_copy_is_too_much(copied: int, is_well: bool) -> None:
    pins = Counts.read(PINNED.read_text(encoding="utf-8"))
    counted = Counts(pins.where, {**pins.each, COPIES: copied})
    assert all(well for _, well in judged(counted, pins)) is is_well


def test_what_copies_is_found_in_what_callgrind_writes() -> None:
    part = """\
fn=(1) main
10 100
cfn=(2) __memcpy_avx_unaligned_erms
calls=3 20
11 900
+1 5
fn=(2)
20 900
* 7
fn=(3) __memset_avx2
30 50
summary: 1962
"""
    assert counting._copied(part) == 907
    assert counting._total(part) == 1_962


@pytest.mark.parametrize(("count", "is_well"), [(4_000, True), (4_990, True), (5_010, False)])
def test_with_another_python_the_yardstick_makes_counts_comparable(
    count: int, is_well: bool
) -> None:
    counted = Counts("elsewhere", {YARDSTICK: 2_000, "sequential": count})
    assert verdicts(counted) == [True, True, is_well]


def test_a_count_beyond_the_slack_is_told_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert not told(judged(Counts("here", {YARDSTICK: 1_000, "sequential": 2_100}), PINS))
    said = capsys.readouterr().out.splitlines()
    assert said[1] == (
        "sequential             2,100 instructions, pinned        2,000, +5.0%: MORE THAN THE SLACK"
    )


def test_every_scenario_is_pinned() -> None:
    assert Counts.read(PINNED.read_text(encoding="utf-8")).each.keys() == SCENARIOS.keys() | {
        COPIES
    }


@pytest.mark.parametrize(("arguments", "code"), [([], 1), (["--pin"], 0)])
def test_only_what_is_pinned_anew_may_change(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pinned = tmp_path / "pinned.json"
    pinned.write_text(PINS.written(), encoding="utf-8")
    now = Counts("here", {YARDSTICK: 1_000, "sequential": 3_000})
    monkeypatch.setattr(program, "PINNED", pinned)
    monkeypatch.setattr(program, "count", lambda: now)
    monkeypatch.setattr(program, "is_missing", lambda _: False)
    monkeypatch.setattr("sys.argv", ["instructions", *arguments])
    assert program.main() == code
    assert Counts.read(pinned.read_text(encoding="utf-8")) == (now if arguments else PINS)


def test_without_valgrind_nothing_is_counted_and_it_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "is_missing", lambda name: name == "valgrind")
    monkeypatch.setattr("sys.argv", ["instructions"])
    assert program.main() == 1
    assert "install the package valgrind" in capsys.readouterr().err


def test_a_program_that_fails_under_callgrind_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    valgrind = tmp_path / "valgrind"
    valgrind.write_text("#!/bin/sh\necho it does not run here; exit 3\n", encoding="utf-8")
    valgrind.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(RuntimeError, match=r"has failed:\nit does not run here"):
        counting.count()
