"""The pytest plugin, in runs of pytest of their own that find it as an installed package does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from hsms_engine import (
    AbortedError,
    ClosedError,
    LocalProtocolError,
    Message,
    open_hsms,
)
from hsms_engine.blocking.wait import now
from hsms_engine.fake import serve_fake
from hsms_engine.fake.threaded import ThreadedEquipment, run_in_thread
from hsms_engine.messages import S1F1, S5F1, S5F2, S6F11
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PLUGIN = PROJECT["entry-points"]["pytest11"]

USED = """
import asyncio
import logging
import threading

import pytest
import trio

from hsms_engine import (
    AbortedError,
    ConnectError,
    Message,
    ReplyTimeoutError,
    Settings,
    open_hsms,
    open_link,
)
from hsms_engine.messages import S1F1, S1F2, S1F3, S1F4, S6F11


def ask(equipment, *messages, **settings):
    async def host():
        async with open_hsms(equipment.host, equipment.port, **settings) as connection:
            return [await connection.request(each) for each in messages]

    return trio.run(host)


def test_a_plain_test(fake_equipment):
    assert [each.name for each in ask(fake_equipment, S1F1(), S1F3(7))] == ["S1F2", "S1F4"]
    fake_equipment.until(lambda: fake_equipment.counts["ended"] == 1)
    assert fake_equipment.received == [S1F1(), S1F3(7)]
    assert fake_equipment.counts["replied"] == 2


def test_an_asyncio_test(fake_equipment):
    async def main():
        replies = asyncio.to_thread(ask, fake_equipment, S1F1())
        waiting = asyncio.to_thread(fake_equipment.until, lambda: "S1F1 W" in names())
        await asyncio.gather(replies, waiting)
        with pytest.raises(RuntimeError, match=r"await asyncio.to_thread\\(equipment.until"):
            fake_equipment.until(lambda: True)
        fake_equipment.kill()

    def names():
        return [f"{each.name} W" for each in fake_equipment.received]

    asyncio.run(main())


@pytest.mark.trio
async def test_a_trio_test(fake_equipment):
    async with open_link(port=fake_equipment.port, t5=1) as link:
        await link.wait_selected()
        fake_equipment.send(S6F11(1, 2, {}, wait=False))
        assert (await anext(link)).name == "S6F11"
        fake_equipment.kill()
        fake_equipment.restart()
        with pytest.raises(RuntimeError, match=r"await trio.to_thread.run_sync\\(equipment.until"):
            fake_equipment.until(lambda: True)
        await trio.to_thread.run_sync(
            fake_equipment.until, lambda: fake_equipment.counts["selected"] == 2
        )


def test_it_answers_as_the_test_says(fake_equipment):
    @fake_equipment.answer
    def answer(message):
        return S1F2("mine", "2") if message.function == 1 else None

    assert ask(fake_equipment, S1F1(), S1F3(7)) == [S1F2("mine", "2"), S1F4([])]

    async def patient(message):
        await trio.lowlevel.checkpoint()
        return S1F2("patient", "3")

    fake_equipment.answer(patient)
    assert ask(fake_equipment, S1F1()) == [S1F2("patient", "3")]


def test_an_answer_that_fails_the_test_aborts_and_is_logged(fake_equipment, caplog):
    @fake_equipment.answer
    def answer(message):
        pytest.fail("not this one")

    with pytest.raises(AbortedError):
        ask(fake_equipment, S1F1())
    assert "not this one" in caplog.text
    fake_equipment.answer(lambda message: None)
    assert ask(fake_equipment, S1F1())[0].name == "S1F2"


def test_several(fake_equipments):
    one, other = fake_equipments(), fake_equipments(settings=Settings(port=0, session_id=7))
    assert one.port != other.port
    for tool in (other, fake_equipments(session_id=7)):
        assert ask(tool, S1F1(), session_id=7)[0].name == "S1F2"
    with pytest.raises(ValueError, match="unknown setting sessionid; did you mean 'session_id'"):
        fake_equipments(sessionid=7)
    late = fake_equipments("drop-replies", answer=lambda message: S1F2())
    late.behave("answer-everything")
    assert ask(late, S1F1()) == [S1F2()]
    with pytest.raises(ValueError, match="did you mean"):
        fake_equipments("drop-reply")
    assert len([each for each in threading.enumerate() if each.name == "fake equipment"]) == 4


def test_killed_and_left(fake_equipment):
    fake_equipment.kill()
    fake_equipment.kill()


def test_left_connected(fake_equipment):
    import socket

    with socket.create_connection((fake_equipment.host, fake_equipment.port)):
        fake_equipment.until(lambda: fake_equipment.counts["accepted"] == 1)


def test_it_does_not_come(fake_equipment):
    ask(fake_equipment)
    with pytest.raises(TimeoutError, match=r"not so within 0.01 s; until now: listening 1, "):
        fake_equipment.until(lambda: False, timeout=0.01)
    with pytest.raises(pytest.fail.Exception):
        fake_equipment.until(lambda: pytest.fail("no"))


