"""A report of stream 9 ends the request that it is about at once; whatever else it says, it ends
nothing."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine import (
    Message,
    Primary,
    ReplyTimeoutError,
    StreamNineError,
    TransactionError,
)
from hsms_engine.errors import NotTaken
from hsms_engine.protocol.stream_nine import reported_header
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.secs2 import A, B, Item, L, encode
from tests.support.engines import End, outcome_of, selected, serving, text_of
from tests.support.pair import active_end, passive_end
from tests.support.raw_peer import data, raw
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

S1F13 = Message(1, 13, wait=True)
BOTH = pytest.mark.parametrize("start", [selected, serving], ids=["dials", "listens"])
ENDING = {
    1: "unrecognized device id",
    3: "unrecognized stream",
    5: "unrecognized function",
    7: "illegal data",
    11: "data too long",
}


def asked(end: End, message: Message = S1F13) -> Transaction:
    transaction = end.engine.request(message)
    end.out()
    return transaction


def header(transaction: Transaction, session: int = 0, byte2: int = 0x81) -> bytes:
    """The header of S1F13 W as it was sent, in bytes."""
    return raw(0, transaction.system_bytes, session=session, byte2=byte2, byte3=13)[4:]


def mhead(ten: bytes) -> bytes:
    return b"\x21\x0a" + ten


@pytest.mark.clause("data/reported")
@BOTH
@pytest.mark.parametrize("function", ENDING)
@pytest.mark.parametrize("is_equipment", [False, True])
def test_a_report_about_an_open_request_ends_it_and_is_still_a_primary(
    start: type[End], function: int, is_equipment: bool
) -> None:
    end = start(is_equipment=is_equipment)
    other, transaction = asked(end), asked(end)
    before = len(end.frames)
    out = end.take(data(9, function, 77, body=mhead(header(transaction))))

    error = outcome_of(transaction)
    assert isinstance(error, StreamNineError)
    assert (error.function, error.name) == (function, f"S9F{function}")
    assert f"tool: reported S1F13 with S9F{function}, {ENDING[function]}" in text_of(error)
    assert [each.name for each in out if isinstance(each, Primary)] == [f"S9F{function}"]
    # Nothing is answered to it, and no other request is touched.
    assert len(end.frames) == before
    assert not other.is_settled
    end.take(data(1, 14, other.system_bytes))
    assert isinstance(outcome_of(other), Message)


@pytest.mark.clause("data/reported")
@pytest.mark.parametrize("function", ENDING)
@pytest.mark.parametrize("is_equipment", [False, True])
def test_a_report_with_a_foreign_session_id_ends_the_request_and_is_answered_with_nothing(
    function: int, is_equipment: bool
) -> None:
    end = selected(is_equipment=is_equipment, session_id=3)
    transaction = asked(end)
    before = len(end.frames)
    out = end.take(data(9, function, 77, session=5, body=mhead(header(transaction, session=3))))

    assert isinstance(outcome_of(transaction), StreamNineError)
    assert [each for each in out if isinstance(each, Primary)] == []
    assert end.counts()["foreign_session_id"] == 1
    assert len(end.frames) == before


@pytest.mark.parametrize("function", [n for n in range(1, 256, 2) if n not in ENDING])
def test_no_other_report_ends_a_request(function: int) -> None:
    end = selected()
    transaction = asked(end)
    end.take(data(9, function, 77, body=mhead(header(transaction))))
    assert not transaction.is_settled


@pytest.mark.parametrize("stream", [0, 1, 8, 10, 127])
def test_no_other_stream_ends_a_request_by_what_is_in_its_body(stream: int) -> None:
    end = selected()
    transaction = asked(end)
    end.take(data(stream, 7, 77, body=mhead(header(transaction))))
    assert not transaction.is_settled


def test_each_byte_of_the_header_counts() -> None:
    end = selected(tolerate_direction_bit=False)
    transaction = asked(end)
    ours = header(transaction)
    for at in range(10):
        for other in {bytes([ours[at] ^ bit]) for bit in (1, 0x80)}:
            wrong = ours[:at] + other + ours[at + 1 :]
            end.take(data(9, 7, 77, body=mhead(wrong)))
            assert not transaction.is_settled, wrong
    end.take(data(9, 7, 77, body=mhead(ours)))
    assert transaction.is_settled


def test_the_header_is_that_which_was_sent_also_when_the_session_id_has_changed_since() -> None:
    end = selected()
    transaction = asked(end)
    end.engine.configure(end.engine.settings.replace(session_id=9))
    end.take(data(9, 5, 77, session=9, body=mhead(header(transaction, session=0))))
    assert isinstance(outcome_of(transaction), StreamNineError)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_length_may_have_more_bytes_than_it_needs(count: int) -> None:
    end = selected()
    transaction = asked(end)
    length = (10).to_bytes(count, "big")
    end.take(data(9, 7, 77, body=bytes([0x20 + count]) + length + header(transaction)))
    assert isinstance(outcome_of(transaction), StreamNineError)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda _: b"",
        lambda _: b"\x21",
        lambda _: b"\x23\x00",
        lambda ten: ten,
        lambda ten: mhead(ten)[:-1],
        lambda ten: mhead(ten) + b"\0",
        lambda ten: b"\x21\x09" + ten[:-1],
        lambda ten: b"\x21\x0b" + ten + b"\0",
        lambda ten: b"\x20" + ten,
        lambda ten: encode(L(B(ten))),
        lambda ten: b"\x41\x0a" + ten,
        lambda ten: b"\xa5\x0a" + ten,
        lambda ten: b"\x22\x0a\x00" + ten,
    ],
    ids=[
        "nothing", "a format alone", "half a length", "no item", "cut", "a byte behind it",
        "nine bytes", "eleven bytes", "no length", "in a list", "as text", "as numbers",
        "another length",
    ],
)  # fmt: skip
def test_what_is_no_mhead_ends_nothing(wrap: object) -> None:
    end = selected()
    transaction = asked(end)
    assert callable(wrap)
    out = end.take(data(9, 7, 77, body=wrap(header(transaction))))
    assert not transaction.is_settled
    assert [each.name for each in out if isinstance(each, Primary)] == ["S9F7"]


@given(body=st.binary(max_size=20), function=st.integers(0, 255), session=st.integers(0, 9))
def test_whatever_a_report_says_nothing_is_raised_and_no_request_ends(
    body: bytes, function: int, session: int
) -> None:
    end = selected(is_equipment=True)
    transaction = asked(end)
    end.take(data(9, function, transaction.system_bytes ^ 1, session=session, body=body))
    assert not transaction.is_settled
    assert end.engine.is_selected


@given(ten=st.binary(min_size=10, max_size=10), count=st.integers(1, 3), more=st.binary())
def test_a_header_is_found_exactly_in_one_item_of_ten_bytes(
    ten: bytes, count: int, more: bytes
) -> None:
    item = bytes([0x20 + count]) + (10).to_bytes(count, "big") + ten
    assert reported_header(item) == ten
    assert (reported_header(item + more) == ten) == (more == b"")


@given(
    st.recursive(
        st.one_of(st.binary(max_size=12).map(B), st.text("ab", max_size=12).map(A)),
        lambda inside: st.lists(inside, max_size=2).map(lambda items: L(*items)),
    )
)
def test_of_all_items_only_ten_bytes_of_b_are_a_header(item: Item) -> None:
    encoded = encode(item)
    fits = isinstance(item, B) and len(encoded) == 12
    assert reported_header(encoded) == (encoded[2:] if fits else None)


def test_a_request_that_nobody_waits_for_any_more_is_not_ended_twice() -> None:
    end = selected()
    transaction = asked(end)
    report = data(9, 7, 77, body=mhead(header(transaction)))
    end.take(report, report)
    assert isinstance(outcome_of(transaction), StreamNineError)
    given_up = asked(end)
    end.engine.abandon(given_up)
    end.take(data(9, 7, 77, body=mhead(header(given_up))))
    assert not isinstance(outcome_of(given_up), StreamNineError)


def test_two_equipments_that_report_everything_do_not_answer_each_other_for_ever() -> None:
    one, other = selected(is_equipment=True), serving(is_equipment=True, session_id=7)
    asked(one)
    told = [0, 0]
    for _ in range(20):
        for number, (near, far) in enumerate(((one, other), (other, one))):
            for frame in [each for each in near.frames[told[number] :] if each.stype == 0]:
                far.take(
                    data(
                        frame.stream, frame.function, frame.system_bytes, wait=frame.byte2 > 0x7F,
                        session=frame.session_id, body=frame.body,
                    )
                )  # fmt: skip
            told[number] = len(near.frames)
    assert [each.byte3 for each in one.frames if each.stype == 0] == [13]
    assert [each.byte3 for each in other.frames if each.stype == 0] == [1]


@pytest.mark.parametrize("end", [active_end, passive_end], ids=["active", "passive"])
async def test_a_program_gets_the_error_at_once_and_the_link_stays(end: object) -> None:
    assert callable(end)
    async with end(linktest_interval=None) as (connection, peer), trio.open_nursery() as nursery:
        began = trio.current_time()

        async def ask() -> None:
            with pytest.raises(StreamNineError, match="S9F5, unrecognized function"):
                await connection.request(S1F13)
            assert trio.current_time() == began

        nursery.start_soon(ask)
        got = await peer.frame()
        ten = raw(0, got.system, session=got.session, byte2=got.byte2, byte3=got.byte3)[4:]
        await peer.send(data(9, 5, 1, body=mhead(ten)))
        assert (await anext(connection)).name == "S9F5"
        await peer.ping()


# What came and was not taken


def timed_out(end: End, transaction: Transaction) -> ReplyTimeoutError:
    end.at(end.now + 46)
    error = outcome_of(transaction)
    assert isinstance(error, ReplyTimeoutError)
    return error


def test_an_expired_t3_has_the_headers_of_what_came_meanwhile_and_was_not_taken() -> None:
    end = selected(session_id=2)
    end.take(data(1, 14, 1, session=2))
    transaction = asked(end)
    ours = transaction.system_bytes
    end.take(
        # Nothing about these fits.
        data(2, 14, 5, session=2),
        data(6, 11, 6, session=2),
        # Each of these may be the reply.
        data(1, 14, ours, session=3),
        data(6, 11, 8, session=3, wait=True),
        data(1, 14, ours ^ 1, session=2),
        data(1, 16, ours, session=2),
    )
    error = timed_out(end, transaction)
    assert error.not_taken == (
        NotTaken(6, 11, True, 3, 8),
        NotTaken(1, 14, False, 2, ours ^ 1),
        NotTaken(1, 16, False, 2, ours),
    )
    assert [each.name for each in error.not_taken] == ["S6F11", "S1F14", "S1F16"]


def test_an_expired_t3_of_a_silent_peer_has_nothing_to_tell() -> None:
    end = selected()
    error = timed_out(end, asked(end))
    assert error.not_taken == ()
    assert text_of(error) == "tool: no reply to S1F13 within T3 = 45 s; the connection stays"


def test_of_a_flood_only_the_latest_headers_are_kept_and_what_names_the_request_is_not_lost() -> (
    None
):
    end = selected(tolerate_w_in_reply=False)
    transaction = asked(end)
    end.take(data(1, 14, transaction.system_bytes, wait=True))
    for number in range(5_000):
        end.take(data(1, 14, transaction.system_bytes + 1 + number))
    error = timed_out(end, transaction)
    assert len(error.not_taken) == 17
    assert error.not_taken[-1] == NotTaken(1, 14, True, 0, transaction.system_bytes)
    assert len(text_of(error)) < 500


def test_a_request_is_told_nothing_of_what_came_on_an_earlier_connection() -> None:
    end = selected()
    end.take(data(1, 14, 5))
    end.engine.tcp_closed()
    end.out()
    end.at(10)
    end.engine.tcp_opened()
    end.out()
    end.take(raw(2, end.last))
    assert timed_out(end, asked(end)).not_taken == ()


def test_an_equipment_reports_an_expired_t3_with_the_header_that_it_sent() -> None:
    end = selected(is_equipment=True)
    transaction = asked(end)
    end.engine.configure(end.engine.settings.replace(session_id=9))
    error = timed_out(end, transaction)
    assert isinstance(error, TransactionError)
    assert (end.frames[-1].byte2, end.frames[-1].byte3) == (9, 9)
    assert end.frames[-1].body == mhead(header(transaction, session=0))
