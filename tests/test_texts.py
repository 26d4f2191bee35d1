"""Each text of an error is shown whole, by the scenario in which somebody gets it.

``test_no_text_is_left_out`` reads the texts out of the sources: a new one without a row here fails.
"""

from __future__ import annotations

import ast
import errno
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    CircuitBreaker,
    CircuitOpenError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    HsmsError,
    HsmsLink,
    HsmsServer,
    LinkDownError,
    LocalProtocolError,
    Message,
    RejectedError,
    RemoteProtocolError,
    RestoreError,
    SelectRefusedError,
    Settings,
    StreamNineError,
    TransactionError,
    serve_hsms,
)
from hsms_engine.driver.tcp import connect_tcp, connect_unix, listen_tcp, listen_unix
from hsms_engine.events import PeerEnded, PeerTurnedAway, ServerEvent
from hsms_engine.fleet import open_fleet
from hsms_engine.lease import MemoryStore
from hsms_engine.protocol.causes import Cause
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.exchange import RESERVE
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.saving import read, write
from hsms_engine.settings import SettingsChanges, chosen_settings
from hsms_engine.wire import Frame, FrameLengthError
from statecharts import System
from statecharts.hsms import ACTIVE_LINK, PASSIVE_LINK
from statecharts.hsms.vocabulary import CloseGate, CloseTcp
from tests import (
    test_admission,
    test_health,
    test_health_lease,
    test_health_served,
    test_lease_engine,
    test_lease_fence,
    test_local_address,
    test_settings,
    test_tls_files,
    test_tls_handshakes,
    test_tls_stream,
    test_tolerances,
)
from tests.support.engines import (
    End,
    accepted,
    dialling,
    outcome_of,
    selected,
    selecting,
    serving,
    text_of,
)
from tests.support.names import silent_resolver
from tests.support.pair import (
    Handler,
    MemoryListener,
    Switchboard,
    failing,
    link_end,
    nothing,
    passive_end,
    server_end,
)
from tests.support.raw_peer import (
    data,
    deselect_req,
    deselect_rsp,
    linktest_req,
    linktest_rsp,
    raw,
    reject_req,
    select_req,
    select_rsp,
    separate_req,
)
from tests.support.threads import from_thread, under_asyncio, under_trio, without_loop
from tests.support.touring import graph_of
from tests.support.virtual import virtual_time
from tests.test_counters import close_before_the_accept
from tests.test_defects import DEFECT
from tests.test_link_log import LATE as LATE_REPLY
from tests.test_link_log import NOT_SELECTED, TURNED_AWAY, UNREACHABLE
from tests.test_link_log import TEXTS as LINK_TEXTS
from tests.test_logging import STEP
from tests.test_second_host import FOR_EVER
from tests.test_session_task import NO_REPLY, TASK_ENDED, TASK_FAILED
from tests.test_traffic import NO_SECS_II, NOT_SHOWN, PASSED_OVER, REMOVED, line, over
from tests.test_traffic_bodies import FAULTS
from tests.test_traffic_engine import REASONS

__all__ = ["virtual_time"]

ROOT = Path(__file__).parent.parent
S1F1, S1F2 = Message(1, 1, wait=True), Message(1, 2)
QUIET: dict[str, Any] = {"linktest_interval": None}
ACTIVE_ALREADY = (
    "the peer answered Select.req with status 1 (already active), which tolerate_select_rsp_1 "
    "would take as 0"
)
REFUSED = ConnectionRefusedError(111, "Connection refused")
RESET = ConnectionResetError(104, "Connection reset by peer")
# Length 20, the header of S6F11, and the first byte of its body of ten.
CUT = data(6, 11, 7, body=bytes(10))[:15]
INSIDE = f"declared length 20, 9 bytes missing, last bytes {CUT!r}"
BAD_LENGTH = r"length 9 (b'\x00\x00\x00\t') is not in 10..17000000: the peer may not speak HSMS"

Happens = Callable[[End], object]


def closed(error: Exception | None = None) -> Happens:
    return lambda end: end.engine.tcp_closed(error)


def takes(*pieces: bytes) -> Happens:
    return lambda end: end.take(*pieces)


def at(now: float) -> Happens:
    return lambda end: end.at(now)


def in_order(*happenings: Happens) -> Happens:
    def happens(end: End) -> None:
        for each in happenings:
            each(end)
            end.out()

    return happens


def calls(name: str) -> Happens:
    return lambda end: getattr(end.engine, name)()


def stops_reading(end: End) -> None:
    end.is_read = False
    end.engine.send(Message(6, 11))
    end.out()


def wrote(count: int) -> Happens:
    return lambda end: end.engine.wrote(count)


def closed_unread(end: End) -> object:
    """The error of a close whose peer takes nothing any more, and then closes TCP."""
    stops_reading(end)
    end.engine.close()
    end.engine.tcp_closed()
    return end.engine.unsent