def test_a_plain_test_with_a_fault(fault_proxy, fake_equipment):
    fault_proxy.set("drop-frame=S1F2 nth=1")
    with pytest.raises(ReplyTimeoutError):
        ask(fault_proxy, S1F1(), t3=0.01, allow_short_timers=True)
    assert ask(fault_proxy, S1F1(), S1F3())[1].name == "S1F4"
    assert fault_proxy.counts["drop-frame=S1F2 nth=1"] == 1
    fault_proxy.until(lambda: fault_proxy.counts["ended"] == 2)
    assert len(fake_equipment.received) == 3


def test_an_asyncio_test_with_a_fault(fault_proxy):
    async def main():
        await asyncio.to_thread(ask, fault_proxy, S1F1())
        with pytest.raises(RuntimeError, match=r"await asyncio.to_thread\\(proxy.until"):
            fault_proxy.until(lambda: True)

    asyncio.run(main())


@pytest.mark.trio
async def test_a_trio_test_with_a_fault(fault_proxy):
    async with open_link(port=fault_proxy.port, t5=0.01, allow_short_timers=True) as link:
        await link.wait_selected()
        fault_proxy.reset_all()
        await trio.to_thread.run_sync(
            fault_proxy.until, lambda: fault_proxy.counts["accepted"] == 2
        )
        await link.wait_selected()


def test_faults_are_set_while_it_runs(fault_proxy, fault_proxies):
    assert fault_proxy.faults == ()
    fault_proxy.set("refuse")
    with pytest.raises(ConnectError):
        ask(fault_proxy)
    fault_proxy.set()
    ask(fault_proxy)
    assert fault_proxy.connections in ([], [1])
    names = [each.event for each in fault_proxy.events()]
    assert names[:5] == ["listening", "changed", "changed", "listening", "accepted"]
    with pytest.raises(ValueError, match="unknown fault 'latncy'; did you mean 'latency'"):
        fault_proxy.set("latncy=1")
    behind = fault_proxies(fault_proxy.host, fault_proxy.port, faults=["slice=1"], seed=3)
    ask(behind, S1F1())
    assert behind.counts["slice=1"] == 2
    with pytest.raises(ValueError, match="unknown fault"):
        fault_proxies("127.0.0.1", 5000, faults=["x"])


def test_no_thread_is_left():
    names = {each.name for each in threading.enumerate()}
    assert names.isdisjoint({"fake equipment", "fault proxy"})
"""

UNUSED = """
import sys
import threading


def test_nothing_of_it_runs():
    assert "hsms_engine.pytest_plugin" in sys.modules
    assert "hsms_engine.fake" not in sys.modules
    assert "hsms_engine.proxy" not in sys.modules
    assert "statecharts.hsms" in sys.modules
    assert threading.active_count() == 1
"""


def run_pytest(folder: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a file of tests where pytest finds an installed package with our entry points."""
    installed = folder / "site" / "with_plugin-0.dist-info"
    installed.mkdir(parents=True)
    lines = [f"{name} = {module}" for name, module in PLUGIN.items()]
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: with-plugin\nVersion: 0\n", encoding="utf-8"
    )
    (installed / "entry_points.txt").write_text(
        "\n".join(["[pytest11]", *lines, ""]), encoding="utf-8"
    )
    # pytest rewrites the asserts of all files of such a package.
    files = [each.relative_to(ROOT).as_posix() for each in (ROOT / "hsms_engine").rglob("*.py")]
    (installed / "RECORD").write_text("".join(f"{each},,\n" for each in files), encoding="utf-8")
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    return subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("--strict-markers", "--strict-config", *arguments, "test_it.py"),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed.parent)])},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )


def test_a_fake_equipment_serves_plain_asyncio_and_trio_tests(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, USED)
    assert done.returncode == 0, done.stdout
    assert f"{USED.count('def test_')} passed" in done.stdout
    assert done.stderr == ""


def test_a_run_that_does_not_use_it_is_not_disturbed(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, UNUSED)
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""


def test_the_fixtures_have_a_help_text(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, UNUSED, "--fixtures")
    assert "fake_equipment -- " in done.stdout
    assert "A fake equipment that answers everything" in done.stdout
    assert "fault_proxy -- " in done.stdout


# In this process


async def ask(equipment: ThreadedEquipment, message: Message) -> Message:
    async with open_hsms(equipment.host, equipment.port) as connection:
        return await connection.request(message)


