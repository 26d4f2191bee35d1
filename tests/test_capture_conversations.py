"""Connections out of segments: who is active, what is a new one, and how many are followed."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from hsms_engine.capture import conversations, framing, streams
from hsms_engine.capture.conversations import Conversations, Heard, Over
from hsms_engine.capture.layers import Segment
from hsms_engine.capture.packets import ACK, FIN, PSH, SYN, Place
from hsms_engine.secs2 import B, encode
from hsms_engine.wire import DEFAULT_MAX_FRAME, SType, control_frame, data_frame
from hsms_engine.wire import encode as wire

HOST = Place(ip_address("192.0.2.1"), 49_152)
TOOL = Place(ip_address("192.0.2.2"), 5_000)
REQ = wire(control_frame(SType.SELECT_REQ, 1))
RSP = wire(control_frame(SType.SELECT_RSP, 1))


def sent(source: Place, sequence: int, payload: bytes = b"", flags: int = PSH | ACK) -> Segment:
    target = TOOL if source == HOST else HOST
    return Segment(0, source, target, sequence, 0, flags, payload, len(payload))


def opened(first: int = 99, second: int = 299) -> list[Segment]:
    return [
        sent(HOST, first, flags=SYN),
        sent(TOOL, second, flags=SYN | ACK),
        sent(HOST, first + 1, flags=ACK),
    ]


def taken(
    segments: Iterable[Segment], ports: tuple[int, ...] = ()
) -> tuple[list[Heard], list[Over]]:
    each = Conversations(ports, DEFAULT_MAX_FRAME)
    found = [one for segment in segments for one in each.take(segment)]
    found += each.end()
    return (
        [one for one in found if isinstance(one, Heard)],
        [one for one in found if isinstance(one, Over)],
    )


def summary(heard: list[Heard]) -> list[tuple[int, bool, int]]:
    return [(each.epoch, each.is_from_active, each.framed.header[5]) for each in heard]


def test_who_has_opened_the_connection_is_active() -> None:
    heard, [over] = taken([*opened(), sent(HOST, 100, REQ), sent(TOOL, 300, RSP)])
    assert summary(heard) == [(1, True, 1), (1, False, 2)]
    assert (over.source, over.target, over.frames, over.passed_over) == (HOST, TOOL, 2, {})
    assert heard[0].pair.passive == TOOL
    assert heard[0].active == HOST


def test_an_answer_to_syn_says_it_as_well() -> None:
    heard, _ = taken([sent(HOST, 299, flags=SYN | ACK), sent(HOST, 300, RSP)])
    assert summary(heard) == [(1, False, 2)]


@pytest.mark.parametrize("ports", [(5_000,), (), (5_000, 49_152)])
def test_without_syn_the_given_or_lower_port_is_the_passive_end(ports: tuple[int, ...]) -> None:
    heard, _ = taken([sent(TOOL, 300, RSP), sent(HOST, 100, REQ)], ports)
    assert summary(heard) == [(1, False, 2), (1, True, 1)]


def test_without_syn_the_given_port_counts_more_than_the_lower_one() -> None:
    heard, _ = taken([sent(TOOL, 300, RSP), sent(HOST, 100, REQ)], (49_152,))
    assert summary(heard) == [(1, True, 2), (1, False, 1)]


def test_other_ports_are_passed_over() -> None:
    assert taken([*opened(), sent(HOST, 100, REQ)], (5_001,)) == ([], [])


def test_a_new_syn_is_a_new_connection_of_the_same_pair() -> None:
    first = [*opened(), sent(HOST, 100, REQ), sent(HOST, 114, b"\0\0\0")]
    heard, overs = taken([*first, *opened(5_000, 6_000), sent(HOST, 5_001, REQ)])
    assert summary(heard) == [(1, True, 1), (2, True, 1)]
    assert heard[0].pair is heard[1].pair
    assert [each.passed_over for each in overs] == [{framing.UNFINISHED: 3}, {}]


def test_a_new_connection_may_follow_one_whose_beginning_was_not_captured() -> None:
    heard, overs = taken([sent(HOST, 100, REQ), *opened(5_000, 6_000), sent(HOST, 5_001, REQ)])
    assert summary(heard) == [(1, True, 1), (2, True, 1)]
    assert len(overs) == 2


def test_syn_that_comes_twice_or_late_is_of_the_same_connection() -> None:
    syn = opened()[0]
    heard, [over] = taken([*opened(), syn, sent(HOST, 100, REQ), syn])
    assert summary(heard) == [(1, True, 1)]
    heard, [over] = taken([sent(HOST, 114, REQ), syn, sent(HOST, 128, REQ)])
    assert summary(heard) == [(1, True, 1), (1, True, 1)]
    assert over.frames == 2


def test_acknowledgements_alone_are_no_connection() -> None:
    heard, [over] = taken([sent(HOST, 100, flags=ACK), sent(TOOL, 300, flags=FIN | ACK)])
    assert heard == []
    assert over.frames == 0


def test_what_the_receiver_has_is_not_waited_for() -> None:
    # The first of two is missing, and the tool has both of them.
    later = [
        Segment(0, HOST, TOOL, 114, 0, PSH | ACK, REQ, 14),
        Segment(1, TOOL, HOST, 300, 128, ACK, b"", 0),
        Segment(2_000_000_000, TOOL, HOST, 300, 128, PSH | ACK, RSP, 14),
    ]
    each = Conversations((), DEFAULT_MAX_FRAME)
    found = [one for segment in [*opened(), *later] for one in each.take(segment)]
    assert [one.framed.header[5] for one in found if isinstance(one, Heard)] == [2, 1]
    [over] = each.end()
    assert isinstance(over, Over)
    assert over.passed_over == {streams.LOST: 14}


def test_the_connection_that_was_silent_longest_ends_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversations, "MOST_CONNECTIONS", 2)
    hosts = [Place(HOST.address, 50_000 + each) for each in range(3)]
    each = Conversations((), DEFAULT_MAX_FRAME)
    found: list[Heard | Over] = []
    for number in (0, 1, 0, 2):
        found += each.take(
            Segment(0, hosts[number], TOOL, 100, 0, SYN, b"", 0),
        )
    [over] = found
    assert isinstance(over, Over)
    assert over.source == hosts[1]


def test_bytes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MOST_BYTES", 3_000)
    long = wire(data_frame(0, 7, 3, True, 1, encode(B(bytes(9_000)))))
    hosts = [Place(HOST.address, 50_000 + each) for each in range(2)]
    each = Conversations((), DEFAULT_MAX_FRAME)
    found: list[Heard | Over] = []
    for host in hosts:
        found += each.take(Segment(0, host, TOOL, 100, 0, SYN, b"", 0))
        found += each.take(Segment(0, host, TOOL, 101, 0, ACK, long[:2_000], 2_000))
    [over] = found
    assert isinstance(over, Over)
    assert over.passed_over == {framing.UNFINISHED: 2_000}
    assert [one.passed_over for one in each.end() if isinstance(one, Over)] == [
        {framing.UNFINISHED: 2_000}
    ]