def asks_too_much(end: End) -> None:
    end.is_read = False
    end.engine.send(Message(6, 11))
    end.take(linktest_req(1) * (RESERVE // 14 + 1))


def deselects(end: End) -> None:
    end.deselect()
    end.take(deselect_rsp(end.last))


def select_answered(status: int) -> Happens:
    return lambda end: end.take(select_rsp(end.last, status))


def select_rejected(reason: int) -> Happens:
    return lambda end: end.take(reject_req(end.last, 1, reason))


# How what was selected ends


class Loss(NamedTuple):
    """``reason`` is the clause that all errors share, ``what`` is before it."""

    happens: Happens
    reason: str
    kind: type[ConnectionLostError] = ConnectionLostError
    settings: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it
    what: str = "connection lost"


# Each ends TCP too, and nobody here asked for it.
LOSSES = {
    "closed": Loss(closed(), "the peer closed TCP"),
    "broken": Loss(closed(RESET), "TCP broke: Connection reset by peer"),
    "broken, by no system": Loss(closed(ValueError("no more")), "TCP broke: no more"),
    "closed in a frame": Loss(
        in_order(takes(CUT), closed()), f"the peer closed TCP inside a frame: {INSIDE}"
    ),
    "closed in a length": Loss(
        in_order(takes(CUT[:2]), closed()),
        "the peer closed TCP inside a frame: declared length not complete, 2 bytes missing, "
        r"last bytes b'\x00\x00'",
    ),
    "broken in a frame": Loss(
        in_order(takes(CUT), closed(RESET)), "TCP broke: Connection reset by peer"
    ),
    "T8": Loss(
        in_order(takes(CUT), at(5)),
        f"T8 = 5 s passed inside a frame: {INSIDE}",
        RemoteProtocolError,
    ),
    "frame deadline": Loss(
        in_order(takes(CUT[:14]), at(1.1), takes(CUT[14:]), at(2)),
        f"a frame was not complete by its deadline: {INSIDE}",
        RemoteProtocolError,
        {"frame_deadline": 1.5, "allow_short_timers": True},
    ),
    "bad length": Loss(takes(b"\0\0\0\x09"), BAD_LENGTH, RemoteProtocolError),
    "write timeout": Loss(
        in_order(stops_reading, at(30)),
        "the peer took no byte for 30 s (write_timeout), 14 bytes are queued",
    ),
    "write deadline": Loss(
        in_order(stops_reading, at(1), wrote(3), at(2)),
        "the peer took 3 of 14 queued bytes by their deadline (frame_deadline = 1.5 s and 1 s for "
        "each 64 KiB)",
        settings={"frame_deadline": 1.5, "allow_short_timers": True},
    ),
    "linktest": Loss(
        in_order(at(2), takes(linktest_req(1)), calls("linktest"), at(3), at(7)),
        "1 linktest(s) in a row unanswered within T6 = 5 s; last sign of life 5.0 s ago",
    ),
    "linktest threshold lowered": Loss(
        in_order(
            calls("linktest"),
            at(5),
            calls("linktest"),
            at(10),
            lambda end: end.engine.configure(end.engine.settings.replace(linktest_threshold=2)),
        ),
        "2 linktest(s) in a row unanswered within T6 = 5 s; last sign of life 10.0 s ago",
        settings={"linktest_threshold": 3},
    ),
    "inbox full": Loss(
        takes(data(6, 11, 1, body=b"12"), data(6, 13, 2, body=b"3")),
        "the inbox is full: 1 primaries of 2 bytes wait and nobody takes them (inbox_size, "
        "inbox_bytes); S6F13 did not fit",
        settings={"inbox_size": 1},
    ),
    "answers not read": Loss(
        asks_too_much,
        f"the peer asks and reads no answers: {RESERVE // 14 * 14 + 14} bytes of them are queued",
    ),
    "separated": Loss(takes(separate_req(1)), "the peer separated", what="connection closed"),
    "T6 of a Deselect": Loss(in_order(calls("deselect"), at(5)), "no response within T6 = 5 s"),
}
# These leave TCP as it is, or are asked for by a call: no error of the link.
ENDS = {
    "deselected by the peer": Loss(
        takes(deselect_req(1)), "the peer deselected the session", what="session ended"
    ),
    "crossing Deselects": Loss(
        in_order(calls("deselect"), takes(deselect_req(1))),
        "the peer deselected the session",
        what="session ended",
    ),
    "deselected here": Loss(deselects, "the session was deselected", what="session ended"),
    "disabled": Loss(calls("disable"), "it was ended by a call", what="connection closed"),
}


@pytest.mark.parametrize("how", [*LOSSES, *ENDS])
def test_an_open_request_is_told_how_its_session_ended(how: str) -> None:
    loss = (LOSSES | ENDS)[how]
    end = selected(**loss.settings)
    transaction = end.engine.request(S1F1)
    end.out()
    loss.happens(end)
    error = outcome_of(transaction)
    assert text_of(error) == f"S1F1 got no reply: tool: {loss.what}: {loss.reason}"
    assert type(error) is loss.kind
    assert error.reason == loss.reason


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("start", [selected, serving], ids=["dials", "listens"])
def test_a_loss_has_its_error(how: str, start: Callable[..., End]) -> None:
    loss = LOSSES[how]
    end = start(**loss.settings)
    loss.happens(end)
    error = end.engine.last_error
    assert text_of(error) == f"tool: {loss.what}: {loss.reason}"
    assert type(error) is loss.kind


@pytest.mark.parametrize("how", ENDS)
def test_an_end_that_is_no_loss_is_no_error_of_the_link(how: str) -> None:
    end = selected()
    ENDS[how].happens(end)
    assert end.engine.last_error is None


@pytest.mark.parametrize(
    ("how", "kind"), [("broken", ConnectionResetError), ("bad length", FrameLengthError)]
)
def test_the_exception_behind_a_loss_is_its_cause(how: str, kind: type[Exception]) -> None:
    end = selected()
    transaction = end.engine.request(S1F1)
    LOSSES[how].happens(end)
    for error in (outcome_of(transaction), end.engine.last_error):
        assert isinstance(error, HsmsError)
        assert type(error.__cause__) is kind


@pytest.mark.parametrize("how", ["closed", "separated", "T6 of a Deselect"])
def test_a_loss_without_an_exception_behind_it_has_no_cause(how: str) -> None:
    end = selected()
    LOSSES[how].happens(end)
    assert text_of(end.engine.last_error)
    assert end.engine.last_error.__cause__ is None  # type: ignore[union-attr]  # has a text


# How an attempt fails


class Failure(NamedTuple):
    """An attempt from ``start`` on, and its ``cause`` in words."""

    start: Callable[[], End]
    happens: Happens
    cause: str


ATTEMPTS = {
    "refused": Failure(dialling, lambda end: end.engine.tcp_failed(REFUSED), "Connection refused"),
    "failed, by no system": Failure(
        dialling, lambda end: end.engine.tcp_failed(OSError("no such host")), "no such host"
    ),
    "silent": Failure(
        lambda: dialling(connect_timeout=3), at(3), "no answer for 3 s (connect_timeout)"
    ),
    "closed": Failure(selecting, closed(), "the peer closed TCP"),
    "broken": Failure(selecting, closed(RESET), "TCP broke: Connection reset by peer"),
    "T6": Failure(selecting, at(5), "no response within T6 = 5 s"),
    "T7": Failure(lambda: selecting(t7=4), at(4), "not selected within T7 = 4 s"),
    "refused with 2": Failure(
        selecting, select_answered(2), "the peer answered Select.req with status 2 (not ready)"
    ),
    "refused with 77": Failure(
        selecting, select_answered(77), "the peer answered Select.req with status 77"
    ),
    "active already": Failure(selecting, select_answered(1), ACTIVE_ALREADY),
    "rejected": Failure(
        selecting,
        select_rejected(1),
        "the peer rejected Select.req, reason 1 (stype not supported)",
    ),
    "rejected with 99": Failure(
        selecting, select_rejected(99), "the peer rejected Select.req, reason 99"
    ),
    "bad length": Failure(selecting, takes(b"\0\0\0\x09"), BAD_LENGTH),
}


@pytest.mark.parametrize("how", ATTEMPTS)
def test_an_attempt_says_how_far_it_came_and_why_it_failed(how: str) -> None:
    failure = ATTEMPTS[how]
    end = failure.start()
    during = "TCP connect" if end.engine.phase == "connecting" else "select"
    failure.happens(end)
    error = end.engine.last_error
    assert isinstance(error, ConnectError)
    assert str(error) == f"tool: not connected, during {during}: {failure.cause}"
    assert (error.cause, error.phase) == (failure.cause, during.replace("TCP", "tcp"))
    statuses = {"refused with 2": 2, "refused with 77": 77, "active already": 1}
    assert getattr(error, "status", None) == statuses.get(how)
    assert isinstance(error, SelectRefusedError) == (how in statuses)


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("refused", ConnectionRefusedError),
        ("broken", ConnectionResetError),
        ("bad length", FrameLengthError),
        ("closed", type(None)),
        ("T6", type(None)),
    ],
)
def test_the_exception_behind_a_failed_attempt_is_its_cause(how: str, kind: type) -> None:
    failure = ATTEMPTS[how]
    end = failure.start()
    failure.happens(end)
    assert end.engine.last_error is not None
    assert type(end.engine.last_error.__cause__) is kind


@pytest.mark.parametrize("system", [ACTIVE_LINK, PASSIVE_LINK], ids=["dials", "listens"])
def test_every_event_that_ends_a_connection_has_words_of_its_own(system: System) -> None:
    ends = {
        move.event
        for move in graph_of(system).model.moves
        if {CloseTcp(), CloseGate()} & set(move.effects)
    }
    # Told in words; after the last frame, where nobody asks any more; and calls that lose nothing.
    ends -= {"communication_failed", "linger_expired"}
    ends -= {"isolate_requested", "reset_requested"}
    frame = Frame(0, 0, 3, 0, 2, 7, b"")
    before = End(system).engine._life.snapshot
    epoch = Epoch(1, 0.0, max_frame=100, first_system_bytes=0)
    for event in ends:
        words = Cause(event, frame, "tool", Settings(), before, epoch, 0.0).words()
        assert words != str(frame), event
    assert {"tcp_closed", "separate_req_received", "close_requested"} <= ends


# One error of one call


def request_of(end: End, happens: Happens) -> object:
    """What becomes of S1F1 when this happens."""
    transaction = end.engine.request(S1F1)
    end.out()
    happens(end)
    return outcome_of(transaction)