def test_what_a_call_raises_comes_out_of_it() -> None:
    with run_in_thread(serve_fake) as equipment:
        with pytest.raises(LocalProtocolError, match="is listening already"):
            equipment.restart()
        with pytest.raises(ZeroDivisionError):
            equipment.until(lambda: 1 // 0 > 0)
        assert trio.run(ask, equipment, S1F1()).name == "S1F2"


def test_a_function_that_it_calls_can_look_at_it_and_not_control_it() -> None:
    found: list[object] = []

    def answer(_: Message) -> Message | None:
        found.append(equipment.received)
        equipment.kill()
        return None

    with run_in_thread(serve_fake) as equipment:
        equipment.answer(answer)
        with pytest.raises(AbortedError):
            trio.run(ask, equipment, S1F1())
        assert equipment.counts["answer failed"] == 1
    assert found == [[S1F1()]]


def test_after_its_end_it_can_be_looked_at_and_not_used() -> None:
    with run_in_thread(serve_fake) as equipment:
        trio.run(ask, equipment, S1F1())
    assert equipment.received == [S1F1()]
    assert equipment.counts["received"] == 1
    for call in (equipment.kill, equipment.restart, equipment.behave):
        with pytest.raises(ClosedError, match="the thread 'fake equipment' has ended"):
            call()
    with pytest.raises(ClosedError):
        equipment.send(S6F11(1, 2, {}, wait=False))


def test_a_call_that_comes_while_it_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[BaseException] = []
    handed = threading.Event()

    class Token:
        def run_sync_soon(self, call: Callable[[], None]) -> None:
            hand(call)
            handed.set()

    def kill(equipment: ThreadedEquipment) -> None:
        try:
            equipment.kill()
        except ClosedError as error:
            raised.append(error)

    with run_in_thread(serve_fake) as equipment:
        token = equipment._thread._token
        assert token is not None
        hand = token.run_sync_soon
        other = threading.Thread(target=kill, args=(equipment,))

        async def late() -> None:
            try:
                await trio.sleep_forever()
            finally:
                # The main task of the thread is over, and its loop is not: it stands still here
                # until the call has been handed to it.
                monkeypatch.setattr(equipment._thread, "_token", Token())
                other.start()
                assert handed.wait(PATIENCE)

        now(equipment._thread, lambda: trio.lowlevel.spawn_system_task(late))
    other.join()
    assert len(raised) == 1


def test_a_call_that_waits_when_it_ends_is_told() -> None:
    raised: list[BaseException] = []

    def wait(equipment: ThreadedEquipment) -> None:
        try:
            equipment.until(is_asked)
        except ClosedError as error:
            raised.append(error)

    def is_asked() -> bool:
        asked.set()
        return False

    asked = threading.Event()
    with run_in_thread(serve_fake) as equipment:
        thread = threading.Thread(target=wait, args=(equipment,))
        thread.start()
        assert asked.wait(PATIENCE)
    thread.join()
    (error,) = raised
    assert str(error).endswith("the program, or its block, has: all in it is closed")


def test_it_sends_a_primary_with_w_and_returns_the_reply() -> None:
    alarm = S5F1(0x81, 1, "hot")

    async def host(equipment: ThreadedEquipment) -> None:
        async with open_hsms(equipment.host, equipment.port) as connection:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, demand, equipment)
                primary = await anext(connection)
                assert primary == alarm
                await connection.reply(primary, S5F2(0))
            with pytest.raises(LocalProtocolError, match=r"use request\(\)"):
                equipment.send(alarm)
            # The reply would have to come from this loop.
            with pytest.raises(RuntimeError, match=r"^request\(\) would stop .* await trio\.to_th"):
                equipment.request(alarm)

    def demand(equipment: ThreadedEquipment) -> None:
        got.append(equipment.request(alarm))

    got: list[Message] = []
    with run_in_thread(serve_fake) as equipment:
        trio.run(host, equipment)
        assert got == [S5F2(0)]


def test_a_request_of_an_equipment_that_is_killed_is_over() -> None:
    async def host(equipment: ThreadedEquipment) -> None:
        async with (
            open_hsms(equipment.host, equipment.port) as connection,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(trio.to_thread.run_sync, demand, equipment)
            await anext(connection)
            equipment.kill()

    def demand(equipment: ThreadedEquipment) -> None:
        with pytest.raises(ClosedError):
            equipment.request(S5F1(0x81, 1, "hot"))

    with run_in_thread(serve_fake) as equipment:
        trio.run(host, equipment)


def test_an_equipment_that_cannot_listen_leaves_no_thread() -> None:
    with (
        pytest.raises(ValueError, match="unknown behaviour"),
        run_in_thread(partial(serve_fake, behaviours=["x"])),
    ):
        pass
    assert "fake equipment" not in [each.name for each in threading.enumerate()]


def test_an_end_that_a_function_of_the_user_holds_up_is_told() -> None:
    asked, over = threading.Event(), threading.Event()

    def answer(_: Message) -> None:
        asked.set()
        over.wait()

    async def host(equipment: ThreadedEquipment) -> None:
        async with (
            open_hsms(equipment.host, equipment.port) as connection,
            trio.open_nursery() as n,
        ):
            n.start_soon(connection.request, S1F1())
            await trio.to_thread.run_sync(asked.wait)
            n.cancel_scope.cancel()

    with (
        pytest.raises(RuntimeError, match=r"did not end in 0 s: a function given to it"),
        run_in_thread(partial(serve_fake, answer=answer), patience=0) as equipment,
    ):
        trio.run(host, equipment)
    over.set()
    equipment._thread._thread.join()
