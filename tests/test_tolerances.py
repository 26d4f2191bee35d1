"""What is tolerated of tools that deviate: read as what was meant, counted, told once.

That the counters move is in ``test_counters``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine import (
    HsmsConnection,
    Message,
    ReplyTimeoutError,
    Settings,
    StreamNineError,
    open_hsms,
    serve_hsms,
)
from hsms_engine.cli import main
from hsms_engine.cli.command import CommandError
from hsms_engine.cli.options import Protocol
from hsms_engine.protocol import ACTIVE_LINK, PASSIVE_LINK, Primary, Step, Traffic, Transaction
from hsms_engine.protocol.routers import router_for
from hsms_engine.secs2 import DecodeError
from hsms_engine.tolerances import DIRECTION, TOLERANCES
from statecharts import System
from tests.support.engines import (
    End,
    accepted,
    outcome_of,
    selected,
    selecting,
    serving,
    text_of,
)
from tests.support.pair import active_end, passive_end
from tests.support.raw_peer import (
    DESELECT_REQ,
    DESELECT_RSP,
    LINKTEST_REQ,
    LINKTEST_RSP,
    REJECT_REQ,
    SELECT_REQ,
    SELECT_RSP,
    SEPARATE_REQ,
    data,
    linktest_rsp,
    raw,
    reject_req,
    select_rsp,
)

ROOT = Path(__file__).parent.parent
ALL_ON: dict[str, Any] = {each.setting: True for each in TOLERANCES}
ALL_OFF: dict[str, Any] = {each.setting: False for each in TOLERANCES}
DIFFERS = "and ours is 0 but for the direction bit: tolerate_direction_bit (only the first one"
TOLD = (
    "S1F4 was tolerated: a secondary with W (tolerate_w_in_reply; only the first one of a "
    "connection is logged here)"
)
LOGGED = (
    "session=32768 system=00000001 length=14, tolerated: a session id whose top bit, the direction "
    "bit of SECS-I, is set"
)
PASSED_OVER = (
    "Linktest.req has session id 3, and that of a control message is 65535: "
    "tolerate_control_session_id (only the first one of a connection is logged here)"
)
KINDS = [
    "session id not allowed for its certificate",
    "foreign session id",
    "session id of no control message",
]
BOTH = pytest.mark.parametrize("start", [selected, serving], ids=["dials", "listens"])
Start = Callable[..., End]


def asked(end: End, message: Message | None = None) -> Transaction:
    """S1F3 W is open."""
    transaction = end.engine.request(message or Message(1, 3, wait=True))
    end.out()
    return transaction


def name_of_reply(transaction: Transaction) -> str | None:
    """``None``: it is still open."""
    if not transaction.is_settled:
        return None
    reply = outcome_of(transaction)
    assert isinstance(reply, Message)
    return reply.name


# The charts


@pytest.mark.parametrize("system", [ACTIVE_LINK, PASSIVE_LINK], ids=["dials", "listens"])
def test_the_charts_are_the_same_with_all_of_them_on(system: System) -> None:
    # The same object: so all snapshots and steps are the same, and what is exported.
    plain, *others = (
        router_for(system, Settings(**changes), single_use=False)
        for changes in ({}, ALL_ON, ALL_OFF, {"write_direction_bit": True, "is_equipment": True})
    )
    assert all(each is plain for each in others)
    assert [each.chart for each in plain.machines.values()] == [*system.charts]


def steps_of(end: End, *happens: Callable[[End], object]) -> list[Step]:
    """What the charts do, without the time."""
    found: list[Step] = []

    def drain() -> None:
        while (output := end.engine.next_output()) is not None:
            if isinstance(output, Step):
                found.append(output)

    for each in happens:
        each(end)
        drain()
    return found


def test_what_is_tolerated_makes_the_steps_of_what_was_meant() -> None:
    def receive(*pieces: bytes) -> Callable[[End], object]:
        return lambda end: end.engine.receive(b"".join(pieces))

    def play(status: int, session: int) -> list[Step]:
        end = selecting(**ALL_ON)
        return steps_of(
            end,
            receive(raw(SELECT_RSP, end.last, byte3=status, session=session)),
            receive(raw(LINKTEST_REQ, 1, session=session)),
            receive(raw(DESELECT_REQ, 2, session=session)),
            receive(raw(SELECT_REQ, 3, session=session)),
            receive(raw(REJECT_REQ, 3, byte3=1, session=session)),
            receive(raw(SEPARATE_REQ, 4, session=session)),
        )

    assert play(1, 0) == play(0, 0xFFFF)
    assert len(play(0, 0xFFFF)) > 5


# Replies


@BOTH
@pytest.mark.parametrize(
    ("tolerated", "stream", "function", "wait", "is_reply"),
    [
        ("", 1, 4, False, True),
        ("", 1, 4, True, False),
        ("tolerate_w_in_reply", 1, 4, True, True),
        ("tolerate_w_in_reply", 1, 6, True, False),
        ("", 1, 6, False, False),
        ("tolerate_other_function", 1, 6, False, True),
        ("tolerate_other_function", 1, 2, False, True),
        ("tolerate_other_function", 1, 254, False, True),
        ("tolerate_other_function", 1, 6, True, False),
        ("tolerate_other_function", 2, 4, False, False),
        ("tolerate_other_function", 2, 6, False, False),
        ("tolerate_system_bytes_alone", 2, 4, False, True),
        ("tolerate_system_bytes_alone", 1, 6, False, True),
        ("tolerate_system_bytes_alone", 127, 254, False, True),
        ("tolerate_system_bytes_alone", 2, 6, True, False),
    ],
)
def test_a_secondary_is_the_reply_if_its_deviations_are_tolerated(
    start: Start, tolerated: str, stream: int, function: int, wait: bool, is_reply: bool
) -> None:
    end = start(**ALL_OFF | ({tolerated: True} if tolerated else {}))
    transaction = asked(end)
    end.take(data(stream, function, end.last, wait=wait))
    assert name_of_reply(transaction) == (f"S{stream}F{function}" if is_reply else None)
    assert end.counts()["unexpected_secondaries"] == (not is_reply)
    deviates = is_reply and bool(tolerated)
    assert [*moved(end)] == ([tolerated.replace("tolerate", "tolerated")] if deviates else [])


def moved(end: End) -> dict[str, int]:
    """The deviations that were tolerated, and how often."""
    counts = end.counts()
    return {each.counter: counts[each.counter] for each in TOLERANCES if counts[each.counter]}


@BOTH
def test_no_tolerance_makes_a_primary_a_reply_or_takes_other_system_bytes(start: Start) -> None:
    end = start(**ALL_ON)
    transaction = asked(end)
    number = end.last
    end.take(data(1, 5, number), data(1, 4, number + 1), data(1, 4, number ^ 1 << 31))
    assert not transaction.is_settled
    end.take(data(1, 4, number))
    assert name_of_reply(transaction) == "S1F4"
    assert moved(end) == {}


def test_a_reply_settles_only_once_and_the_next_one_is_not_expected() -> None:
    end = selected(**ALL_ON)
    asked(end)
    number = end.last
    end.take(data(7, 8, number, wait=True), data(1, 4, number))
    assert end.counts()["unexpected_secondaries"] == 1


@pytest.mark.parametrize(
    ("stream", "function", "wait"), [(1, 4, True), (1, 6, False), (2, 2, True)]
)
def test_a_late_reply_is_called_late_if_it_would_have_been_the_reply(
    stream: int, function: int, wait: bool
) -> None:
    for changes, is_late in ((ALL_ON, True), (ALL_OFF, False)):
        end = selected(**changes)
        end.engine.abandon(asked(end))
        end.engine.watch(lambda: True)
        out = end.take(data(stream, function, end.last, wait=wait))
        (traffic,) = (each for each in out if isinstance(each, Traffic))
        assert (traffic.passed_over or "").startswith("late reply to S1F3") == is_late


def test_what_was_not_tolerated_is_in_the_error_of_the_request() -> None:
    end = selected(**ALL_OFF)
    transaction = asked(end)
    end.take(data(1, 4, end.last, wait=True))
    end.at(45)
    error = outcome_of(transaction)
    assert isinstance(error, ReplyTimeoutError)
    assert "S1F4 with our system bytes and W" in text_of(error)


DIRECTION_ONLY = "S1F4 with session id 32773 (ours is 5: it differs in the direction bit)"
TAKES = "would take it"


@pytest.mark.parametrize(
    ("come", "told"),
    [
        ((1, 6, 5, False), "our system bytes; tolerate_other_function would take it"),
        ((1, 6, 5, True), "and W; tolerate_w_in_reply and tolerate_other_function would take it"),
        ((2, 2, 5, False), "our system bytes; tolerate_system_bytes_alone would take it"),
        ((1, 4, 5, True), "and W; tolerate_w_in_reply would take it"),
        (
            (1, 4, DIRECTION | 5, False),
            f"{DIRECTION_ONLY}; tolerate_direction_bit would take it",
        ),
        ((6, 11, DIRECTION | 5, False), "in the direction bit); tolerate_direction_bit would"),
        ((1, 6, DIRECTION | 5, False), "tolerate_direction_bit and tolerate_other_function would"),
        # No tolerance alone would.
        ((1, 6, 6, False), "(ours is 5: compare session_id at both ends)"),
    ],
)
def test_an_expired_t3_names_the_settings_that_would_have_taken_a_message(
    come: tuple[int, int, int, bool], told: str
) -> None:
    stream, function, session, wait = come
    end = selected(session_id=5, **ALL_OFF)
    transaction = asked(end)
    end.take(data(stream, function, end.last, session=session, wait=wait))
    end.at(45)
    text = text_of(outcome_of(transaction))
    assert told in text
    assert (TAKES in text) == (session != 6)


def test_a_setting_that_is_on_and_would_not_be_enough_is_not_named() -> None:
    end = selected(**ALL_OFF | {"tolerate_w_in_reply": True})
    transaction = asked(end)
    end.take(data(1, 6, end.last, wait=True), data(1, 8, end.last + 1))
    end.at(45)
    text = text_of(outcome_of(transaction))
    assert "and W; tolerate_other_function would take it" in text
    assert text.count(TAKES) == 1


def test_a_report_with_the_direction_bit_is_about_the_same_session_id() -> None:
    end = selected(session_id=5, tolerate_direction_bit=False)
    transaction = asked(end)
    sent = raw(0, end.last, session=5, byte2=0x81, byte3=3)[4:]
    end.take(data(9, 1, 7, session=DIRECTION | 5, body=b"\x21\x0a" + sent))
    assert "both have session id 5" in text_of(outcome_of(transaction))


# The direction bit


@BOTH
def test_the_direction_bit_is_not_part_of_the_device_id(start: Start) -> None:
    end = start(session_id=5)
    end.engine.watch(lambda: True)
    out = end.take(data(6, 11, 1, session=DIRECTION | 5))
    (primary,) = (each for each in out if isinstance(each, Primary))
    (traffic,) = (each for each in out if isinstance(each, Traffic))
    assert (primary.session_id, traffic.header.session_id) == (5, DIRECTION | 5)
    assert traffic.message is primary
    assert [each.name for each in traffic.tolerated] == ["direction_bit"]
    transaction = asked(end)
    end.take(data(1, 4, end.last, session=DIRECTION | 5))
    assert name_of_reply(transaction) == "S1F4"
    assert moved(end) == {"tolerated_direction_bit": 2}


@BOTH
def test_without_the_tolerance_the_direction_bit_makes_a_foreign_session_id(start: Start) -> None:
    end = start(session_id=5, tolerate_direction_bit=False)
    transaction = asked(end)
    out = end.take(data(6, 11, 1, session=DIRECTION | 5), data(1, 4, end.last, session=DIRECTION))
    assert not any(isinstance(each, Primary) for each in out)
    assert not transaction.is_settled
    assert (end.counts()["foreign_session_id"], moved(end)) == (2, {})


def test_any_session_id_is_shown_as_a_device_id_if_the_bit_is_tolerated() -> None:
    for changes, shown in (({}, 9), ({"tolerate_direction_bit": False}, DIRECTION | 9)):
        end = selected(check_session_id=False, **changes)
        assert end.primary(data(6, 11, 1, session=DIRECTION | 9)).session_id == shown


def test_the_ids_of_a_certificate_are_device_ids() -> None:
    end = serving(check_session_id=False)
    end.engine.allow(frozenset({0, 4}))
    assert end.primary(data(6, 11, 1, session=DIRECTION | 4)).session_id == 4
    assert not any(isinstance(each, Primary) for each in end.take(data(6, 11, 2, session=0x8005)))
    assert (end.counts()["foreign_session_id"], moved(end)) == (1, {"tolerated_direction_bit": 1})


@pytest.mark.parametrize("function", [3, 4])
def test_a_report_about_what_is_unreadable_has_the_header_as_it_came(function: int) -> None:
    end = serving(is_equipment=True, session_id=5)
    transaction = asked(end)
    number = end.last
    piece = data(1, function, number, session=DIRECTION | 5, body=b"\xff\xff\xff")
    out = end.take(piece)
    message = outcome_of(transaction) if function == 4 else None
    for each in out:
        if isinstance(each, Primary):
            message = each
    assert isinstance(message, Message)
    with pytest.raises(DecodeError):
        message.sml()
    with pytest.raises(DecodeError):
        print(message.item)
    end.engine.report_unreadable()
    end.out()
    assert end.frames[-1].byte3 == 7
    assert end.frames[-1].body == b"\x21\x0a" + piece[4:14]


def test_s9f1_has_the_header_as_it_came() -> None:
    end = serving(is_equipment=True, session_id=5)
    piece = data(1, 1, 3, session=DIRECTION | 6)
    end.take(piece)
    assert (end.frames[-1].byte3, end.frames[-1].body) == (1, b"\x21\x0a" + piece[4:14])


@pytest.mark.parametrize("session", [5, 6, DIRECTION | 5, DIRECTION | 6])
def test_a_report_ends_a_request_also_if_its_header_has_the_other_direction(session: int) -> None:
    for changes, ends in (({}, True), ({"tolerate_direction_bit": False}, False)):
        end = selected(session_id=5, **changes)
        transaction = asked(end)
        sent = raw(0, end.last, session=DIRECTION | 5, byte2=0x81, byte3=3)[4:]
        end.take(data(9, 1, 7, session=session, body=b"\x21\x0a" + sent))
        assert transaction.is_settled == ends
        assert moved(end) == ({"tolerated_direction_bit": 1} if ends else {})
        if ends:
            error = outcome_of(transaction)
            assert isinstance(error, StreamNineError)
            told = "both have session id 5" if session & 0xF == 5 else "came with session id 6"
            assert told in text_of(error)


def test_an_expired_t3_compares_device_ids() -> None:
    end = serving(is_equipment=True, session_id=5, write_direction_bit=True)
    transaction = asked(end)
    number = end.last
    end.take(data(1, 6, number, session=DIRECTION | 5), data(1, 4, number, session=6))
    # Of another stream, and with our device id: it was not meant for this request.
    end.take(data(6, 12, number + 1, session=5))
    end.at(45)
    text = text_of(outcome_of(transaction))
    assert "session id 6 (ours is 5: compare" in text
    assert "32773" not in text
    assert "S6F12" not in text


@pytest.mark.parametrize(
    ("is_equipment", "writes", "session"),
    [(True, True, DIRECTION | 5), (True, False, 5), (False, True, 5), (False, False, 5)],
)
def test_only_an_equipment_writes_the_direction_bit_and_only_if_told(
    is_equipment: bool, writes: bool, session: int
) -> None:
    end = serving(session_id=5, is_equipment=is_equipment, write_direction_bit=writes)
    transaction = asked(end)
    assert end.frames[-1].session_id == session
    sent = raw(0, end.last, session=session, byte2=0x81, byte3=3)[4:]
    primary = end.primary(data(1, 1, 1, session=5, wait=True))
    end.engine.reply(primary, Message(1, 2))
    end.engine.send(Message(6, 11))
    end.out()
    assert [each.session_id for each in end.frames[-2:]] == [session] * 2
    end.take(data(9, 7, 2, session=5, body=b"\x21\x0a" + sent))
    assert isinstance(outcome_of(transaction), StreamNineError)
    # Control messages have none.
    end.take(raw(LINKTEST_REQ, 9))
    assert end.frames[-1].session_id == 0xFFFF


def test_the_direction_bit_that_is_written_can_be_changed() -> None:
    end = serving(is_equipment=True)
    for writes in (True, False):
        end.engine.configure(end.engine.settings.replace(write_direction_bit=writes))
        asked(end)
        assert end.frames[-1].session_id == (DIRECTION if writes else 0)


# Control messages


@pytest.mark.parametrize("session", [0, 4, 0x7FFF, 0x8000, 0xFFFE])
def test_control_messages_may_have_any_session_id(session: int) -> None:
    end = accepted(session_id=5)
    end.take(raw(SELECT_REQ, 1, session=session))
    assert end.engine.is_selected
    end.linktest()
    end.take(raw(LINKTEST_RSP, end.last, session=session))
    transaction = asked(end)
    end.take(reject_req(end.last, 0, 4, session=session))
    assert transaction.is_settled
    assert moved(end) == {"tolerated_control_session_id": 3}
    assert {each.session_id for each in end.frames if each.stype} == {0xFFFF}
    end.take(raw(SEPARATE_REQ, 2, session=session))
    assert end.engine.is_closed


@pytest.mark.parametrize("is_tolerated", [True, False])
@pytest.mark.parametrize("writes", [True, False])
def test_a_reject_req_may_have_the_session_id_of_the_request_that_it_names(
    is_tolerated: bool, writes: bool
) -> None:
    end = serving(
        session_id=5,
        is_equipment=True,
        write_direction_bit=writes,
        tolerate_control_session_id=is_tolerated,
    )
    transaction = asked(end)
    sent = end.frames[-1].session_id
    end.engine.watch(lambda: True)
    out = end.take(reject_req(end.last, 0, 4, session=sent))
    assert transaction.is_settled
    (traffic,) = (each for each in out if isinstance(each, Traffic))
    assert (traffic.tolerated, traffic.passed_over) == ((), None)
    assert (end.counts()["foreign_session_id"], moved(end)) == (0, {})
    # It names none now, and neither does another kind of message.
    end.take(reject_req(end.last, 0, 4, session=sent), raw(LINKTEST_REQ, end.last, session=sent))
    assert sum((*moved(end).values(), end.counts()["foreign_session_id"])) == 2


@pytest.mark.parametrize("session", [0, 0x7FFF, 0xFFFE])
def test_off_a_control_message_of_another_session_id_is_passed_over(session: int) -> None:
    end = accepted(session_id=5, tolerate_control_session_id=False)
    end.take(raw(SELECT_REQ, 1, session=session))
    assert not end.engine.is_selected
    end.take(raw(SELECT_REQ, 1))
    linktest = end.linktest()
    number, transaction = end.last, asked(end)
    before = len(end.frames)
    end.take(
        raw(LINKTEST_RSP, number, session=session),
        raw(LINKTEST_REQ, 3, session=session),
        reject_req(end.last, 0, 4, session=session),
        raw(SEPARATE_REQ, 4, session=session),
    )
    assert len(end.frames) == before
    assert not linktest.is_settled
    assert (end.counts()["foreign_session_id"], moved(end)) == (5, {})
    end.take(linktest_rsp(number))
    assert outcome_of(linktest) is None
    end.at(45)
    assert "Reject.req 4 with our system bytes" in text_of(outcome_of(transaction))


def test_off_what_is_no_control_message_of_hsms_is_rejected_as_before() -> None:
    end = selected(tolerate_control_session_id=False)
    end.take(raw(8, 1, session=0), raw(SELECT_REQ, 1, ptype=1, session=0))
    assert [(each.stype, each.byte3) for each in end.frames[-2:]] == [
        (REJECT_REQ, 1),
        (REJECT_REQ, 2),
    ]
    assert end.counts()["foreign_session_id"] == 0


def test_select_rsp_1_selects_only_if_that_is_tolerated() -> None:
    for tolerated in (True, False):
        end = selecting(tolerate_select_rsp_1=tolerated)
        end.take(select_rsp(end.last, 1))
        assert end.engine.is_selected == tolerated
    for status in (2, 3, 4, 255):
        end = selecting(**ALL_ON)
        end.take(select_rsp(end.last, status))
        assert not end.engine.is_selected
        assert moved(end) == {}


def test_select_rsp_1_is_counted_only_where_it_selects_against_the_rules() -> None:
    end = selecting(**ALL_ON)
    number = end.last
    end.take(select_rsp(number, 1), select_rsp(number, 1))
    assert end.frames[-1].stype == REJECT_REQ
    assert moved(end) == {"tolerated_select_rsp_1": 1}
    end.deselect()
    end.take(raw(DESELECT_RSP, end.last))
    end.select()
    end.take(select_rsp(end.last, 1))
    assert end.engine.is_selected
    assert moved(end) == {"tolerated_select_rsp_1": 2}
    # When both ask at once, status 1 is what the rules say.
    end = selecting(**ALL_ON)
    number = end.last
    end.take(raw(SELECT_REQ, 9), select_rsp(number, 1))
    assert end.engine.is_selected
    assert moved(end) == {}


def test_select_rsp_1_of_nobody_is_rejected_also_if_it_is_tolerated() -> None:
    end = selected(**ALL_ON)
    end.take(select_rsp(77, 1))
    assert end.frames[-1].stype == REJECT_REQ
    assert moved(end) == {}


# Told once

DEVIATING: dict[str, Callable[[int], bytes]] = {
    "w_in_reply": lambda number: data(1, 4, number, wait=True),
    "direction_bit": lambda number: data(6, 11, number, session=DIRECTION),
    "control_session_id": lambda number: raw(LINKTEST_REQ, number, session=0),
    "other_function": lambda number: data(1, 6, number),
    "system_bytes_alone": lambda number: data(2, 2, number),
}


@pytest.mark.parametrize("name", DEVIATING)
def test_the_first_of_each_connection_comes_out_and_all_do_while_somebody_watches(
    name: str,
) -> None:
    end = selected(**ALL_ON | {"tolerate_system_bytes_alone": name == "system_bytes_alone"})

    def come() -> list[Traffic]:
        asked(end)
        out = end.take(DEVIATING[name](end.last))
        return [each for each in out if isinstance(each, Traffic) and not each.sent]

    (first,) = come()
    assert ([each.name for each in first.tolerated], first.first_of) == ([name], (name,))
    assert come() == []
    end.engine.watch(lambda: True)
    (later,) = come()
    assert ([each.name for each in later.tolerated], later.first_of) == ([name], ())
    end.engine.watch(bool)
    end.engine.tcp_closed()
    end.out()
    end.at(end.now + 10)
    end.engine.tcp_opened()
    end.out()
    end.take(select_rsp(end.last))
    (again,) = come()
    assert (again.epoch, again.first_of) == (2, (name,))


@pytest.mark.parametrize("role", ["active", "passive"])
async def test_each_deviation_has_one_line_and_the_request_its_reply(
    role: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    end = active_end if role == "active" else passive_end
    async with (
        end(linktest_interval=None, **ALL_ON) as (connection, peer),
        trio.open_nursery() as nursery,
    ):
        replies: list[Message] = []

        async def ask() -> None:
            replies.append(await connection.request(Message(1, 3, wait=True)))

        async def come(name: str) -> None:
            nursery.start_soon(ask)
            system = (await peer.frame()).system
            await peer.send(DEVIATING[name](system))
            if name in ("direction_bit", "control_session_id"):
                await peer.send(data(1, 4, system))
            if name == "control_session_id":
                assert (await peer.frame()).stype == LINKTEST_RSP

        for name in (*DEVIATING, *DEVIATING):
            await come(name)
            await peer.ping()
        assert [each.name for each in replies] == ["S1F4", "S1F4", "S1F4", "S1F6", "S2F2"] * 2
        counts = connection.statistics().counts
        assert [counts[f"tolerated_{name}"] for name in DEVIATING] == [2] * 5
    told = [each.getMessage() for each in caplog.records if "tolerated" in each.getMessage()]
    assert len(told) == len(DEVIATING)
    assert told[0].endswith(TOLD)
    assert {each.levelname for each in caplog.records if "tolerated" in each.getMessage()} == {
        "INFO"
    }


async def test_the_log_of_messages_says_what_was_tolerated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.traffic")
    async with passive_end(linktest_interval=None) as (_, peer):
        await peer.send(data(6, 11, 1, session=DIRECTION))
        await peer.ping()
    (record,) = (each for each in caplog.records if "S6F11" in each.getMessage())
    assert record.getMessage().endswith(LOGGED)
    assert vars(record)["tolerated"] == "direction_bit"


async def test_a_control_message_that_is_not_tolerated_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    settings = {"linktest_interval": None, "tolerate_control_session_id": False}
    async with passive_end(**settings) as (_, peer):
        await peer.send(*(raw(LINKTEST_REQ, number, session=3) for number in range(3)))
        await peer.ping()
    (line,) = (each.getMessage() for each in caplog.records if "Linktest.req" in each.getMessage())
    assert line.endswith(PASSED_OVER)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The level, and what was told of the first ones of a connection, without the rest."""
    told = [(each.levelname, each.getMessage()) for each in caplog.records]
    return [
        f"{level} {text.partition('e: ')[2].partition(' (')[0].partition(': a ')[0]}"
        for level, text in told
        if "only the first one" in text
    ]


