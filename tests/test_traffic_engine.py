"""The engine puts out the messages that go over the wire, while somebody watches."""

from __future__ import annotations

from typing import Any

from hsms_engine import Message, Traffic
from tests.support.engines import accepted, selected
from tests.support.raw_peer import data, linktest_req, separate_req

S1F1 = Message(1, 1, wait=True)
# What is passed over before or after the session is selected, or does not fit.
REASONS = {
    "unselected": "data while not selected",
    "late": "after the end of its connection",
    "leaving": "after our last frame",
    "full": "no room in the inbox",
}


def watched(end: Any) -> list[Traffic]:
    """The messages that come out from now on."""
    found: list[Traffic] = []
    end.engine.watch(lambda: True)
    take = end.out

    def out() -> list[Any]:
        outputs: list[Any] = take()
        found.extend(each for each in outputs if isinstance(each, Traffic))
        return outputs

    end.out = out
    return found


def test_a_body_that_was_not_kept_counts_in_the_length_and_is_not_shown() -> None:
    end = accepted()
    found = watched(end)
    whole = data(6, 11, 4, body=bytes(1_000))
    # Only what is cut off within the frame is dropped.
    end.take(whole[:100])
    end.take(whole[100:], data(6, 11, 5, body=b"\1\0"))
    came = [each for each in found if not each.sent]
    assert [(each.name, each.length, each.passed_over) for each in came] == [
        ("S6F11", 1_014, REASONS["unselected"]),
        ("S6F11", 16, REASONS["unselected"]),
    ]
    assert came[0].message is None
    assert came[1].message == Message(6, 11, body=b"\1\0")


def test_frames_after_the_end_and_after_our_last_one_say_so() -> None:
    end = selected()
    found = watched(end)
    end.take(separate_req(1) + data(1, 1, 2, wait=True) + linktest_req(3))
    assert [(each.name, each.passed_over) for each in found] == [
        ("Separate.req", None),
        ("S1F1", REASONS["late"]),
        ("Linktest.req", REASONS["late"]),
    ]
    end = selected()
    found = watched(end)
    end.engine.close()
    end.take(linktest_req(3))
    assert [(each.name, each.passed_over) for each in found if not each.sent] == [
        ("Linktest.req", REASONS["leaving"]),
    ]


def test_a_primary_that_does_not_fit_says_so() -> None:
    end = selected(inbox_size=1)
    found = watched(end)
    end.take(data(6, 11, 1) + data(6, 11, 2))
    assert [each.passed_over for each in found if not each.sent] == [None, REASONS["full"]]


def test_a_reply_that_came_before_the_request_was_written_has_no_time() -> None:
    end = selected()
    found = watched(end)
    transaction = end.engine.request(S1F1)
    end.engine.receive(data(1, 2, transaction.system_bytes))
    end.out()
    assert [(each.name, each.seconds) for each in found] == [("S1F1", None), ("S1F2", None)]


def test_nothing_comes_out_that_nobody_watches_but_the_first_foreign_message() -> None:
    end = selected()
    foreign = data(6, 11, 1, session=9)
    outputs = [*end.take(foreign, foreign, data(6, 11, 2), linktest_req(3)), *end.out()]
    names = [(each.name, each.passed_over) for each in outputs if isinstance(each, Traffic)]
    assert names == [("S6F11", "foreign session id")]


def test_only_the_latest_requests_that_were_given_up_are_known_when_their_replies_come() -> None:
    end = selected()
    found = watched(end)
    given_up = []
    for _ in range(17):
        transaction = end.engine.request(S1F1)
        end.out()
        end.engine.abandon(transaction)
        given_up.append(transaction.system_bytes)
    end.take(*(data(1, 2, each) for each in given_up))
    told = [each.passed_over for each in found if not each.sent]
    assert told == [
        "answers no open request",
        *["late reply to S1F1, which was cancelled 0.0 s before"] * 16,
    ]
    end.take(data(2, 2, given_up[-1]), data(1, 4, given_up[-1]))
    assert [each.passed_over for each in found[-2:]] == ["answers no open request"] * 2
