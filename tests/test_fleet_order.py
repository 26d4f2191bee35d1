"""Of what is in a stream a reader makes each entry once, in order, and the gaps."""

from __future__ import annotations

import pytest

from hsms_engine import LeaseError, Message, events
from hsms_engine.fleet import (
    Entry,
    Gap,
    Published,
    Unreadable,
    forms,
)
from hsms_engine.fleet.forms import (
    LONGEST_TEXT,
    Mark,
    UnreadableError,
    read_event,
    read_mark,
    read_message,
    write_event,
    write_mark,
    write_message,
)
from hsms_engine.fleet.reader import Order, Read
from hsms_engine.secs2 import U4

S6F11 = Message(6, 11, item=U4(7))


def mark(epoch: int, number: int, kind: forms.Kind = "primary") -> Entry:
    fields = write_mark(Mark(kind, epoch, number, "a:1"))
    return Entry(f"{epoch}-{number}", fields | write_message(S6F11))


def told(order: Order, *entries: Entry) -> list[object]:
    """The numbers of what is read, and what is missing."""

    def short(read: Read) -> object:
        match read:
            case Published(epoch=epoch, number=number):
                return epoch, number
            case Gap(missing=missing):
                return f"gap of {missing}"
            case _:
                return read

    return [short(read) for entry in entries for read in order.take(entry)]


def test_in_one_epoch_each_comes_once_and_what_is_missing_is_told() -> None:
    order = Order("A")
    assert told(order, mark(3, 1), mark(3, 2), mark(3, 2), mark(3, 1)) == [(3, 1), (3, 2)]
    assert order.repeats == 2
    assert told(order, mark(3, 5), mark(3, 6)) == ["gap of 2", (3, 5), (3, 6)]


def test_an_owner_that_has_published_all_leaves_no_gap() -> None:
    order = Order("A")
    assert told(order, mark(3, 1), mark(3, 1, "over"), mark(4, 1)) == [(3, 1), (4, 1)]
    # It had one more, which was lost, and one that published nothing at all.
    assert told(order, mark(4, 2, "over"), mark(5, 0, "over"), mark(6, 1)) == ["gap of 1", (6, 1)]


def test_an_owner_that_has_not_said_so_may_have_lost_something() -> None:
    assert told(Order("A"), mark(3, 1), mark(4, 1)) == [(3, 1), "gap of None", (4, 1)]
    # So may one of whom nothing came.
    order = Order("A")
    assert told(order, mark(3, 1), mark(3, 1, "over"), mark(5, 2)) == [
        (3, 1), "gap of None", "gap of 1", (5, 2),
    ]  # fmt: skip


def test_what_an_owner_that_is_over_publishes_late_is_read() -> None:
    order = Order("A")
    assert told(order, mark(3, 1), mark(4, 1), mark(3, 2), mark(4, 2)) == [
        (3, 1), "gap of None", (4, 1), (3, 2), (4, 2),
    ]  # fmt: skip


def test_what_was_cut_off_at_the_beginning_may_be_missing() -> None:
    assert told(Order("A"), mark(3, 5)) == ["gap of None", (3, 5)]
    assert told(Order("A"), mark(3, 1)) == [(3, 1)]


def test_of_many_epochs_the_latest_ones_are_known() -> None:
    order = Order("A")
    for epoch in range(1, 40):
        told(order, mark(epoch, 1), mark(epoch, 1, "over"))
    assert len(order._epochs) == 16
    assert told(order, mark(39, 1), mark(40, 1)) == [(40, 1)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({b"kind": b"other"}, "kind is 'other', not one of primary, event, over"),
        ({b"epoch": b"0"}, "epoch is 0, not in 1..9223372036854775807"),
        ({b"number": b"0"}, "number is 0, not in 1..9223372036854775807"),
        ({b"owner": b"\xff"}, "owner is not UTF-8"),
        ({b"wait": b"x"}, "wait is b'x', no whole number"),
        ({b"kind": b"event"}, "event is missing"),
        ({b"kind": b"event", b"event": b"Selected", b"values": b"[" * 9_999}, "values has 9999"),
        ({b"kind": b"event", b"event": b"Selected", b"values": b"[" * 4_000}, "values is no JSON"),
        ({b"kind": b"event", b"event": b"Selected", b"values": b"[]"}, "values is no object of"),
    ],
)
def test_what_is_none_is_told_and_the_rest_is_read(change: dict[bytes, bytes], why: str) -> None:
    order, good = Order("A"), mark(3, 1)
    [read] = order.take(Entry("9-9", {**good.fields, **change}))
    assert isinstance(read, Unreadable)
    assert (read.id, read.tool) == ("9-9", "A")
    assert read.why.startswith(why)
    assert told(order, good) == [(3, 1)]


def test_a_body_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "LONGEST_BODY", 2)
    with pytest.raises(UnreadableError, match=r"^body is 6 bytes, and 2 are allowed$"):
        read_message(write_message(S6F11))


def test_a_message_is_the_same_on_the_other_side() -> None:
    given = Message(
        6, 11, True, body=b"\x41\x01\xa4", session_id=7, system_bytes=9, text_encoding="latin-1"
    )
    read = read_message(write_message(given))
    assert read == given
    assert (read.session_id, read.system_bytes) == (7, 9)
    assert read.text_encoding == "latin-1"


def test_an_event_is_its_name_and_what_it_has() -> None:
    waiting = events.Waiting(1.5, 2, float("inf"), LeaseError("\u00e4\0" * 5_000))
    written = write_event(waiting)
    assert len(written[b"values"]) < LONGEST_TEXT
    name, values = read_event(written)
    assert name == "Waiting"
    assert values == {"at": 1.5, "epoch": 2, "retry_after": None, "error": "\u00e4\0" * 150}
    _, values = read_event(write_event(events.UnexpectedSecondary(1.0, 2, Message(1, 2))))
    assert values["message"] == "S1F2"


def test_a_mark_is_the_same_on_the_other_side() -> None:
    for given in (Mark("primary", 1, 1, "a"), Mark("over", 2**63 - 1, 0, "\u00e4")):
        assert read_mark(write_mark(given)) == given


def test_epochs_that_somebody_has_made_up_hide_nothing_of_the_true_one() -> None:
    order = Order("A")
    told(order, *(mark(2**62 + number, 1) for number in range(20)))
    assert told(order, *(mark(3, number) for number in (1, 2, 2, 3))) == [
        "gap of None",
        (3, 1),
        (3, 2),
        (3, 3),
    ]
    assert order.repeats == 1