@pytest.mark.parametrize("is_second", [False, True])
async def test_each_kind_has_a_line_of_its_own_also_if_one_message_has_several(
    is_second: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with (
        active_end(linktest_interval=None, session_id=5) as (connection, peer),
        trio.open_nursery() as nursery,
    ):
        if is_second:
            await peer.send(data(6, 11, 1, session=6))
            await peer.ping()

        async def ask() -> None:
            with pytest.raises(StreamNineError):
                await connection.request(Message(1, 3, wait=True))

        nursery.start_soon(ask)
        quoted = raw(0, (await peer.frame()).system, session=DIRECTION | 5, byte2=0x81, byte3=3)
        await peer.send(data(9, 1, 7, session=6, body=b"\x21\x0a" + quoted[4:]))
        # Neither is told again, alone.
        await peer.send(data(6, 11, 8, session=6), data(6, 11, 9, session=DIRECTION | 5))
        await peer.ping()
    foreign = f"WARNING {'S6F11' if is_second else 'S9F1'} has session id 6, and ours is 5"
    assert sorted(lines_of(caplog)) == ["INFO S9F1 was tolerated", foreign]


async def test_a_deviation_that_was_told_is_not_told_again_beside_a_new_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with (
        active_end(linktest_interval=None, **ALL_ON) as (connection, peer),
        trio.open_nursery() as nursery,
    ):
        for function in (4, 6):
            nursery.start_soon(connection.request, Message(1, 3, wait=True))
            await peer.send(data(1, function, (await peer.frame()).system, wait=True))
            await peer.ping()
    told = [each.getMessage() for each in caplog.records if "tolerated" in each.getMessage()]
    assert [text.partition(" was tolerated: ")[2].partition(" (")[0] for text in told] == [
        "a secondary with W",
        "a reply of another even function, in the stream of its primary",
    ]


async def test_a_foreign_control_message_hides_no_foreign_data_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    settings = {"linktest_interval": None, "tolerate_control_session_id": False}
    async with passive_end(**settings) as (_, peer):
        for number in range(2):
            await peer.send(raw(LINKTEST_REQ, number, session=3), data(6, 11, 2, session=4))
        await peer.ping()
    assert [each.partition(",")[0] for each in lines_of(caplog)] == [
        "WARNING Linktest.req has session id 3",
        "WARNING S6F11 has session id 4",
    ]


def test_each_reason_to_pass_over_a_session_id_is_a_kind_of_its_own() -> None:
    end = serving(tolerate_control_session_id=False)
    end.engine.allow(frozenset({7}))
    reasons = [
        each.first_of
        for _ in range(2)
        for each in end.take(
            data(6, 11, 1), data(6, 11, 2, session=6), raw(LINKTEST_REQ, 3, session=3)
        )
        if isinstance(each, Traffic)
    ]
    assert reasons == [(each,) for each in KINDS]


async def test_a_foreign_session_id_is_told_without_its_direction_bit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with passive_end(linktest_interval=None) as (_, peer):
        await peer.send(data(6, 11, 1, session=DIRECTION | 7))
        await peer.ping()
    (line,) = (each.getMessage() for each in caplog.records if "S6F11" in each.getMessage())
    assert "S6F11 has session id 7, and ours is 0" in line


async def test_a_session_id_that_differs_in_the_direction_bit_only_is_told_with_its_setting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with passive_end(linktest_interval=None, tolerate_direction_bit=False) as (_, peer):
        await peer.send(data(6, 11, 1, session=DIRECTION))
        await peer.ping()
    (line,) = (each.getMessage() for each in caplog.records if "S6F11" in each.getMessage())
    assert DIFFERS in line


# Anything


flags = st.fixed_dictionaries(
    {each.setting: st.booleans() for each in TOLERANCES}
    | {name: st.booleans() for name in ("write_direction_bit", "is_equipment", "check_session_id")}
)
headers: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "session": st.sampled_from([0, 1, DIRECTION, DIRECTION | 1, 0xFFFF]),
        "byte2": st.sampled_from([1, 0x81, 2, 0x82, 9]),
        "byte3": st.sampled_from([0, 1, 2, 3, 4, 6]),
        "ptype": st.sampled_from([0, 0, 0, 1]),
        "body": st.sampled_from([b"", b"", b"\xff\xff\xff", b"\x21\x0a" + bytes(10)]),
    }
)
# Its SType, how far its system bytes are from those of our latest frame, and the rest.
frames = st.tuples(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]), st.integers(0, 4), headers)