def misses(*replies: tuple[int, int, int, int, bool]) -> Happens:
    """Messages come: stream, function, session id, what is added to our system bytes, W."""

    def happens(end: End) -> None:
        ours = end.last
        for stream, function, session, more, wait in replies:
            end.take(data(stream, function, ours + more, session=session, wait=wait))

    return happens


def stray(frame: Callable[[int], bytes]) -> Happens:
    """What is no data message comes with our system bytes, and is answered with Reject.req."""
    return lambda end: end.take(frame(end.last))


def of_ptype_3(ours: int) -> bytes:
    return raw(0, ours, session=0, ptype=3, byte2=1, byte3=2)


def after_a_late_reply(function: int, given_up: float) -> object:
    """What becomes of a request, when this comes at 10 s for one that was given up before."""
    end = selected(t3=8)
    first = end.engine.request(S1F1)
    end.out()
    late = end.last
    end.at(given_up)
    end.engine.abandon(first)
    end.at(10)
    return request_of(end, in_order(takes(data(1, function, late)), at(18)))


def reported(end: End, function: int, session: int = 0) -> bytes:
    """A report of stream 9 about the last frame, S1F1."""
    header = raw(0, end.last, session=0, byte2=0x81, byte3=1)[4:]
    return data(9, function, 7, session=session, body=b"\x21\x0a" + header)


def system_bytes_of(more: int) -> str:
    """The system bytes of the first request of an ``End``, and ``more``."""
    return f"{selected().last + 1 + more:08X}"


def timed_out_after(happens: Happens) -> object:
    end = selected(t3=20, session_id=2, tolerate_w_in_reply=False)
    return request_of(end, in_order(happens, at(20)))


def faulted_with(function: int) -> object:
    return request_of(selected(), lambda end: end.take(reported(end, function)))


DEVICE_IDS = (
    "it was sent with session id 0, and this report came with session id 4: compare session_id at "
    "both ends"
)
WHILE_OPEN = "; meanwhile came and was not taken: "
ONE_ID = (
    "both have session id 0: this port may be that of another equipment, or it knows no device now"
)
BY_CALL = "closed by a call, or because the block that opened it has ended"
EXHAUSTED = "status 3 (exhausted: another host has the session)"
OURS = "session id 5 (ours is 2: compare session_id at both ends)"
OTHERS_THAN_OURS = f"system bytes {system_bytes_of(1)} (ours are {system_bytes_of(0)})"
MEANWHILE: list[tuple[Happens, str]] = [
    (misses((1, 2, 5, 0, False)), f"S1F2 with {OURS}"),
    (misses((6, 11, 5, 9, True)), f"S6F11 with {OURS}"),
    (misses((1, 2, 2, 1, False)), f"S1F2 with {OTHERS_THAN_OURS}"),
    (
        misses((1, 4, 2, 0, False)),
        "S1F4 with our system bytes; tolerate_other_function would take it",
    ),
    (
        misses((1, 2, 2, 0, True)),
        "S1F2 with our system bytes and W; tolerate_w_in_reply would take it",
    ),
    (stray(of_ptype_3), "PType 3 SType 0 with our system bytes"),
    (stray(linktest_rsp), "Linktest.rsp with our system bytes"),
    (misses((1, 2, 5, 1, True)), f"S1F2 with {OURS} and {OTHERS_THAN_OURS} and W"),
    (
        misses(*((6, each, 5, 9, False) for each in (1, 3, 5, 7, 7))),
        f"S6F7 with {OURS}; S6F5 with {OURS}; S6F3 with {OURS}; and 1 more",
    ),
]


# Of the same stream, what answers nobody: the function, when that request was given up, the words.
LATE = [
    (2, 8, "S1F2, a late reply to S1F1, whose T3 expired 2.0 s before"),
    (0, 8, "S1F0, a late reply to S1F1, whose T3 expired 2.0 s before"),
    (2, 7, "S1F2, a late reply to S1F1, which was cancelled 3.0 s before"),
    (4, 8, f"S1F4 with system bytes {system_bytes_of(0)} (ours are {system_bytes_of(1)})"),
]


def linktest_of(end: End, happens: Happens) -> object:
    transaction = end.linktest()
    happens(end)
    return outcome_of(transaction)


def deselect_of(end: End, happens: Happens) -> object:
    transaction = end.deselect()
    happens(end)
    return outcome_of(transaction)


def select_of(end: End, happens: Happens) -> object:
    """What becomes of a Select by hand, after a Deselect."""
    deselects(end)
    transaction = end.select()
    happens(end)
    return outcome_of(transaction)


def crossed(happens: Happens) -> object:
    """The link's error after its Select crossed the peer's, which was accepted."""
    end = selecting()
    request = end.last
    end.take(select_req(1))
    assert end.engine.is_selected
    end.frames.append(end.frames[-1]._replace(system_bytes=request))
    happens(end)
    return end.engine.last_error


def never_selected() -> object:
    end = accepted()
    end.at(10)
    return end.engine.last_error


def raised(call: Callable[[], object]) -> HsmsError:
    with pytest.raises(HsmsError) as caught:
        call()
    return caught.value


def calling(end: End, name: str) -> HsmsError:
    return raised(getattr(end.engine, name))


def sending(end: End, *happenings: Happens) -> HsmsError:
    """What a send gets after all this."""
    in_order(*happenings)(end)
    return raised(lambda: end.engine.send(Message(6, 11)))


def replying(reply: Message, primary: bytes | Message, *happenings: Happens) -> HsmsError:
    """What a reply gets after all this."""
    end = selected()
    received = primary if isinstance(primary, Message) else end.primary(primary)
    in_order(*happenings)(end)
    return raised(lambda: end.engine.reply(received, reply))


def shortened(end: End) -> None:
    """Longer frames are neither taken nor sent from now on."""
    end.engine.configure(end.engine.settings.replace(max_frame=100))


def sending_to_no_session() -> HsmsError:
    end = selected(check_session_id=False)
    return raised(lambda: end.engine.send(Message(6, 11, session_id=0x1_0000)))


def replying_twice() -> HsmsError:
    end = selected()
    received = end.primary(data(1, 1, 5, wait=True))
    end.engine.reply(received, S1F2)
    return raised(lambda: end.engine.reply(received, S1F2))


def cancelled() -> object:
    end = selected()
    transaction = end.engine.request(S1F1)
    end.engine.abandon(transaction)
    return transaction.outcome


def gone(end: End) -> None:
    """Lost, and the address is another now."""
    end.engine.tcp_closed()
    end.engine.configure(end.engine.settings.replace(port=5001))


def again(end: End) -> None:
    """The next attempt is selected."""
    end.at(end.now + 10)
    end.engine.tcp_opened()
    end.out()
    end.take(select_rsp(end.last))
    assert end.engine.is_selected


def fails(end: End) -> None:
    end.engine.tcp_failed(REFUSED)


def opens(end: End) -> None:
    """The breaker, whose threshold is 2, opens."""
    fails(end)
    end.at(10)
    fails(end)


def breaker_of(happens: Happens, **changes: Any) -> HsmsError:
    end = dialling(breaker_threshold=2, **changes)
    happens(end)
    error = end.engine.refused()
    assert error is not None
    return error


def permit(*calls: str) -> HsmsError:
    breaker = CircuitBreaker(1, 60, lambda: 0.0)
    for call in calls:
        getattr(breaker, call)()
    return raised(breaker.permit)


def failed_breaker() -> HsmsError:
    breaker = CircuitBreaker(1, 60, lambda: 0.0)
    breaker.permit().failed()
    return raised(breaker.permit)


def closed_by_a_call() -> End:
    end = selected()
    end.engine.close()
    return end


def settled_twice() -> HsmsError:
    permit = CircuitBreaker(1, 60, lambda: 0.0).permit()
    permit.succeeded()
    return raised(permit.failed)


