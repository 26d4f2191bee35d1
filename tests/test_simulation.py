"""The simulation finds what is wrong, shows it, and is the same run each time it is made.

``make soak`` runs more seeds than these.
"""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.transport import Transport
from hsms_engine.message import Message
from hsms_engine.messaging import Messaging
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch, Primary
from hsms_engine.protocol.exchange import Exchange
from hsms_engine.protocol.timers import Timers
from hsms_engine.protocol.transactions import Transaction, Transactions
from hsms_engine.session_task import SessionTask
from hsms_engine.virtual import Kernel
from hsms_engine.wire import Frame
from tests.simulation.__main__ import explain, main
from tests.simulation.monitors import Monitors
from tests.simulation.plan import Action, Plan, Theme, make_plan, parse_plan, plan_text
from tests.simulation.run import run_plan
from tests.simulation.shrink import shrink
from tests.support.recordings_read import recording_of

ROOT = Path(__file__).parent.parent
SEEDS = 200


@pytest.mark.search
@pytest.mark.parametrize("block", range(4))
def test_no_seed_finds_a_fault(block: int) -> None:
    monitors = Monitors()
    size = SEEDS // 4
    for seed in range(block * size, (block + 1) * size):
        report = run_plan(make_plan(seed), monitors)
        assert report.fault == "", f"seed {seed}: python -m tests.simulation {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_one_seed_is_one_run(seed: int) -> None:
    first = run_plan(make_plan(seed)).log
    assert len(first) > 50
    assert run_plan(make_plan(seed)).log == first


def test_another_process_makes_the_same_run() -> None:
    program = "from tests.simulation import plan, run\nfor seed in range(10, 14):\n"
    program += "    print(*run.run_plan(plan.make_plan(seed)).log, sep='\\n')"

    def log(hash_seed: str) -> bytes:
        known = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        run = [sys.executable, "-c", program]
        return subprocess.run(run, env=known, cwd=ROOT, check=True, capture_output=True).stdout

    first = log("1")
    assert len(first) > 5_000
    assert log("2") == first


# Small faults of the engine, each found by the plans that are about it


async def _reads_nothing_first(_: Driver) -> None:
    """A loop that was late judges at once."""
    await trio.lowlevel.checkpoint()


async def _never_rests(_: Driver, size: int) -> int:
    """The reader does not wait for a program that reads."""
    return size


def _from_queueing(_timers: Timers, _timer: str, started: float) -> float:
    """T6 runs from the moment its request is queued."""
    return started


def _no_reset(_: Transport) -> None:
    """A peer is not told that its connection was given up."""


async def _says_something_else(messaging: Messaging, primary: Any, reply: Any) -> None:
    """A reply has another body than the one that was given."""
    messaging._engine.reply(primary, type(reply)(reply.stream, reply.function, body=b"wrong"))
    messaging._driver.turn_soon()
    await trio.lowlevel.checkpoint()


def _latest_first(reader: EventReader[Any], event: Any) -> None:
    """Events come out of order."""
    reader._waiting.appendleft(event)
    reader._news.unpark_all()


def _keeps_the_state(_driver: Driver, _event: Any) -> None:
    """A new reader of events does not know the present state."""


def _dials_at_once(_: Timers) -> float:
    """T5 is not kept."""
    return 0.0


def _serves_on(task: SessionTask, _session: int) -> bool:
    """The task of a session outlives it."""
    return not task._engine.is_closed


def _keeps_the_session(_entity: Entity, _connection: object) -> None:
    """A session is never free again."""


def _asks_never(_timers: Timers, _started: float) -> float:
    """No linktest is sent."""
    return math.inf


def _forgets_the_attempt(timers: Timers, attempt_age: float | None, open_age: float | None) -> None:
    """A link that is restored does not know when it dialled last."""
    if attempt_age is not None:
        timers.started["t5"] = 0.0
    if open_age is not None:
        timers.started["open_time"] = timers._context.clock() - open_age


def _answers_again(exchange: Exchange, epoch: Epoch, primary: Primary, reply: Message) -> None:
    """A second reply is sent."""
    assert primary.system_bytes is not None
    assert primary.session_id is not None
    size = exchange._encode(reply, primary.system_bytes, primary.session_id)
    epoch.outbox.put_message(size)
    exchange.take(primary)


def _any_function(exchange: Exchange, epoch: Epoch, frame: Frame) -> str | None:
    """A reply is found by its system bytes only."""
    transaction = epoch.transactions.find(frame.system_bytes)
    if transaction is not None and not frame.byte3 & 1:
        frame = frame._replace(byte3=transaction.function + 1)
    return _receive(exchange, epoch, frame)


_receive = Exchange.receive

FAULTS: list[tuple[Theme, type[Any], str, Callable[..., Any]]] = [
    ("late", Driver, "_catch_up", _reads_nothing_first),
    ("burst", Driver, "_rest", _never_rests),
    ("slow", Timers, "_handed_on", _from_queueing),
    ("storm", Transport, "reset", _no_reset),
    ("storm", Messaging, "reply", _says_something_else),
    ("storm", EventReader, "put", _latest_first),
    ("storm", Driver, "_remember", _keeps_the_state),
    ("storm", Timers, "_pause", _dials_at_once),
    ("storm", SessionTask, "_goes_on", _serves_on),
    ("storm", Entity, "give_back", _keeps_the_session),
    ("storm", Timers, "_linktest_due", _asks_never),
    ("storm", Timers, "restore", _forgets_the_attempt),
    ("storm", Exchange, "reply", _answers_again),
    ("slow", Exchange, "receive", _any_function),
]