@given(data=st.data(), changes=st.lists(flags, min_size=1, max_size=3))
def test_with_any_of_them_nothing_ends_but_the_connection(
    data: st.DataObject, changes: list[dict[str, bool]]
) -> None:
    end = data.draw(st.sampled_from((selected, serving, selecting, accepted)))(**changes[0])
    end.engine.watch(lambda: True)
    for each in changes:
        if end.engine.is_closed:
            break
        end.engine.configure(end.engine.settings.replace(**each))
        for _ in range(4):
            if end.engine.is_selected:
                end.engine.request(Message(1, 1, wait=True))
                end.out()
        near = end.last if end.frames else 0
        drawn = data.draw(st.lists(frames, max_size=6))
        pieces = [raw(stype, max(near - less, 0), **header) for stype, less, header in drawn]
        for output in end.take(*pieces):
            if isinstance(output, Primary):
                end.engine.take(output)
    assert end.engine._life.defect is None
    came = end.counts()["frames_received"]
    assert all(count <= came for count in moved(end).values())


async def test_over_tcp_an_equipment_writes_the_direction_bit_and_a_host_reads_it() -> None:
    seen: list[tuple[int, int | None]] = []

    async def handler(connection: HsmsConnection) -> None:
        primary = await anext(connection)
        await connection.reply(primary, Message(1, 2))
        await connection.request(Message(6, 11, wait=True))

    async with trio.open_nursery() as nursery:
        serve = partial(
            serve_hsms, handler, "127.0.0.1", 0,
            session_id=5, is_equipment=True, write_direction_bit=True,
        )  # fmt: skip
        server = await nursery.start(serve)
        async with open_hsms("127.0.0.1", server.port, session_id=5) as host:
            host.on_message(
                lambda each: (
                    seen.append((each.header.session_id, each.message.session_id))
                    if each.is_data and not each.sent and each.message
                    else None
                )
            )
            await host.request(Message(1, 1, wait=True))
            await host.reply(await anext(host), Message(6, 12))
            assert seen == [(DIRECTION | 5, 5)] * 2
            assert host.statistics().counts["tolerated_direction_bit"] == 2
            assert host.statistics().counts["foreign_session_id"] == 0
        nursery.cancel_scope.cancel()