def chosen(*given: object, **changes: Unpack[SettingsChanges]) -> Callable[[], object]:
    def choose() -> object:
        try:
            return chosen_settings(given, changes)
        except TypeError as error:
            return error

    return choose


def setting(**changes: Any) -> Callable[[], object]:
    return lambda: raised(lambda: Settings().replace(**changes))


LOST = "tool: connection lost: the peer closed TCP"
REFUSAL = "tool: not connected, during TCP connect: Connection refused"
DOWN = "tool: the link is waiting, not selected; next attempt in 10.0 s"
DOWN_FOR_GOOD = (
    "tool: the link is waiting, not selected; no attempt will be made until it is enabled or "
    "released"
)
IDLE = (
    "tool: the link is idle, not selected; no attempt will be made until it is enabled or released"
)


# The kind of an error, what gives it, and its text.
UNFIT = "tool: this cannot be restored:"
WHEN_OPEN = "it is a number exactly when the breaker is open, else null"


def restoring(saved: object) -> HsmsError:
    return raised(lambda: read(saved, 0, peer="tool", threshold=5))


TEXTS: list[tuple[type[Exception], Callable[[], object], str]] = [
    # What was saved; its keys and values are in test_link_saved
    (
        RestoreError,
        lambda: restoring("nul"),
        f"{UNFIT} it is no JSON that is saved: Expecting value: line 1 column 1 (char 0)",
    ),
    (
        RestoreError,
        lambda: restoring(bytes(4_097)),
        f"{UNFIT} 4097 characters or bytes are more than 4096",
    ),
    (
        RestoreError,
        lambda: restoring('{"a": 1, "a": 2}'),
        f"{UNFIT} it is no JSON that is saved: the key 'a' is there twice",
    ),
    (
        RestoreError,
        lambda: restoring({**write(End().engine.kept(), 0), "open_age": 1}),
        f"{UNFIT} link.open_age=1.0 does not fit a breaker in breaker_closed: {WHEN_OPEN}",
    ),
    (
        LocalProtocolError,
        lambda: raised(End(single_use=True).engine.kept),
        "tool: only a link that reconnects is saved and restored",
    ),
    # Requests; how they end with their session is above
    (
        ClosedError,
        lambda: request_of(selected(), calls("close")),
        f"tool: S1F1 got no reply: it was {BY_CALL}",
    ),
    (
        ClosedError,
        lambda: request_of(serving(), calls("stop")),
        f"tool: S1F1 got no reply: it was {BY_CALL}",
    ),
    (
        TransactionError,
        lambda: request_of(selected(t3=20), at(20)),
        "tool: no reply to S1F1 within T3 = 20 s; the connection stays",
    ),
    *(
        (
            TransactionError,
            partial(timed_out_after, happens),
            f"tool: no reply to S1F1 within T3 = 20 s; the connection stays{WHILE_OPEN}{told}",
        )
        for happens, told in MEANWHILE
    ),
    *(
        (
            StreamNineError,
            partial(faulted_with, function),
            f"tool: reported S1F1 with S9F{function}, {meaning}",
        )
        for function, meaning in {
            3: "unrecognized stream",
            5: "unrecognized function",
            7: "illegal data",
            11: "data too long",
        }.items()
    ),
    (
        StreamNineError,
        lambda: request_of(selected(), lambda end: end.take(reported(end, 1, session=4))),
        f"tool: reported S1F1 with S9F1, unrecognized device id; {DEVICE_IDS}",
    ),
    (
        StreamNineError,
        lambda: faulted_with(1),
        f"tool: reported S1F1 with S9F1, unrecognized device id; {ONE_ID}",
    ),
    *(
        (
            TransactionError,
            partial(after_a_late_reply, function, given_up),
            f"tool: no reply to S1F1 within T3 = 8 s; the connection stays{WHILE_OPEN}{told}",
        )
        for function, given_up, told in LATE
    ),
    (
        ConnectionLostError,
        lambda: closed_unread(selected()),
        "tool: closed, but 14 bytes accepted for sending were not written: the peer closed TCP",
    ),
    (
        RejectedError,
        lambda: request_of(selected(), lambda end: end.take(reject_req(end.last, 0, 4))),
        "tool: rejected S1F1, reason 4 (entity not selected)",
    ),
    (
        RejectedError,
        lambda: request_of(selected(), lambda end: end.take(reject_req(end.last, 0, 0))),
        "tool: rejected S1F1, reason 0",
    ),
    (
        TransactionError,
        lambda: request_of(selected(), lambda end: end.take(data(9, 0, end.last))),
        "tool: aborted S1F1 with S9F0",
    ),
    (ClosedError, cancelled, "S1F1 was cancelled"),
    # Sessions that were selected while our own Select.req was unanswered
    (
        ConnectionLostError,
        lambda: crossed(at(5)),
        "tool: connection lost: no response within T6 = 5 s",
    ),
    (
        ConnectionLostError,
        lambda: crossed(select_answered(3)),
        f"tool: connection lost: the peer answered Select.req with {EXHAUSTED}",
    ),
    (
        ConnectionLostError,
        lambda: crossed(select_rejected(4)),
        "tool: connection lost: the peer rejected Select.req, reason 4 (entity not selected)",
    ),
    # A connection that was accepted and never selected
    (
        ConnectionLostError,
        never_selected,
        "tool: connection lost: not selected within T7 = 10 s",
    ),
    # Linktest.req
    (
        TransactionError,
        lambda: linktest_of(selected(linktest_threshold=2), at(5)),
        "tool: no Linktest.rsp within T6 = 5 s",
    ),
    (
        RejectedError,
        lambda: linktest_of(selected(), lambda end: end.take(reject_req(end.last, 5, 1))),
        "tool: rejected Linktest.req, reason 1 (stype not supported)",
    ),
    (
        ConnectionLostError,
        lambda: linktest_of(selected(), at(5)),
        (
            "Linktest.req got no reply: tool: connection lost: 1 linktest(s) in a row unanswered "
            "within T6 = 5 s; last sign of life 5.0 s ago"
        ),
    ),
    (
        ConnectionLostError,
        lambda: linktest_of(selected(), closed()),
        f"Linktest.req got no reply: {LOST}",
    ),
    (
        ConnectionLostError,
        lambda: linktest_of(selected(), takes(deselect_req(1))),
        "Linktest.req got no reply: tool: session ended: the peer deselected the session",
    ),
    (
        ClosedError,
        lambda: linktest_of(selected(), calls("close")),
        f"tool: Linktest.req got no reply: it was {BY_CALL}",
    ),
    # Deselect.req
    (
        RejectedError,
        lambda: deselect_of(selected(), lambda end: end.take(reject_req(end.last, 3, 1))),
        "tool: rejected Deselect.req, reason 1 (stype not supported)",
    ),
    (
        TransactionError,
        lambda: deselect_of(selected(), lambda end: end.take(deselect_rsp(end.last, 2))),
        "tool: answered Deselect.req with status 2; still selected",
    ),
    (
        ConnectionLostError,
        lambda: deselect_of(selected(), at(5)),
        "Deselect.req got no reply: tool: connection lost: no response within T6 = 5 s",
    ),
    (
        ConnectionLostError,
        lambda: deselect_of(selected(), takes(separate_req(1))),
        "Deselect.req got no reply: tool: connection closed: the peer separated",
    ),
    (
        ClosedError,
        lambda: deselect_of(selected(), calls("close")),
        f"tool: Deselect.req got no reply: it was {BY_CALL}",
    ),
    # Select.req by hand
    (
        ConnectionLostError,
        lambda: select_of(selected(), select_answered(3)),
        f"tool: connection lost: the peer answered Select.req with {EXHAUSTED}",
    ),
    (
        ConnectionLostError,
        lambda: select_of(selected(), select_answered(1)),
        f"tool: connection lost: {ACTIVE_ALREADY}",
    ),
    (
        ConnectionLostError,
        lambda: select_of(selected(), select_rejected(1)),
        "tool: connection lost: the peer rejected Select.req, reason 1 (stype not supported)",
    ),
    (
        ConnectionLostError,
        lambda: select_of(selected(), at(5)),
        "Select.req got no reply: tool: connection lost: no response within T6 = 5 s",
    ),
    (
        ConnectionLostError,
        lambda: select_of(selected(t7=3), at(3)),
        "Select.req got no reply: tool: connection lost: not selected within T7 = 3 s",
    ),
    (
        ConnectionLostError,
        lambda: select_of(selected(), calls("disable")),
        "Select.req got no reply: tool: connection closed: it was ended by a call",
    ),
    (
        ClosedError,
        lambda: select_of(selected(), calls("close")),
        f"tool: Select.req got no reply: it was {BY_CALL}",
    ),
    # Sending while it is not selected
    (LinkDownError, lambda: sending(End()), IDLE),
    (
        LinkDownError,
        lambda: sending(dialling()),
        "tool: the link is connecting, not selected",
    ),
    (
        LinkDownError,
        lambda: sending(selected(), deselects),
        "tool: the link is not selected",
    ),
    (LinkDownError, lambda: sending(dialling(), fails), f"{DOWN} ({REFUSAL})"),
    (LinkDownError, lambda: sending(selected(), closed()), f"{DOWN} ({LOST})"),
    (
        LinkDownError,
        lambda: sending(dialling(breaker_threshold=1), fails, at(10)),
        (
            "tool: the link is blocked, not selected; the circuit breaker is open, "
            f"next attempt in 50.0 s ({REFUSAL})"
        ),
    ),
    (
        LinkDownError,
        lambda: sending(dialling(), calls("isolate"), at(10)),
        (
            "tool: the link is blocked, not selected; no attempt will be made until it is enabled "
            "or released"
        ),
    ),
    (
        LinkDownError,
        lambda: sending(selected(), calls("disable")),
        "tool: the link is separating, not selected",
    ),
    # A reason is of the latest end, and none is left of what came before a success or a call
    (LinkDownError, lambda: sending(selected(), closed(), again, calls("disable"), closed()), IDLE),
    (
        LinkDownError,
        lambda: sending(selected(), closed(), again, closed(RESET)),
        f"{DOWN} (tool: connection lost: TCP broke: Connection reset by peer)",
    ),
    (
        LinkDownError,
        lambda: sending(dialling(), fails, again, deselects),
        "tool: the link is not selected",
    ),
    (
        LinkDownError,
        lambda: sending(selected(), calls("disable"), closed(), calls("enable")),
        DOWN,
    ),
    (
        LinkDownError,
        lambda: sending(dialling(), calls("disable"), at(10), calls("enable")),
        "tool: the link is connecting, not selected",
    ),
    (
        LinkDownError,
        lambda: sending(selected(), closed(), at(10), calls("disable")),
        f"{IDLE} ({LOST})",
    ),
    # What a call of ours ends leaves no reason either
    (LinkDownError, lambda: sending(selecting(), calls("disable")), IDLE),
    (LinkDownError, lambda: sending(selected(), deselects, calls("disable")), IDLE),
    (LinkDownError, lambda: sending(selecting(), calls("isolate")), DOWN_FOR_GOOD),
    # A connection that is not dialled again
    (
        LocalProtocolError,
        lambda: sending(selected(single_use=True), deselects),
        (
            "tool: the connection is not selected; messages are sent only while it is selected, "
            "and nothing was sent"
        ),
    ),
    (
        LocalProtocolError,
        lambda: sending(accepted()),
        (
            "tool: the connection is not selected; messages are sent only while it is selected, "
            "and nothing was sent"
        ),
    ),
    (ConnectionLostError, lambda: sending(selected(single_use=True), closed()), LOST),
    (ConnectionLostError, lambda: sending(serving(), closed()), LOST),
    (
        ClosedError,
        lambda: sending(selected(), calls("close")),
        f"tool: {BY_CALL}; open another one",
    ),
    (
        ClosedError,
        lambda: sending(serving(), calls("close"), closed()),
        f"tool: {BY_CALL}; open another one",
    ),
    # Calls that do not fit
    (
        LocalProtocolError,
        lambda: calling(dialling(), "enable"),
        "tool: enable is not possible while connecting",
    ),
    (
        LocalProtocolError,
        lambda: calling(selected(), "select"),
        "tool: select is not possible while selected (communicating)",
    ),
    (
        LocalProtocolError,
        lambda: calling(selected(), "release"),
        "tool: release is not possible while the circuit breaker is closed",
    ),
    (
        LocalProtocolError,
        lambda: calling(serving(), "select"),
        "tool: select is for the end that dials",
    ),
    (
        ClosedError,
        lambda: calling(closed_by_a_call(), "disable"),
        "tool: disable after close; open another one",
    ),
    (
        ClosedError,
        lambda: raised(lambda: closed_by_a_call().engine.configure(Settings())),
        "tool: configure after close; open another one",
    ),
    # Replies
    (
        LocalProtocolError,
        lambda: replying(S1F2, data(1, 1, 5)),
        "S1F1 does not want a reply",
    ),
    (LocalProtocolError, replying_twice, "S1F1 was answered already"),
    (
        LocalProtocolError,
        lambda: replying(Message(1, 4), data(1, 1, 5, wait=True)),
        "S1F4 does not answer S1F1: S1F2 or S1F0 does",
    ),
    (
        LocalProtocolError,
        lambda: replying(Message(1, 2, body=bytes(91)), data(1, 1, 5, wait=True), shortened),
        (
            "S1F2 with a body of 91 bytes is a frame of 101, and max_frame is 100: nothing is "
            "sent; when the peer takes such a frame, set max_frame higher"
        ),
    ),
    (
        LocalProtocolError,
        sending_to_no_session,
        "S6F11: session_id=65536 is not in 0..65535: nothing is sent",
    ),
    (
        LocalProtocolError,
        lambda: replying(S1F2, S1F1),
        "<Message S1F1 W> was not received on a connection",
    ),
    (
        ConnectionLostError,
        lambda: replying(S1F2, data(1, 1, 5, wait=True), gone),
        "tool: S1F1 came over connection 1, which is over: its reply cannot be sent over another",
    ),
    (
        ConnectionLostError,
        lambda: replying(S1F2, data(1, 1, 5, wait=True), gone, again),
        (
            "another: S1F1 came over connection 1, which is over: its reply cannot be sent over "
            "another"
        ),
    ),
    (
        LinkDownError,
        lambda: replying(S1F2, data(1, 1, 5, wait=True), deselects),
        "tool: the link is not selected",
    ),
    (
        ClosedError,
        lambda: replying(S1F2, data(1, 1, 5, wait=True), calls("close"), closed()),
        f"tool: {BY_CALL}; open another one",
    ),
    # The breaker
    (
        CircuitOpenError,
        lambda: breaker_of(opens, breaker_open_time=60),
        (
            "tool: the circuit breaker is open after 2 failed attempts in a row (threshold 2); an "
            "attempt begins in 60.0 s"
        ),
    ),
    (
        CircuitOpenError,
        lambda: breaker_of(calls("isolate")),
        (
            "tool: the circuit breaker is isolated by hand; release() or reset_breaker() lets "
            "attempts begin"
        ),
    ),
    (CircuitOpenError, failed_breaker, "the circuit breaker is open; retry in 60.0 s"),
    (
        CircuitOpenError,
        lambda: permit("isolate"),
        "the circuit breaker is isolated; retry in inf s",
    ),
    (LocalProtocolError, settled_twice, "this permit was settled already"),
    (
        LocalProtocolError,
        lambda: raised(CircuitBreaker(1, 60, lambda: 0.0).release),
        "the breaker is closed, not isolated",
    ),
    # Settings
    (
        HsmsError,
        setting(name="a\nb"),
        "name='a\\nb' is not a printable text of up to 100 characters",
    ),
    (HsmsError, setting(host=""), "host='' is not a host name or address"),
    (
        HsmsError,
        setting(host="my tool"),
        (
            "host='my tool' is not a host name or address: it has a space or a character that "
            "cannot be seen"
        ),
    ),
    (HsmsError, setting(port=-1), "port=-1 is not a whole number in 0..65535"),
    (HsmsError, setting(backoff_factor=0), "backoff_factor=0 is not a number in 1..10"),
    (HsmsError, setting(is_equipment=1), "is_equipment=1 is not True or False"),
    (
        HsmsError,
        setting(t3=0),
        "t3=0 is not in 1..120 s (reply: a data transaction with W is open)",
    ),
    (
        HsmsError,
        setting(t3="45"),
        "t3='45' is text, not a number in 1..120 s (reply: a data transaction with W is open)",
    ),
    (HsmsError, setting(port=None), "port=None is not a whole number in 0..65535"),
    (
        HsmsError,
        setting(t3=0, port=-1),
        (
            "port=-1 is not a whole number in 0..65535; t3=0 is not in 1..120 s (reply: a data "
            "transaction with W is open)"
        ),
    ),
    (
        HsmsError,
        setting(t9=1),
        f"unknown setting t9; there are {', '.join(sorted(Settings.__dataclass_fields__))}",
    ),
    (
        TypeError,
        chosen("tool"),
        (
            "by position: settings, or host and port, or host, port and settings, not ('tool',); "
            "all else by name"
        ),
    ),
    (TypeError, chosen("tool", 1, port=2), "by position and by name: port"),
]


