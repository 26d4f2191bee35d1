"""The machine of ``tests.real_network``: what it decides, and a few rows judged by their order."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from hsms_engine import Settings
from hsms_engine.fake import behaviours
from hsms_engine.proxy import faults
from tests.real_network import namespaces
from tests.real_network.__main__ import main, parse, run_rows, why_not_reached
from tests.real_network.elsewhere import left_out
from tests.real_network.judge import (
    SLACK,
    Back,
    BreakerOpens,
    Expected,
    Fails,
    Finding,
    InOrder,
    Line,
    Noticed,
    ResetSent,
    Run,
    Unharmed,
    Unnoticed,
    judge,
    seconds,
)
from tests.real_network.rows import ROWS, Row
from tests.real_network.run import Result
from tests.real_network.stage import Fault
from tests.real_network.table import line, markdown, story
from tests.real_network.way import HELD_BACK, Direction, Way
from tests.support.network import closed_port
from tests.support.tools import needs, skip

# The way


def packets(way: Way, count: int = 1000, seed: int = 0) -> list[tuple[float, bytes]]:
    """When each packet of 100 bytes arrives, of so many that leave 1 ms after each other."""
    direction = Direction(Random(seed), way)
    for number in range(count):
        direction.take(number / 1000, number.to_bytes(4) + bytes(96))
    found = []
    while (at := direction.due()) is not None:
        found += [(at, packet) for packet in direction.arrived(at)]
    return found


def numbers(way: Way) -> list[int]:
    return [int.from_bytes(packet[:4]) for _, packet in packets(way)]


def test_a_way_without_faults_passes_all_at_once_and_in_order() -> None:
    assert [at for at, _ in packets(Way())] == [number / 1000 for number in range(1000)]
    assert numbers(Way()) == list(range(1000))


def test_latency_delays_and_jitter_keeps_the_order() -> None:
    assert packets(Way(latency=0.5))[0][0] == 0.5
    late = packets(Way(latency=0.5, jitter=0.2))
    assert numbers(Way(latency=0.5, jitter=0.2)) == list(range(1000))
    assert all(0.5 <= at - number / 1000 < 0.7 for number, (at, _) in enumerate(late))
    assert len({at for at, _ in late}) > 10


@pytest.mark.parametrize("share", [5.0, 20.0])
def test_loss_drops_about_so_many(share: float) -> None:
    lost = 1000 - len(numbers(Way(loss=share)))
    assert 0.5 * share < lost / 10 < 1.5 * share


def test_duplicates_come_twice_and_nothing_is_lost() -> None:
    found = numbers(Way(duplicate=20.0))
    assert set(found) == set(range(1000))
    assert 1100 < len(found) < 1300


def test_reordered_packets_are_overtaken_by_those_of_a_short_time() -> None:
    found = numbers(Way(reorder=20.0))
    assert sorted(found) == list(range(1000))
    overtaken = [place - number for place, number in enumerate(found) if place > number]
    assert len(overtaken) > 100
    assert max(overtaken) <= HELD_BACK * 1000


def test_a_rate_spaces_packets_and_its_queue_is_bounded() -> None:
    # 50 packets a second, of which 1,000 come.
    arrived = [at for at, _ in packets(Way(rate=5_000, queue=2_000))]
    assert {round(b - a, 9) for a, b in pairwise(arrived)} == {0.02}
    # Those of a second that pass, and those that wait at its end.
    assert len(arrived) == pytest.approx(50 + 20, abs=1)


def test_the_same_seed_makes_the_same_of_the_same_packets() -> None:
    way = Way(latency=0.1, jitter=0.1, loss=5, reorder=5, duplicate=5)
    assert packets(way, seed=1) == packets(way, seed=1) != packets(way, seed=2)


# The list


def test_each_row_has_a_name_of_its_own_and_a_bound_for_all_that_has_a_time() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row.expected, row.name
        for each in row.expected:
            match each:
                case Noticed(within=within) | Fails(within=within) | Back(within=within):
                    assert seconds(within, row.settings, row.delay) < 150, row.name
                case _:
                    pass
        if Unnoticed() not in row.expected:
            recovery = row.settings.recovery_bound(row.delay)
            assert all(each.holds for each in recovery.conditions), row.name
        assert row.settings.allow_short_timers is False


def test_the_list_makes_each_fault_and_the_short_list_most_of_them() -> None:
    every = set(Fault.__args__)
    assert {type(row.fault) for row in ROWS} == every
    short = {type(row.fault) for row in ROWS if row.is_short}
    assert len(every - short) <= 3


def test_what_a_proxy_or_a_fake_equipment_can_do_too_has_their_name_for_it() -> None:
    rows = [row.name.partition(",")[0].partition("=")[0] for row in ROWS]
    elsewhere = {*faults.KNOWN, *behaviours.KNOWN}
    of_ways = {"loss", "reorder", "duplicate", "small-mtu", "first-address-dead"}
    of_machines = {"cable-pulled", "killed", "terminated", "power-cut", "stopped"}
    assert {*rows} - elsewhere == of_ways | of_machines


def test_rows_are_chosen_by_how_their_names_begin() -> None:
    assert [row.name for row in parse(["loss=1%", "reset"]).rows] == ["reset", "loss=1%"]
    assert {row.name for row in parse([]).rows} == {row.name for row in ROWS}
    assert all(row.is_short for row in parse(["--short"]).rows)
    assert parse(["--seed", "7"]).seed == 7


def test_a_row_that_is_none_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["los=1"])
    assert "no row begins with 'los=1'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--table", "no/folder"])
    assert f"--table {Path('no/folder')}: there is no such folder" in capsys.readouterr().err


def test_a_wrong_address_of_another_machine_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSMS_SERVER_HOST", "127.0.0.1")
    monkeypatch.setenv("HSMS_SERVER_PORT", "tool")
    with pytest.raises(SystemExit):
        parse([])
    assert "HSMS_SERVER_PORT='tool' is not a port in 1..65535" in capsys.readouterr().err
    monkeypatch.setenv("HSMS_SERVER_PORT", str(port := closed_port()))
    monkeypatch.setattr("sys.argv", ["real_network", "reset"])
    assert main() == 1
    why = f"127.0.0.1:{port}: {os.strerror(errno.ECONNREFUSED)}"
    assert capsys.readouterr().out.endswith(f"names is not reached: {why}\n")


async def test_a_machine_that_does_not_answer_is_told() -> None:
    why = await why_not_reached("127.0.0.1", 1, patience=0)
    assert why == "127.0.0.1:1: no answer within 0 s"


def test_what_another_machine_must_do_is_left_out_there_with_the_reason() -> None:
    left = {row.name: left_out(row.fault, row.talk) for row in ROWS}
    assert "start it again" in str(left["killed=equipment"])
    assert "acknowledged already" in str(left["rate=512kbit"])
    assert "no packet is lost" in str(left["loss=20%"])
    assert [left[name] for name in ("latency=0.5", "killed=host", "black-hole", "refuse")] == (
        [None] * 4
    )


# The verdict

SETTINGS = Settings(linktest_interval=2, t6=1, t3=3, t5=1, breaker_threshold=2)
SILENCE = 3.0


def ran(*lines: Line, healed: float | None = 20.0, **changes: Any) -> Run:
    """A fault from 10 s on, and what was told."""
    run = Run(SETTINGS, 0.05, ("host", "equipment"), False, lines, 10.0, healed)
    return replace(run, **changes)


UP = (
    Line(1, "host", "started"),
    Line(1.5, "host", "begun"),
    Line(2, "host", "Connecting"),
    Line(3, "host", "Selecting"),
    Line(4, "equipment", "PeerSelected"),
    Line(5, "host", "Selected"),
    Line(6, "host", "answered"),
)
LOST = Line(12.0, "host", "Waiting", "connection lost: silence", "ConnectionLostError")


def took(expected: Expected, run: Run) -> float | None:
    return judge(expected, run).took


def is_met(expected: Expected, run: Run) -> bool:
    return judge(expected, run).is_met


def test_a_loss_is_noticed_within_its_bound_or_too_late() -> None:
    noticed = Noticed("host", "silence", "silence")
    assert took(noticed, ran(*UP, LOST)) == 2
    for at, is_in_time in ((10 + SILENCE + SLACK, True), (10.1 + SILENCE + SLACK, False)):
        assert is_met(noticed, ran(*UP, replace(LOST, at=at))) is is_in_time
    assert not is_met(noticed, ran(*UP, replace(LOST, why="connection closed")))
    assert not is_met(noticed, ran(*UP))
    # Not what was before, nor an attempt that fails, nor the other end.
    assert not is_met(noticed, ran(*UP, replace(LOST, at=9)))
    assert not is_met(noticed, ran(*UP, replace(LOST, error="ConnectError")))
    assert not is_met(Noticed("equipment", "silence"), ran(*UP, LOST))


def test_back_is_when_both_are_selected_for_good_and_a_request_is_answered() -> None:
    peer_lost = Line(13, "equipment", "PeerEnded", "", "selected")
    again = Line(22, "host", "Selected"), Line(23, "equipment", "PeerSelected")
    answered = Line(24, "host", "answered")
    down = ran(*UP, LOST, peer_lost)
    assert took(Back(), down) is None
    assert took(Back(), ran(*UP, LOST, peer_lost, *again)) is None
    up = ran(*UP, LOST, peer_lost, *again, answered)
    assert took(Back(), up) == 3
    assert took(Back("crashed equipment"), up) == 13
    assert took(Back(), replace(up, healed=None)) is None
    # Lost once more, and back again.
    later = (replace(each, at=each.at + 10) for each in (LOST, peer_lost, *again, answered))
    assert took(Back(), replace(up, lines=sorted((*up.lines, *later), key=lambda x: x.at))) == 13
    # It was never down.
    assert took(Back(), ran(*UP, answered)) == 0
    # A connection that was never selected says nothing; a program that is gone does.
    unselected = Line(25, "equipment", "PeerEnded", "", "never selected")
    assert took(Back(), replace(up, lines=(*up.lines, unselected))) == 3
    gone = Line(25, "host", "gone", "-9")
    assert took(Back(), replace(up, lines=(*up.lines, gone))) is None
    # Nobody asks; only one end tells.
    assert took(Back(), ran(*UP, LOST, peer_lost, *again, is_quiet=True)) == 3
    alone = ran(*UP, LOST, again[0], answered, ends=("host",))
    assert took(Back(), alone) == 2


def test_harm_is_a_connection_or_a_request_that_is_lost() -> None:
    assert is_met(Unharmed(), ran(*UP, Line(11, "host", "answered")))
    for harm in (
        LOST,
        Line(11, "host", "failed", "S1F1 got no reply"),
        Line(11, "host", "damaged"),
        Line(11, "equipment", "PeerEnded", "TCP broke", "selected"),
    ):
        assert not is_met(Unharmed(), ran(*UP, harm))


def test_without_linktests_a_pulled_cable_is_unnoticed_and_the_machine_can_tell() -> None:
    """As a link whose linktest is lost by a fault of ours would look."""
    silent = ran(*UP, healed=None)
    assert not is_met(Noticed("host", "silence"), silent)
    assert not is_met(Unnoticed(), silent), "with a bound it is to be noticed"
    without = replace(silent, settings=SETTINGS.replace(linktest_interval=None))
    assert is_met(Unnoticed(), without)
    assert is_met(Unnoticed(), replace(without, lines=(*UP, replace(LOST, at=21)), healed=20))
    assert not is_met(Unnoticed(), replace(without, lines=(*UP, LOST)))


def test_attempts_are_counted_until_the_breaker_opens() -> None:
    failed = Line(12, "host", "Waiting", "not connected: refused", "ConnectError")
    attempts = [Line(11, "host", "Connecting"), failed] * 2
    opened = Line(13, "host", "BreakerOpened", "2 failures")
    assert took(Fails("T6", "refused"), ran(*attempts)) == 1
    assert not is_met(Fails("T6", "during select"), ran(*attempts))
    assert is_met(BreakerOpens(), ran(*attempts, opened))
    assert not is_met(BreakerOpens(), ran(*attempts))
    assert not is_met(BreakerOpens(), ran(attempts[0], opened))


def test_order_and_resets() -> None:
    assert is_met(InOrder(), ran(*UP))
    assert not is_met(InOrder(), ran(*UP[:2], UP[3], UP[2], *UP[4:]))
    assert is_met(ResetSent("host"), ran(resets=(("host", 1), ("equipment", 0))))
    assert not is_met(ResetSent("equipment"), ran(resets=(("host", 1), ("equipment", 0))))


def test_the_figures_say_what_is_wrong() -> None:
    row = replace(ROWS[0], name="row", expected=(Back(),))
    good = Finding(Back(), 1.0, 2.0, "")
    wrong = Finding(Noticed("host", "silence"), None, 3.0, "not noticed")
    late = Finding(Unharmed(), None, None, "S1F1 got no reply")
    result = Result(row, (good, wrong, late), 4, 5, 6.0, UP)
    assert not result.is_good
    assert "WRONG  back 1.00 of 2.00 s; host: lost: NOT SO (not noticed)" in line(result)
    assert "WRONG" in line(Result(row, problem="no program starts"))
    assert "ok" in line(Result(row, (good,)))
    assert list(story(result))[-2:] == [
        "       4.000  host       Selected",
        "              1 answered",
    ]
    assert list(story(Result(row))) == []
    made = markdown([result, Result(row, (good,)), Result(row, problem="broken")], 3)
    assert "1 of 3 rows as expected" in made
    assert "| 1.00 / 2.00 |" in made
    assert "NOT SO: not noticed" in made
    assert "broken" in made


# On this system


def needs_namespaces() -> None:
    """Skip the running test where no namespace can be made; in CI that is a failure."""
    if sys.platform == "linux":
        for program in namespaces.PROGRAMS:
            needs(program)
    if (why := namespaces.why_not()) is not None:
        skip(why)


def existing() -> set[str]:
    """The names of all namespaces."""
    return {path.name for path in Path("/run/netns").iterdir()}


def test_nothing_is_left_when_the_process_that_made_a_network_is_killed() -> None:
    needs_namespaces()
    program = (
        "from tests.real_network.namespaces import network\n"
        "with network() as made:\n"
        "    print(made.host, made.middle, made.equipment, flush=True)\n"
        "    input()\n"
    )
    made = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert made.stdin is not None
    assert made.stdout is not None
    names = made.stdout.readline().split()
    there = existing()
    made.kill()
    # The guard has the same standard output, and is the last to close it.
    made.stdout.read()
    made.communicate()
    assert len(names) == 3
    assert set(names) <= there
    assert not set(names) & existing()


def test_what_a_killed_guard_has_left_is_removed_and_nothing_else() -> None:
    needs_namespaces()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    stale, other = f"hsms-engine-{child.pid}-0-host", f"hsms-engine-{os.getpid()}-999-host"
    try:
        for name in (stale, other):
            subprocess.run(["ip", "netns", "add", name], check=True)
        assert stale in namespaces.remove_stale()
        assert other in existing()
        assert stale not in existing()
    finally:
        subprocess.run(["ip", "netns", "del", other], check=True)


@pytest.mark.parametrize(
    ("platform", "user", "missing", "why"),
    [
        ("win32", 0, (), "need Linux"),
        ("linux", 0, ("nft",), "nft is not installed: install the package nftables"),
        ("linux", 1000, (), "need root"),
    ],
)
def test_why_it_cannot_run_is_said(
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    user: int,
    missing: tuple[str, ...],
    why: str,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "geteuid", lambda: user, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in missing else name)
    assert why in str(namespaces.why_not())


@pytest.mark.parametrize("name", ["terminated=host", "terminated=equipment", "send-garbage=reply"])
def test_a_row_shows_what_each_end_hears(name: str) -> None:
    """By what is told and in which order; ``python -m tests.real_network`` looks at the times."""
    needs_namespaces()
    (row,) = (row for row in ROWS if row.name == name)
    result: Result
    (result,) = trio.run(run_rows, [patient(row)], parse([]))
    for finding in result.findings:
        assert finding.took is not None, (finding, *story(result))


def patient(row: Row) -> Row:
    """With a delay that makes each wait of the row long: a busy machine is no failure here."""
    return replace(row, delay=10.0, changes={"t6": 30.0, "t7": 30.0, "connect_timeout": 30.0})