# The programs


def test_options_turn_them_on_and_off_by_name_and_win_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "links.toml"
    file.write_text(
        "[link.a]\ntolerate_other_function = true\ntolerate_w_in_reply = false", encoding="utf-8"
    )
    assert Protocol(config=file).settings() == Settings(
        name="a", tolerate_other_function=True, tolerate_w_in_reply=False
    )
    given = Protocol(
        config=file,
        tolerate=["w_in_reply", "select_rsp_1"],
        no_tolerate=["other_function", "direction_bit"],
    )
    assert given.settings(t3=7.0) == Settings(
        name="a", t3=7.0, tolerate_select_rsp_1=True, tolerate_direction_bit=False
    )


def test_options_say_when_they_contradict_each_other() -> None:
    with pytest.raises(CommandError, match="--tolerate and --no-tolerate name w_in_reply: which"):
        Protocol(tolerate=["w_in_reply"], no_tolerate=["w_in_reply"]).settings()


@pytest.mark.parametrize("option", ["--tolerate", "--no-tolerate"])
def test_an_option_with_a_name_that_is_none_says_which_there_are(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["connect", "127.0.0.1", "5000", option, "select_rsp"]) == 2
    assert "'select_rsp' is no tolerance; did you mean 'select_rsp_1'?" in capsys.readouterr().err


def test_an_option_with_a_name_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--tolerate", "select_rsp_1", "--no-tolerate", "w_in_reply"]
    # What stops it comes after all options were read.
    assert main(["connect", "127.0.0.1", "5000", *chosen, "--send", "S1F2"]) == 2
    assert "S1F2 is a secondary" in capsys.readouterr().err


def test_an_option_with_several_names_says_that_it_is_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["connect", "127.0.0.1", "5000", "--tolerate", "w_in_reply,select_rsp_1"]
    assert main(command) == 2
    assert "is no tolerance; repeat the option for each" in capsys.readouterr().err


# The page


def test_the_page_has_each_of_them_with_its_default_and_its_words() -> None:
    page = (ROOT / "docs" / "tolerances.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (on|off) \| ([^|]+) \|", page, re.MULTILINE)
    assert rows == [
        (each.setting, "on" if each.default else "off", each.deviation) for each in TOLERANCES
    ]
    defaults = Settings()
    assert [getattr(defaults, each.setting) for each in TOLERANCES] == [
        each.default for each in TOLERANCES
    ]