@pytest.mark.parametrize(
    ("kind", "gives", "text"), TEXTS, ids=[f"{n} {t[2][:60]}" for n, t in enumerate(TEXTS)]
)
def test_a_text_is_whole(kind: type[Exception], gives: Callable[[], object], text: str) -> None:
    error = gives()
    assert text_of(error) == text
    assert isinstance(error, kind)


def accepting(end: End) -> None:
    end.take(select_req(1))


@pytest.mark.parametrize(
    ("ask", "start", "happens"),
    [
        (select_of, selected, select_answered(0)),
        (select_of, selected, accepting),
        (deselect_of, selected, lambda end: end.take(deselect_rsp(end.last))),
        (deselect_of, selected, lambda end: end.take(deselect_rsp(end.last, 1))),
        (deselect_of, selected, takes(deselect_req(1))),
        (linktest_of, serving, in_order(takes(data(6, 11, 1)), at(5))),
    ],
    ids=[
        "Select.rsp",
        "a Select that crosses ours",
        "Deselect.rsp",
        "Deselect.rsp 1",
        "a Deselect that crosses ours",
        "a frame in place of Linktest.rsp",
    ],
)
def test_what_has_come_about_is_no_error(
    ask: Callable[[End, Happens], object], start: Callable[[], End], happens: Happens
) -> None:
    assert ask(start(), happens) is None