@pytest.mark.parametrize(
    ("theme", "owner", "name", "broken"), FAULTS, ids=[fault[3].__name__ for fault in FAULTS]
)
def test_a_small_fault_is_found_within_few_seeds(
    monkeypatch: pytest.MonkeyPatch,
    theme: Theme,
    owner: type[Any],
    name: str,
    broken: Callable[..., Any],
) -> None:
    monkeypatch.setattr(owner, name, broken)
    monitors = Monitors()
    assert any(run_plan(make_plan(seed, theme), monitors).fault for seed in range(20))


def test_a_plan_that_fails_is_made_small_and_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Transport, "reset", _no_reset)
    monitors = Monitors()
    plan = next(
        plan for plan in map(make_plan, range(40)) if "not told" in run_plan(plan, monitors).fault
    )
    report = explain(plan)
    assert len(report.plan.actions) <= 3
    printed = capsys.readouterr().out
    assert f"-m tests.simulation {plan.seed}" in printed
    for told, recorded in (("recording, whole: ", plan), ("recording, smallest: ", report.plan)):
        (line,) = [line for line in printed.splitlines() if line.startswith(told)]
        kept = Path(line.removeprefix(told))
        assert kept.is_relative_to(tmp_path)
        assert kept.read_text("ascii") == recording_of(recorded)
    (again,) = [line for line in printed.splitlines() if line.startswith("the smallest again: ")]
    # What is printed is that plan, and it fails as it did.
    arguments = shlex.split(again.partition(" -m tests.simulation ")[2])
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"{report.plan}\n" + "\n".join(report.log))


def test_every_plan_can_be_printed_and_read() -> None:
    for seed in range(300):
        plan = make_plan(seed)
        assert parse_plan(plan_text(plan)) == plan


def test_it_is_made_as_small_as_the_fault_allows() -> None:
    actions = tuple(Action(float(at), "request", at % 2, size=10) for at in range(20))
    plan = Plan(1, "storm", {"t3": 3}, Kernel(segment=100), (0, 1), 30.0, 0.1, 0.1, actions=actions)

    def fails(smaller: Plan) -> bool:
        return any(action.at == 7 for action in smaller.actions)

    small = shrink(plan, fails)
    assert [(each.at, each.who, each.size) for each in small.actions] == [(7, 0, 0)]
    assert (small.links, small.changes, small.one_way, small.ends_at) == ((0,), {}, 0, 8)


def test_an_exception_that_is_no_error_of_ours_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def linktest(_: Messaging) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("linktest")

    monkeypatch.setattr(Messaging, "linktest", linktest)
    plan = Plan(1, "storm", {}, Kernel(), (0,), 5.0, actions=(Action(1.0, "linktest"),))
    assert "KeyError" in run_plan(plan).fault


def test_a_message_that_comes_twice_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    next_primary = Driver.next_primary

    async def twice(driver: Driver) -> Any:
        primary = await next_primary(driver)
        if primary is not None and primary.number == 1 and not driver._inbox:
            driver._inbox.append(primary)
            driver.engine.take = lambda _: None
        return primary

    monkeypatch.setattr(Driver, "next_primary", twice)
    plan = Plan(1, "storm", {}, Kernel(), (0,), 5.0, actions=(Action(1.0, "send"),))
    assert "came twice" in run_plan(plan).fault


def _asking(patience: float = math.inf) -> Plan:
    """A plan in which nobody answers one request."""
    asks = Action(1.0, "request", asks="never", patience=patience)
    return Plan(1, "storm", {"t3": 3}, Kernel(), (0,), 10.0, actions=(asks,))


def test_a_request_that_was_given_up_and_is_kept_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_plan(_asking(0.5)).fault == ""
    monkeypatch.setattr(Exchange, "cancel", lambda *_: None)
    assert "nobody waits for it" in run_plan(_asking(0.5)).fault


def test_a_reply_that_is_missed_too_early_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_plan(_asking()).sometimes["request: ReplyTimeoutError"] == 1
    expired, oldest_start = Transactions.expired, Transactions.oldest_start

    def too_early(transactions: Transactions, now: float, t3: float) -> Transaction | None:
        return expired(transactions, now, t3 - 0.5)

    def started(transactions: Transactions) -> float | None:
        at = oldest_start(transactions)
        return None if at is None else at - 0.5

    monkeypatch.setattr(Transactions, "expired", too_early)
    monkeypatch.setattr(Transactions, "oldest_start", started)
    monkeypatch.setattr(Timers, "expect", lambda timers, _: timers.retime())
    assert "timed out after 2.5 s" in run_plan(_asking()).fault


def test_the_program_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3"]) == 0
    printed = capsys.readouterr().out
    assert "3 seeds" in printed
    assert "0 faults" in printed
    assert main(["1", "--verbose"]) == 0


def test_a_call_that_fails_as_calls_do_is_none() -> None:
    plan = Plan(1, "storm", {}, Kernel(), (0,), 5.0, actions=(Action(1.0, "release"),))
    report = run_plan(plan)
    assert report.fault == ""
    assert report.sometimes["release: LocalProtocolError"] == 1
