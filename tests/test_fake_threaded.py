"""A tool in a thread of its own, as plain, asyncio and trio tests use it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from hsms_engine import blocking
from hsms_engine.fake import serve_fake
from hsms_engine.fake.behaviours import BehaviourError
from hsms_engine.fake.history import NotSeenError
from hsms_engine.fake.threaded import Expected, ThreadedEquipment, run_in_thread
from hsms_engine.messages import S1F1
from hsms_engine.pytest_plugin import FakeEquipments
from hsms_engine.secs2 import U4, A
from hsms_engine.sml import SmlError
from hsms_engine.toml_file import TomlError

LONG = 300.0


def use(tool: ThreadedEquipment) -> None:
    """A host that asks, and the tool as a test sets it."""
    with blocking.open_hsms(tool.host, tool.port) as host:
        assert host.request(S1F1(), timeout=LONG).name == "S1F2"
        tool.set("WaferCount", U4(7))
        assert tool.value("WaferCount") == U4(7)
        tool.event("LotStarted")
        tool.alarm(first_alarm(tool))
        tool.clear(first_alarm(tool))
        tool.until(lambda: tool.counts["sent"] >= 3, timeout=LONG)


def first_alarm(tool: ThreadedEquipment) -> int:
    return next(iter(tool._equipment.tool.plan.model.alarms))


def test_a_plain_test_expects_and_goes_on() -> None:
    with run_in_thread(serve_fake) as tool:
        use(tool)
        seen = tool.expect("S1F2 <L $model _>", within=LONG)
        assert (seen["model"], seen.names) == (A("hsms-engine"), {"model": A("hsms-engine")})
        assert seen.message.name == "S1F2"
        assert seen.is_sent
        assert tool.host in seen.peer
        assert "S1F2" in repr(seen)
        with pytest.raises(NotSeenError, match="no S99F1 within 0 s"):
            tool.expect("S99F1", within=0)
        with pytest.raises(SmlError):
            tool.expect("S99F1 <")
        (one,) = tool.tools.values()
        assert one.received == tool.received
        assert one.sent == tool.sent
        assert one.value("WaferCount") == U4(7)
        one.set("WaferCount", 8)
        one.event("LotStarted")
        one.alarm(first_alarm(tool))
        one.clear(first_alarm(tool))
        assert one.expect("S1F1", within=LONG).message == S1F1()


def test_where_a_loop_runs_it_is_awaited() -> None:
    async def main(expected: Expected) -> None:
        assert repr(expected) == "<Expected not awaited>"
        with pytest.raises(RuntimeError, match=r"await equipment\.expect"):
            print(expected.message)
        assert (await expected).message.name == "S1F2"
        # Once more is no harm.
        assert (await expected) is expected

    with run_in_thread(partial(serve_fake)) as tool:

        async def asks() -> None:
            await main(tool.expect("S1F2", within=LONG))

        use(tool)
        trio.run(asks)
        use(tool)
        asyncio.run(asks())


def test_a_trio_test_that_is_cancelled_does_not_wait() -> None:
    async def main(tool: ThreadedEquipment) -> None:
        with trio.move_on_after(0):
            await tool.expect("S99F1", within=LONG)

    with run_in_thread(serve_fake) as tool:
        trio.run(main, tool)


@pytest.mark.parametrize("runs", ["asyncio", "trio"])
def test_who_has_given_up_takes_the_message_from_nobody(runs: str) -> None:
    async def looks_in_vain() -> None:
        if runs == "trio":
            with trio.move_on_after(0.05):
                await tool.expect("S1F1", within=LONG)
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(tool.expect("S1F1", within=LONG), 0.05)

    with run_in_thread(serve_fake) as tool:
        if runs == "trio":
            trio.run(looks_in_vain)
        else:
            # It ends only when all of its threads have.
            asyncio.run(looks_in_vain())
        use(tool)
        assert tool.expect("S1F1", within=LONG).message == S1F1()


def test_who_does_not_await_is_told() -> None:
    async def forgets() -> None:
        tool.expect("S99F1")
        gc.collect()

    warned = pytest.warns(RuntimeWarning, match=r"expect\('S99F1'\) was never awaited")
    with run_in_thread(serve_fake) as tool, warned:
        trio.run(forgets)


def test_a_file_is_a_tool(tmp_path: Path) -> None:
    file = tmp_path / "tool.toml"
    file.write_text("[variable.7]\nvalue = '<U4 1>'\n", encoding="utf-8")
    with run_in_thread(partial(serve_fake, tool=file)) as tool:
        assert tool.value(7) == U4(1)


def frames(error: BaseException) -> list[str]:
    """The code that pytest shows of an error."""
    found = pytest.ExceptionInfo.from_exception(error)
    return [each.name for each in found.traceback.filter(found)]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda equipment: equipment.expect("S6F11", within=0), NotSeenError),
        (lambda equipment: equipment.set(1, "x"), LookupError),
        (lambda equipment: equipment.value("none"), LookupError),
        (lambda equipment: equipment.event("none"), LookupError),
        (lambda equipment: equipment.alarm("none"), LookupError),
        (lambda equipment: equipment.clear("none"), LookupError),
        (lambda equipment: equipment.until(lambda: False, timeout=0), TimeoutError),
    ],
)
def test_an_error_is_shown_where_the_test_has_called(
    call: Callable[[ThreadedEquipment], object], kind: type[Exception]
) -> None:
    with run_in_thread(serve_fake) as equipment, pytest.raises(kind) as caught:
        call(equipment)
    assert frames(caught.value) == [
        "test_an_error_is_shown_where_the_test_has_called",
        "<lambda>",
    ]


def test_a_behaviour_that_is_none_is_refused_in_the_calling_thread() -> None:
    with run_in_thread(serve_fake) as equipment, pytest.raises(BehaviourError) as caught:
        equipment.behave("drop-reply=1")
    assert "behave" not in frames(caught.value)
    assert "wait_for" not in frames(caught.value)


def test_awaited_errors_are_shown_there_too() -> None:
    async def main() -> None:
        await equipment.expect("S6F11", within=0)

    with run_in_thread(serve_fake) as equipment, pytest.raises(NotSeenError) as caught:
        asyncio.run(main())
    shown = frames(caught.value)
    assert "main" in shown
    assert not {"__await__", "find", "expect", "_find"} & {*shown}


def test_a_file_that_the_fixture_cannot_take_is_shown_where_it_was_asked_for(
    fake_equipments: FakeEquipments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as missing:
        fake_equipments(tool="missing.toml")
    assert f"in the folder {str(tmp_path)!r}: 'missing.toml'" in str(missing.value)
    with pytest.raises(TomlError) as absolute:
        fake_equipments(tool=tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("[evnt.1]\n", encoding="utf-8")
    with pytest.raises(TomlError) as bad:
        fake_equipments(tool="bad.toml")
    for each in (missing, absolute, bad):
        assert frames(each.value) == [
            "test_a_file_that_the_fixture_cannot_take_is_shown_where_it_was_asked_for"
        ]


def test_a_tool_that_is_not_there_is_told() -> None:
    with run_in_thread(serve_fake) as equipment, pytest.raises(KeyError, match="no tool 'A'"):
        equipment.tools["A"]