def test_an_error_that_is_raised_again_is_a_copy() -> None:
    end = serving()
    end.engine.tcp_closed(RESET)
    one, other = end.engine.unusable(), end.engine.unusable()
    assert one is not other
    assert str(one) == str(other)


# What needs the driver


async def refusal(call: Awaitable[object]) -> str:
    """What the error says that a call raises."""
    with pytest.raises((HsmsError, OSError)) as caught:
        await call
    return str(caught.value)


def of_connection(call: Callable[[HsmsConnection], Awaitable[object]]) -> Driven:
    """What a call of a selected connection raises."""

    async def scenario() -> str:
        async with passive_end(**QUIET) as (connection, _):
            return await refusal(call(connection))

    return scenario


def of_link(end: str, call: Callable[[HsmsLink], Awaitable[object]]) -> Driven:
    """What a call of a link raises after ``end``."""

    async def scenario() -> str:
        async with link_end(Switchboard(), **QUIET) as link:
            getattr(link, end)()
            return await refusal(call(link))

    return scenario


def of_thread(run: Callable[[Callable[[], Any]], object]) -> Driven:
    """What a call of a selected connection raises in another thread, and in its loop there."""

    async def scenario() -> str:
        async with passive_end(**QUIET) as (connection, _):
            return text_of(await from_thread(lambda: run(connection.linktest)))

    return scenario


async def opened_under_asyncio() -> str:
    """What a door says to asyncio."""

    async def main() -> None:
        await serve_hsms(nothing, Settings())

    return text_of(await from_thread(lambda: under_asyncio(main)))


async def fleet_opened_under_asyncio() -> str:
    """What one says that trio alone has."""

    async def main() -> None:
        async with open_fleet({}, MemoryStore()):
            pass

    return text_of(await from_thread(lambda: under_asyncio(main)))


async def read_beyond_the_end() -> str:
    async with passive_end(**QUIET) as (connection, _):
        reader = connection.events()
        await connection.aclose()
        while await anext(reader, None) is not None:
            pass
        return await refusal(reader.receive())


async def a_reader_shown() -> str:
    async with passive_end(**QUIET) as (connection, _):
        return repr(connection.events())


def of_server(
    happens: Callable[[MemoryListener], Awaitable[object]],
    why: Callable[[ServerEvent], str | None],
    handler: Handler = nothing,
    **settings: Any,
) -> Driven:
    """What the latest event of a server says after this."""

    async def scenario() -> str:
        async with server_end(handler, **{**QUIET, **settings}) as (server, listener):
            reader = server.events()
            await happens(listener)
            await wait_all_tasks_blocked()
            await server.aclose()
            texts = [text async for event in reader if (text := why(event)) is not None]
            return texts[0]

    return scenario


def why_turned_away(event: ServerEvent) -> str | None:
    return event.why if isinstance(event, PeerTurnedAway) else None


def why_ended(event: ServerEvent) -> str | None:
    return event.why if isinstance(event, PeerEnded) else None


async def select_and_one_more(listener: MemoryListener) -> None:
    await (await listener.raw("a:1")).select()
    await listener.raw("a:2")


def configured(after: Callable[[HsmsServer], Awaitable[object]], **changes: Any) -> Driven:
    """What ``configure`` of a server raises."""

    async def scenario() -> str:
        async with server_end(**QUIET) as (server, _):
            await after(server)
            with pytest.raises(HsmsError) as caught:
                server.configure(**changes)
            return str(caught.value)

    return scenario


async def server_reader_shown() -> str:
    async with server_end(**QUIET) as (server, _):
        return repr(server.events())


async def as_it_is(_: HsmsServer) -> None:
    await trio.lowlevel.checkpoint()


NO_TRIO = (
    "serve_hsms() was called under asyncio in thread 'worker', but it needs a task of trio; "
    "nothing was opened. asyncio uses hsms_engine.aio.serve_hsms(), threads and scripts use "
    "hsms_engine.blocking.serve_hsms(); a trio program begins with trio.run(main)"
)
NO_FLEET = (
    "open_fleet() was called under asyncio in thread 'worker', but it needs a task of trio; "
    "nothing was opened. It is for trio only: a trio program begins with trio.run(main)"
)
THEIR_LOOP = (
    " thread 'worker', but it belongs to the trio loop of thread 'MainThread'; nothing was done. "
    "Threads use hsms_engine.blocking, asyncio uses hsms_engine.aio; to call it in its own loop, "
    "use trio.from_thread"
)


def no_host() -> str:
    """In the words of the Python there is."""
    with pytest.raises(UnicodeError) as caught:
        NOWHERE.encode("idna")
    return f"{NOWHERE!r} is no host name: {caught.value}"


