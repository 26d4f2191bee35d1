"""A simulated tool where two things happen in one moment, and where its host is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import ReplyTimeoutError
from hsms_engine.driver.turns import Share
from hsms_engine.fake.conversation import OPEN, WAITING
from hsms_engine.fake.history import History
from hsms_engine.message import Message
from hsms_engine.messages import S1F1, S2F41
from hsms_engine.secs2 import U4, A, L
from hsms_engine.sml import parse_pattern
from tests.support.virtual import virtual_time
from tests.test_fake_tool import TOOL, standing

__all__ = ["virtual_time"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tool.toml"
    path.write_text(TOOL, encoding="utf-8")
    return path


async def test_what_a_primary_causes_happens_though_its_reply_comes_too_late(file: Path) -> None:
    async with standing(file, "delay-replies=5") as stand:
        async with stand.host(t3=1) as host:
            with pytest.raises(ReplyTimeoutError):
                await host.request(S2F41("START", {}))
        await trio.sleep(3)
        assert stand.equipment.value(1001) == U4(1)
        assert stand.why("not replied") == ["the connection is over"]


async def test_what_waits_is_told_when_the_equipment_is_killed(file: Path) -> None:
    async with standing(file) as stand, stand.host():
        for _ in range(OPEN + 2):
            stand.equipment.event(101)
        await wait_all_tasks_blocked()
        stand.equipment.event(103)
        assert stand.equipment.counts["disabled"] == 0
        await stand.equipment.kill()
        assert stand.equipment.counts["disabled"] == 1
        assert stand.why("not sent") == ["the connection is over"] * 2
        assert stand.equipment.counts["sent"] == OPEN


async def test_tcp_is_refused_when_it_is_healed_and_refused_at_once(file: Path) -> None:
    async with standing(file) as stand:
        tool = stand.equipment.tool
        tool.fault("refuse-tcp")
        tool.heal()
        tool.fault("refuse-tcp")
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionRefusedError):
            await stand.dial()


async def test_tcp_is_refused_when_that_is_asked_for_while_it_begins_to_listen(file: Path) -> None:
    async with standing(file) as stand:
        equipment = stand.equipment
        equipment.fault("refuse-tcp")
        run = equipment._run
        assert run is not None
        listen, begins = run.listener._listen, trio.Event()

        async def slowly(host: str, port: int) -> object:
            begins.set()
            await trio.sleep(1)
            return await listen(host, port)

        run.listener._listen = slowly  # type: ignore[assignment]  # it gives what ``listen`` gives
        equipment.heal()
        await begins.wait()
        equipment.fault("refuse-tcp")
        await trio.sleep(2)
        with pytest.raises(ConnectionRefusedError):
            await stand.dial()


async def test_what_needs_a_connection_is_told_without_one(file: Path) -> None:
    async with standing(file) as stand:
        stand.equipment.tool.separate()
        stand.equipment.tool.fault("cut-mid-frame")
        assert stand.told[1:] == [
            ("not done", {"what": what, "why": "no host is selected"})
            for what in ("separate", "cut-mid-frame")
        ]


async def test_what_is_no_message_needs_room_too(file: Path) -> None:
    async with standing(file) as stand, stand.host():
        for _ in range(WAITING + 1):
            stand.equipment.tool.fault("cut-mid-frame")
        stand.equipment.tool.separate()
        assert [event for event, _ in stand.told[-2:]] == ["not done"] * 2


async def test_a_request_that_waits_for_room_holds_up_nothing_when_it_is_sent(file: Path) -> None:
    async with standing(file, outbox_size=1024) as stand, stand.host(t3=5) as host:
        tool = stand.equipment.tool
        for _ in range(20):
            tool.send(Message(6, 11, wait=True, item=A("x" * 1000)))
        tool.send(Message(6, 13))
        names = [(await host.receive()).name for _ in range(21)]
        assert names == ["S6F11"] * 20 + ["S6F13"]
        assert trio.current_time() < 1
        assert stand.equipment.counts["not sent"] == 0


def test_what_was_looked_at_is_not_kept_decoded() -> None:
    history = History()
    body = L([U4(number) for number in range(100)])
    for _ in range(2):
        history.add(Message(6, 11, item=body), "peer", 0, 1, is_sent=True)
    pattern = parse_pattern("S6F11 <L>")
    assert history.find(pattern) is None
    assert "the nearest was S6F11 sent" in history.missed(pattern, 1.0)
    assert [each._items for each in history.messages(is_sent=True)] == [None, None]


def test_a_miss_compares_with_the_latest() -> None:
    history = History()
    history.add(Message(6, 11, item=L(U4(1), U4(2))), "peer", 0, 1, is_sent=True)
    for _ in range(100):
        history.add(Message(6, 11, item=U4(3)), "peer", 0, 1, is_sent=True)
    missed = history.missed(parse_pattern("S6F11 <L <U4 1> <U4 3>>"), 1.0)
    assert "expected <L" in missed


async def test_what_is_sent_while_a_reply_is_made_up_leaves_behind_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Share.pause
    pauses = 0

    async def slowly(share: Share) -> None:
        nonlocal pauses
        pauses += 1
        await wait_all_tasks_blocked()
        await pause(share)

    monkeypatch.setattr(Share, "pause", slowly)
    monkeypatch.setattr(Share, "count_message", lambda _: True)

    def answer(message: Message) -> Message:
        equipment.event(101)
        return Message(message.stream, message.function + 1)

    async with standing(file) as stand, stand.host() as host:
        equipment = stand.equipment
        equipment.answer = answer
        await host.request(S1F1())
        await equipment.expect("S6F11")
        assert [each.name for each in equipment.sent] == ["S1F2", "S6F11"]
        assert pauses