async def look_up_in_vain() -> str:
    with silent_resolver():
        return await refusal(connect_tcp("tool", 5000))


async def without_unix_sockets(call: Callable[[str], Awaitable[object]]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(socket, "AF_UNIX", raising=False)
        return await refusal(call("hsms"))


Driven = Callable[[], Awaitable[str]]
NOWHERE = "a" * 70
NO_HOST = no_host()
NO_UNIX = f"[Errno {errno.EAFNOSUPPORT}] this Python has no Unix sockets"
DRIVEN: list[tuple[Driven, str]] = [
    (
        of_connection(lambda connection: connection.request(Message(1, 1))),
        "S1F1 without W: only a primary with W has a reply; use send() or reply()",
    ),
    (
        of_connection(lambda connection: connection.request(S1F2)),
        "S1F2 is a secondary: only a primary with W has a reply; use send() or reply()",
    ),
    (
        of_connection(lambda connection: connection.send(S1F1)),
        "S1F1 asks for a reply: use request() or reply()",
    ),
    (
        of_connection(lambda connection: connection.send(S1F2)),
        "S1F2 is a secondary: use request() or reply()",
    ),
    (
        of_link("disable", HsmsLink.connect),
        "tool:5000: the link is disabled; enable() it to connect",
    ),
    (
        of_link("close_soon", HsmsLink.wait_selected),
        f"tool:5000: {BY_CALL}; open another one",
    ),
    *(
        (
            of_thread(run),
            f"<HsmsConnection memory peer 1 selected>: linktest() was called {where}{THEIR_LOOP}",
        )
        for run, where in {
            without_loop: "outside of trio in",
            under_asyncio: "under asyncio in",
            under_trio: "in the trio loop of",
        }.items()
    ),
    (
        opened_under_asyncio,
        NO_TRIO,
    ),
    (fleet_opened_under_asyncio, NO_FLEET),
    (read_beyond_the_end, "memory peer 1: there are no more events: it is closed"),
    (a_reader_shown, "<EventReader memory peer 1>"),
    (
        configured(as_it_is, port=5001),
        "port=5001 cannot be used by a server that listens with port=5000",
    ),
    (
        configured(HsmsServer.aclose, t3=9),
        "<HsmsServer memory>: configure after close; open another one",
    ),
    (server_reader_shown, "<EventReader server on memory>"),
    (lambda: refusal(connect_tcp(NOWHERE, 5000)), NO_HOST),
    (lambda: refusal(listen_tcp(NOWHERE, 5000)), NO_HOST),
    (lambda: without_unix_sockets(connect_unix), NO_UNIX),
    (lambda: without_unix_sockets(listen_unix), NO_UNIX),
    (look_up_in_vain, "no address of 'tool' was found within 30 s"),
]


@pytest.mark.parametrize(("scenario", "text"), DRIVEN, ids=[f"{n}" for n in range(len(DRIVEN))])
async def test_a_text_that_the_driver_gives_is_whole(scenario: Driven, text: str) -> None:
    assert await scenario() == text


# What the server logs


async def compete(listener: MemoryListener) -> None:
    await (await listener.raw()).select()
    await be_refused(listener)


async def be_refused(listener: MemoryListener) -> None:
    other = await listener.raw()
    await other.send(select_req(1))
    await other.expect(select_rsp(1, 3))
    await other.close()


async def close_at_once(listener: MemoryListener) -> None:
    await (await listener.raw()).close()


async def select_and_close(listener: MemoryListener) -> None:
    peer = await listener.raw()
    await peer.select()
    await peer.close()


async def select_only(listener: MemoryListener) -> None:
    await (await listener.raw()).select()


async def returns(_: HsmsConnection) -> None:
    await trio.lowlevel.checkpoint()


async def fails_after_its_close(connection: HsmsConnection) -> None:
    connection.close_soon()
    raise KeyError("lot")


async def fails_itself(_: HsmsConnection) -> None:
    raise KeyError("lot")


async def connect_two(listener: MemoryListener) -> None:
    for _ in range(2):
        await listener.raw()
        await wait_all_tasks_blocked()


async def connect_many(listener: MemoryListener) -> None:
    for _ in range(22):
        await (await listener.raw()).close()
        await wait_all_tasks_blocked()
    await trio.sleep(10)
    await listener.raw()
    await wait_all_tasks_blocked()


async def selects_and_deselects(listener: MemoryListener) -> None:
    peer = await listener.raw()
    await peer.send((select_req(1) + deselect_req(2)) * 20)
    await wait_all_tasks_blocked()


async def one_fills_and_another_comes(listener: MemoryListener) -> None:
    for size in (50, 1):
        peer = await listener.raw()
        await peer.select()
        await peer.send(data(6, 11, 1, body=bytes(size)))
        await peer.settle()


def sends(*frames: bytes) -> Callable[[MemoryListener], Awaitable[None]]:
    """For each of these a peer selects, sends it, and is gone."""

    async def happens(listener: MemoryListener) -> None:
        for frame in frames:
            peer = await listener.raw()
            await peer.select()
            await peer.send(frame)
            await peer.settle()
            await peer.close()
            await wait_all_tasks_blocked()

    return happens


async def reads(connection: HsmsConnection) -> None:
    async for primary in connection:
        assert primary.item is None


async def breaks(connection: HsmsConnection) -> None:
    def record(_: Step) -> None:
        raise ValueError

    failing(connection, record)
    await nothing(connection)


async def waits_and_reads(connection: HsmsConnection) -> None:
    """The first one reads, when both connections are over."""
    if connection.peer != "memory peer 1":
        await nothing(connection)
    await trio.sleep(5)
    await reads(connection)


async def asks(connection: HsmsConnection) -> None:
    """It takes no primary."""
    await connection.request(S1F1)


async def select_two(listener: MemoryListener) -> None:
    for _ in range(2):
        peer = await listener.raw()
        await peer.select()
        await peer.send(EVENT)
        await wait_all_tasks_blocked()


ALL_OPEN = (
    "1 connections are open, and 0 handlers run on after the end of theirs (max_connections = 1)"
)
# What the events of a server say of a peer.
TOLD: list[tuple[Driven, str]] = [
    (
        of_server(select_and_one_more, why_turned_away, max_connections_per_address=1),
        "its address has 1 connections (max_connections_per_address)",
    ),
    (
        of_server(select_and_one_more, why_turned_away, max_connections=1),
        ALL_OPEN,
    ),
    (
        of_server(close_before_the_accept, why_turned_away),
        "it had closed before it was accepted",
    ),
    (
        of_server(compete, why_ended),
        "refused: others have all 1 sessions (max_sessions)",
    ),
    (
        of_server(be_refused, why_ended, handler_room=lambda: 0),
        "refused: no handler can begin for it (threads)",
    ),
    (of_server(close_at_once, why_ended), "connection lost: the peer closed TCP"),
    (of_server(connect_two, why_ended, max_connections=1), "gave way to memory peer 2"),
    (of_server(select_and_close, why_ended), "connection lost: the peer closed TCP"),
    (of_server(lambda listener: listener.raw(), why_ended), BY_CALL),
    (of_server(select_only, why_ended, handler=returns), "its handler has returned"),
    (of_server(select_only, why_ended, handler=fails_after_its_close), BY_CALL),
    (
        of_server(select_only, why_ended, handler=fails_itself),
        "its handler failed: KeyError('lot')",
    ),
]


@pytest.mark.parametrize(("scenario", "text"), TOLD, ids=[f"{n}" for n in range(len(TOLD))])
async def test_a_text_of_an_event_of_a_server_is_whole(scenario: Driven, text: str) -> None:
    assert await scenario() == text


class Logged(NamedTuple):
    """``line`` is a line of the log, or the first line of its text."""

    happens: Callable[[MemoryListener], Awaitable[None]]
    line: str
    handler: Handler = reads
    settings: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it


EVENT = data(6, 11, 1, body=b"\x01\x00")
LOGGED = {
    "competing": Logged(
        compete,
        "memory peer 2 passive: refused with Select.rsp 3: others have the session",
        settings={"second_host": "refuse", "linktest_interval": 1_000},
    ),
    "closed at once": Logged(
        close_at_once,
        "memory peer 1 passive: connection lost: the peer closed TCP; closed",
    ),
    "others left out": Logged(
        connect_many,
        "memory peer 23 passive: not selected: TCP is open (T7 = 10 s) (2 other connections were "
        "left out)",
    ),
    "selected without end": Logged(
        selects_and_deselects,
        "memory peer 1 passive: selected (only the first 20 such changes of a connection are "
        "logged here)",
    ),
    "gave way": Logged(
        connect_two,
        "memory peer 1 passive: gives way to memory peer 2",
        settings={"max_connections": 1},
    ),
    "handler ended": Logged(
        select_and_close,
        "memory peer 1 passive: its handler ended: memory peer 1: connection lost: the peer closed "
        "TCP",
    ),
    "handler failed": Logged(
        sends(data(1, 3, 5, body=b"\xff")),
        "memory peer 1 passive: its handler failed:",
    ),
    "connection failed": Logged(
        sends(linktest_req(5)),
        "memory peer 1 passive: ended, because it failed itself:",
        breaks,
    ),
    "handler cancelled": Logged(
        sends(b"", b""),
        "memory peer 1 passive: its handler is cancelled: its connection has been over for "
        "longest, and more than 1 such handlers run (max_connections)",
        nothing,
        {"max_connections": 1},
    ),
    "primaries dropped": Logged(
        sends(EVENT, EVENT),
        "memory peer 1 passive: 1 primaries that waited on a connection that is over are dropped: "
        "others need their room (server_inbox_bytes)",
        nothing,
        {"server_inbox_bytes": 300},
    ),
    "reader of dropped primaries": Logged(
        sends(EVENT, EVENT),
        "memory peer 1 passive: its handler ended: memory peer 1: the connection is over, and 1 "
        "primaries that waited were dropped: the server needed their room (server_inbox_bytes), or "
        "the handler had ended",
        waits_and_reads,
        {"server_inbox_bytes": 300},
    ),
    "others need the room": Logged(
        one_fills_and_another_comes,
        "memory peer 1 passive: its handler ended: S1F1 got no reply: memory peer 1: connection "
        "lost: the inboxes of the server are full: of all its connections this one has most in "
        "them, 250 bytes, and nobody takes them (server_inbox_bytes)",
        asks,
        {"server_inbox_bytes": 300, "max_sessions": 2},
    ),
    "inboxes full": Logged(
        select_two,
        "memory peer 2 passive: its handler ended: S1F1 got no reply: memory peer 2: connection "
        "lost: the inboxes of the server are full: 202 bytes wait on all its connections together "
        "and nobody takes them (server_inbox_bytes); S6F11 did not fit",
        asks,
        {"server_inbox_bytes": 300, "max_sessions": 2},
    ),
}


@pytest.mark.parametrize("how", LOGGED)
async def test_a_server_logs_how_a_connection_ended(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    happens, line, handler, settings = LOGGED[how]
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(handler, **{**QUIET, **settings}) as (_, listener):
        await happens(listener)
        await trio.sleep(10)
        lines = [each.getMessage() for each in caplog.records if each.name == "hsms_engine.link"]
    assert line in [each.partition("\n")[0] for each in lines]


# Every text there is

SOURCES = [
    *sorted(Path("hsms_engine/protocol").glob("*.py")),
    *(
        Path("hsms_engine", f"{name}.py")
        for name in ("accepted", "breaker", "connection", "link", "messaging")
    ),
    *(Path("hsms_engine", f"{name}.py") for name in ("logs", "server", "session_task", "settings")),
    *sorted(Path("hsms_engine/driver").glob("*.py")),
    *sorted(Path("hsms_engine/traffic").glob("*.py")),
    *sorted(Path("hsms_engine/health").glob("*.py")),
]
# Words for states, a socket without a name, and two defects that test_driver_streams shows.
OTHERS = {
    *(
        re.escape(each)
        for each in ("not selected", "tcp connect", "a Unix socket", "a peer that has reset")
    ),
    re.escape("no duration is known for timer ") + ".*",
    # What ``settings show`` and a table say of any setting.
    *(re.escape(each) for each in (", or none", "true or false")),
    "max_bytes=.*" + re.escape(" must be 1 or more"),
    # Parts of other texts: an indented traceback, a list, a name, and what stands before a text.
    *(r"\ \(_ssl", r"\ \ .*", r"<L\ \[.*\]", r"%s:\ .*"),
}


def texts(tree: ast.AST) -> Iterator[str]:
    """The patterns of the outermost texts of several words in a source, docstrings left out."""
    match tree:
        case ast.Expr(value=ast.Constant()) | ast.Assert():
            return
        case ast.Call(func=ast.Attribute(attr="debug")):
            return
        case ast.Constant(value=str(text)) if " " in text:
            yield re.sub(r"%0?\d*[dgsX]", ".*", re.escape(text))
        case ast.JoinedStr(values=parts):
            pattern = "".join(
                re.escape(str(each.value)) if isinstance(each, ast.Constant) else ".*"
                for each in parts
            )
            if "\\ " in pattern:
                yield pattern
            for each in parts:
                if isinstance(each, ast.FormattedValue):
                    yield from texts(each.value)
        case _:
            for child in ast.iter_child_nodes(tree):
                yield from texts(child)


def shown() -> list[str]:
    """All that the tests above compare."""
    attempts = [f"not connected, during select: {each.cause}" for each in ATTEMPTS.values()]
    losses = [f"{each.what}: {each.reason}" for each in (LOSSES | ENDS).values()]
    logged = [each.line for each in LOGGED.values()]
    texts = [*(text for _, _, text in TEXTS), *(text for _, text in (*DRIVEN, *TOLD))]
    links = [*LINK_TEXTS, NOT_SELECTED, TURNED_AWAY, UNREACHABLE]
    links += [REMOVED, STEP, DEFECT, FOR_EVER]
    tasks = [TASK_ENDED, TASK_FAILED, NO_REPLY, LATE_REPLY]
    answer = line("received", "S1F2", 1, more=" 0.0 ms")
    passed_over = [over(name, length, why) for _, name, length, why in PASSED_OVER]
    doors = [
        *(f"{here}; {there}" for *_, here, there in test_tls_handshakes.HANDSHAKES.values()),
        *test_tls_handshakes.RARE.values(),
        *(why for _, why in test_tls_files.BAD.values()),
    ]
    for tested in (
        test_admission,
        test_health,
        test_health_lease,
        test_health_served,
        test_lease_engine,
        test_lease_fence,
        test_local_address,
        test_settings,
        test_tls_files,
        test_tls_handshakes,
        test_tls_stream,
        test_tolerances,
    ):
        doors += [each for each in vars(tested).values() if isinstance(each, str)]
    doors += test_tolerances.KINDS
    doors += test_lease_engine.LINES
    traffic = [answer, *passed_over, *REASONS.values(), NO_SECS_II, NOT_SHOWN, *FAULTS.values()]
    return [*doors, *attempts, *losses, *logged, *texts, *links, *tasks, *traffic]


def test_no_text_is_left_out() -> None:
    sentences = shown()
    missing = [
        f"{source}: {pattern}"
        for source in SOURCES
        for pattern in texts(ast.parse((ROOT / source).read_text(encoding="utf-8")))
        if pattern not in OTHERS and not any(re.search(pattern, each) for each in sentences)
    ]
    assert missing == []
