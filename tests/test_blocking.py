"""The blocking door: the trio API for threads, against peers of our own over TCP.

No test waits for time to pass. What a test waits for is an event, with a bound that is never
reached on a good tree.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

import pytest

from hsms_engine import (
    CircuitOpenError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsError,
    LinkDownError,
    LocalProtocolError,
    Message,
    SelectRefusedError,
    SettingsError,
    Transfers,
    blocking,
)
from hsms_engine.blocking import wait as wait_module
from hsms_engine.blocking.wait import now
from hsms_engine.doors.thread import trio_thread
from hsms_engine.errors import WrongLoopError
from hsms_engine.events import Closed
from hsms_engine.messages import S1F1, S1F13
from hsms_engine.protocol.epoch import Primary
from hsms_engine.secs2 import B

PATIENCE = 20.0
"""Seconds after which a wait is given up: only a broken tree comes that far."""


def echo(conn: blocking.HsmsConnection) -> None:
    """Answer every primary with its own body."""
    for primary in conn:
        if primary.wait:
            conn.reply(primary, Message(primary.stream, primary.function + 1, body=primary.body))


@dataclass
class Peer:
    """A handler that hands its connection to the test, and keeps it until the test is done."""

    connections: SimpleQueue[blocking.HsmsConnection] = field(default_factory=SimpleQueue)
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, conn: blocking.HsmsConnection) -> None:
        self.connections.put(conn)
        assert self.done.wait(PATIENCE)

    def connection(self) -> blocking.HsmsConnection:
        return self.connections.get(timeout=PATIENCE)


@contextmanager
def a_pair() -> Iterator[tuple[blocking.HsmsConnection, blocking.HsmsConnection]]:
    """A dialled connection, and the other end of it."""
    peer = Peer()
    with blocking.serve_hsms(peer, port=0) as server:
        try:
            with blocking.open_hsms("127.0.0.1", server.port, timeout=PATIENCE) as conn:
                yield conn, peer.connection()
        finally:
            peer.done.set()


def test_a_request_gets_the_reply_of_the_handler() -> None:
    with blocking.serve_hsms(echo, port=0) as server:
        with blocking.open_hsms("127.0.0.1", server.port) as conn:
            assert conn.request(S1F13()) == Message(1, 14, body=S1F13().body)
            assert conn.is_selected
            assert conn.peer == server.address
            assert conn.settings.port == server.port
            assert conn.statistics().counts["messages_received"] == 1
            assert conn.transfers() == Transfers()
            assert repr(conn) == f"<hsms_engine.blocking.HsmsConnection {conn.peer} selected>"
        assert conn.phase == "closed"


def test_each_end_knows_both_addresses() -> None:
    with a_pair() as (host, equipment):
        assert host.local_address == equipment.remote_address == equipment.peer
        assert host.remote_address == equipment.local_address == host.peer


def test_each_end_gets_what_the_other_sends() -> None:
    with a_pair() as (host, equipment):
        equipment.send(Message(6, 11, item="one"))
        equipment.send(Message(6, 11, item="two"))
        assert [host.receive(PATIENCE), next(host)] == [
            Message(6, 11, item="one"),
            Message(6, 11, item="two"),
        ]
        host.linktest(PATIENCE)
        host.deselect(PATIENCE)
        assert host.phase == "not selected"
        host.select(PATIENCE)
        host.send(Message(2, 1), PATIENCE)
        assert equipment.receive(PATIENCE) == Message(2, 1)


def test_the_loop_over_a_connection_ends_when_the_peer_has_separated() -> None:
    with a_pair() as (host, equipment):
        equipment.send(Message(6, 11))
        equipment.close(PATIENCE)
        assert list(host) == [Message(6, 11)]
        with pytest.raises(ConnectionLostError):
            host.receive(PATIENCE)


def test_the_errors_are_those_of_the_trio_api() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectError) as caught, blocking.open_hsms("127.0.0.1", port):
        pass
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    with pytest.raises(SettingsError), blocking.open_hsms(t3=-1):
        pass
    # A type checker says it too.
    with pytest.raises(TypeError), blocking.open_hsms("127.0.0.1"):  # type: ignore[call-overload]
        pass
    with a_pair() as (host, equipment):
        with pytest.raises(LocalProtocolError):
            host.request(Message(1, 1))
        with pytest.raises(LocalProtocolError):
            equipment.reply(Message(1, 1, True), Message(1, 2))
    with pytest.raises(ClosedError):
        host.request(S1F1())


def test_an_exception_of_the_block_comes_out_bare_and_the_peer_is_separated() -> None:
    with blocking.serve_hsms(lambda conn: ended.put(list(conn)), port=0) as server:
        ended: SimpleQueue[list[Primary]] = SimpleQueue()
        with suppress(ZeroDivisionError):
            with another(server) as conn:
                conn.send(Message(6, 11))
                raise ZeroDivisionError
            pytest.fail("the error of the block is lost")
        # The loop of the handler ended without an error, so a Separate.req has come.
        assert ended.get(timeout=PATIENCE) == [Message(6, 11)]


def test_a_timeout_abandons_only_its_own_call() -> None:
    with a_pair() as (host, equipment):
        with pytest.raises(TimeoutError, match=r": request of S1F1: not done within timeout=0 s$"):
            host.request(S1F1(), timeout=0)
        host.send(Message(6, 11), PATIENCE)
        while equipment.receive(PATIENCE) != Message(6, 11):
            # The request was sent just before it was abandoned.
            pass
        assert host.statistics().open_transactions == 0


def test_a_late_reply_to_a_call_that_was_given_up_is_counted() -> None:
    with a_pair() as (host, equipment):
        got = SimpleQueue[Primary]()
        with interrupted_while_waiting(lambda: got.put(equipment.receive(PATIENCE))):
            host.request(S1F1())
        equipment.reply(got.get(timeout=PATIENCE), Message(1, 2))
        equipment.linktest(PATIENCE)
        assert host.statistics().counts["unexpected_secondaries"] == 1


@pytest.mark.parametrize("timeout", [-1, float("nan"), -float("inf")])
def test_a_timeout_that_is_none_is_refused_before_anything_is_sent(timeout: float) -> None:
    with a_pair() as (host, _):
        sent = host.statistics().counts["messages_sent"]
        with pytest.raises(ValueError, match="is not a number of seconds"):
            host.send(Message(6, 11), timeout)
        assert host.statistics().counts["messages_sent"] == sent


def test_no_message_is_lost_to_calls_that_give_up() -> None:
    messages = [Message(6, 11, item=str(n)) for n in range(300)]
    with a_pair() as (host, equipment):
        sender = threading.Thread(target=lambda: deque(map(equipment.send, messages)))
        sender.start()
        got: list[Primary] = []
        while len(got) < len(messages):
            try:
                # Most of these give up just when a message comes.
                got.append(host.receive(timeout=0))
            except TimeoutError:
                got.append(host.receive(PATIENCE))
        sender.join(PATIENCE)
        assert got == messages


def interrupt_soon(first: Callable[[], object] = lambda: None) -> None:
    """Ctrl-C in this, the main thread, when it waits for a call and ``first`` has returned."""
    if sys.platform == "win32":
        pytest.skip("there a thread cannot be sent a signal")
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        first()
        while sys._current_frames()[main].f_code.co_name != "_acquire":
            time.sleep(0)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()


@contextmanager
def interrupted_while_waiting(first: Callable[[], object] = lambda: None) -> Iterator[None]:
    """The first call in the block that waits gets Ctrl-C, when ``first`` has returned."""
    interrupt_soon(first)
    with suppress(KeyboardInterrupt):
        yield
        pytest.fail("the call has returned")


@pytest.mark.parametrize(
    "call",
    [
        lambda host: host.request(S1F1()),
        lambda host: host.receive(),
        lambda host: host.receive(timeout=PATIENCE),
        next,
        lambda host: [*host.events()],
    ],
    ids=["request", "receive", "receive with a timeout", "next", "events"],
)
def test_ctrl_c_abandons_one_call_and_the_connection_stays(
    call: Callable[[blocking.HsmsConnection], object],
) -> None:
    with a_pair() as (host, equipment):
        with interrupted_while_waiting():
            call(host)
        equipment.send(Message(6, 11))
        assert host.receive(PATIENCE) == Message(6, 11)
        assert host.statistics().open_transactions == 0


@contextmanager
def a_silent_peer() -> Iterator[socket.socket]:
    """It accepts TCP and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


def read_all(connection: socket.socket) -> bytes:
    """All that comes over a connection until it ends; a reset ends it too."""
    connection.settimeout(PATIENCE)
    got = b""
    with connection, suppress(ConnectionResetError):
        while data := connection.recv(100):
            got += data
    return got


SELECT_REQ_LENGTH = 14


def test_ctrl_c_while_it_opens_leaves_nothing_open() -> None:
    with a_silent_peer() as listener:
        accepted: SimpleQueue[socket.socket] = SimpleQueue()
        with (
            interrupted_while_waiting(lambda: accepted.put(listener.accept()[0])),
            blocking.open_hsms(*listener.getsockname()),
        ):
            pass
        assert len(read_all(accepted.get(timeout=PATIENCE))) <= SELECT_REQ_LENGTH


def test_a_timeout_while_it_opens_leaves_nothing_open() -> None:
    with a_silent_peer() as listener:
        with (
            pytest.raises(TimeoutError, match="open_hsms"),
            blocking.open_hsms(*listener.getsockname(), timeout=0),
        ):
            pass
        with blocking.open_link(*listener.getsockname()) as link:
            with pytest.raises(TimeoutError, match=r"wait_selected: .* s: .*not selected"):
                link.wait_selected(timeout=0)
            with interrupted_while_waiting():
                link.wait_selected()
            with pytest.raises(LinkDownError):
                link.request(S1F1())


def test_ctrl_c_while_it_closes_closes_without_waiting() -> None:
    def select(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        request = connection.recv(SELECT_REQ_LENGTH)
        connection.sendall(request[:9] + b"\2" + request[10:])
        connections.append(connection)

    connections: list[socket.socket] = []
    with a_silent_peer() as listener:
        peer = threading.Thread(target=select, args=[listener])
        peer.start()
        with suppress(KeyboardInterrupt):
            with blocking.open_hsms(*listener.getsockname(), linger=10) as conn:
                peer.join(PATIENCE)
                reader = conn.events()
                interrupt_soon()
            pytest.fail("the exit has waited for the peer")
        assert isinstance([*reader][-1], Closed)
        for connection in connections:
            connection.close()


def test_a_link_reconnects_and_tells_it() -> None:
    peer = Peer()
    with (
        blocking.serve_hsms(peer, port=0) as server,
        blocking.open_link("127.0.0.1", server.port, t5=1) as link,
    ):
        events = link.events()
        link.wait_selected(PATIENCE)
        link.connect(PATIENCE)
        link.disable()
        with pytest.raises(LocalProtocolError):
            link.disable()
        names = []
        for event in events:
            names.append(type(event).__name__)
            if names[-1] == "Idle":
                break
        with pytest.raises(LocalProtocolError):
            link.connect(PATIENCE)
        link.isolate()
        link.enable()
        with pytest.raises(CircuitOpenError):
            link.connect(PATIENCE)
        saved = link.save()
        link.release()
        link.reset_breaker()
        link.configure(t6=3)
        assert link.settings.t6 == 3
        with pytest.raises(SettingsError):
            link.configure(t6=-3)
        link.wait_selected(PATIENCE)
        peer.done.set()
    assert names == ["Connecting", "Selecting", "Selected", "Separating", "Idle"]
    assert [type(each) for each in events][-1] is Closed
    with pytest.raises(ClosedError):
        events.receive()
    assert list(link) == []
    with blocking.open_link("127.0.0.1", 1, restore=saved) as link:
        assert link.statistics().breaker_state == "isolated"


def test_a_link_gives_the_primaries_of_all_its_connections() -> None:
    def send_one(conn: blocking.HsmsConnection) -> None:
        conn.send(Message(6, 11))

    with (
        blocking.serve_hsms(send_one, port=0) as server,
        blocking.open_link(
            "127.0.0.1", server.port, t5=0.01, allow_short_timers=True, backoff_jitter=0
        ) as link,
    ):
        got = [primary for primary, _ in zip(link, range(3), strict=False)]
    assert got == [Message(6, 11)] * 3
    assert len({primary.epoch.number for primary in got}) == 3


def test_a_task_runs_in_a_thread_for_each_session_and_its_calls_end_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    began, raised, may_return = SimpleQueue[str](), SimpleQueue[Exception](), threading.Event()

    def task(link: blocking.HsmsLink) -> None:
        began.put(threading.current_thread().name)
        link.send(Message(6, 11))
        for _ in range(2):
            try:
                link.receive()
            except ConnectionLostError as error:
                raised.put(error)
        assert may_return.wait(PATIENCE)

    peer = Peer()
    with (
        blocking.serve_hsms(peer, port=0) as server,
        blocking.open_link(
            "127.0.0.1", server.port, t5=0.01, allow_short_timers=True, backoff_jitter=0
        ) as link,
    ):
        registered = link.on_selected(task)
        conn = peer.connection()
        assert began.get(timeout=PATIENCE) == f"task of {link.peer}"
        assert conn.receive(PATIENCE) == Message(6, 11)
        conn.close(PATIENCE)
        assert "can make no call any more" in str(raised.get(timeout=PATIENCE))
        assert "can make no call any more" in str(raised.get(timeout=PATIENCE))
        peer.done.set()
        # The next session has its task when that of the first has returned.
        until(lambda: "the task of an earlier session still runs" in caplog.text)
        assert began.empty()
        may_return.set()
        began.get(timeout=PATIENCE)
        registered.cancel()


def test_a_block_that_was_not_entered_says_so() -> None:
    block = blocking.open_hsms("127.0.0.1", 1)
    with pytest.raises(AttributeError, match=r"open_hsms has not been entered, .* 'request': use"):
        block.request  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("timeout", ["5", b"", [1]])
def test_a_timeout_that_is_no_number_is_refused(timeout: object) -> None:
    with a_pair() as (host, _), pytest.raises(ValueError, match="is not a number of seconds"):
        host.linktest(timeout)  # type: ignore[arg-type]


async def for_trio(_: object) -> None:
    """A function of another door."""


@pytest.mark.parametrize(("wrong", "why"), [(None, "is no function"), (for_trio, "is async")])
def test_what_is_no_function_for_a_thread_is_refused_at_once(wrong: object, why: str) -> None:
    with blocking.open_link("127.0.0.1", 1) as link:
        for give in (link.on_selected, link.on_step, link.on_message):
            with pytest.raises(TypeError, match=why):
                give(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=why):
        blocking.serve_hsms(wrong, port=0)  # type: ignore[call-overload]


def test_a_wait_in_pieces_ends_when_the_call_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a wait hears Ctrl-C only between its pieces."""
    monkeypatch.setattr(wait_module, "_PIECE", 1e-6)
    with a_pair() as (host, equipment):
        for _ in range(20):
            host.linktest()
            equipment.linktest(PATIENCE)


def test_many_threads_use_one_connection() -> None:
    with (
        blocking.serve_hsms(echo, port=0) as server,
        blocking.open_hsms("127.0.0.1", server.port) as conn,
        ThreadPoolExecutor(16) as threads,
    ):
        asked = [Message(1, 1, True, f"{n}") for n in range(400)]
        replies = list(threads.map(conn.request, asked))
        assert [each.body for each in replies] == [each.body for each in asked]


def test_a_full_outbox_makes_a_request_wait_and_not_fail() -> None:
    with a_pair() as (host, equipment), ThreadPoolExecutor(8) as threads:
        big = Message(7, 3, True, B(bytes(3_000_000)))
        replies = [threads.submit(host.request, big) for _ in range(8)]
        for _ in replies:
            equipment.reply(equipment.receive(PATIENCE), Message(7, 4))
        assert [each.result(PATIENCE) for each in replies] == [Message(7, 4)] * 8


# The listening end


def test_with_a_full_outbox_sends_and_replies_wait_too() -> None:
    big = B(bytes(3_000_000))
    with a_pair() as (host, equipment), ThreadPoolExecutor(16) as threads:
        sent = [threads.submit(host.send, Message(7, 1, False, big)) for _ in range(8)]
        for _ in sent:
            equipment.receive(PATIENCE)
        asked = [threads.submit(host.request, Message(7, 3, True)) for _ in range(8)]
        primaries = [equipment.receive(PATIENCE) for _ in asked]
        replied = [
            threads.submit(equipment.reply, each, Message(7, 4, False, big)) for each in primaries
        ]
        assert [each.result(PATIENCE) for each in (*sent, *replied)] == [None] * 16
        assert [each.result(PATIENCE).name for each in asked] == ["S7F4"] * 8


def test_threads_for_handlers_follow_the_sessions_unless_their_number_was_given() -> None:
    peer = Peer()
    for threads, most in ((None, 12), (1, 1)):
        with (
            blocking.serve_hsms(peer, port=0, threads=threads) as server,
            ExitStack() as hosts,
        ):
            server.configure(max_sessions=12)
            for _ in range(most):
                hosts.enter_context(another(server))
            with pytest.raises(SelectRefusedError), another(server):
                pass
            assert server.statistics().selected == most
            peer.done.set()
        peer.done = threading.Event()


def test_the_server_tells_its_address_and_connections() -> None:
    peer = Peer()
    with blocking.serve_hsms(peer, "127.0.0.1", 0, max_sessions=2) as server:
        assert server.address == f"127.0.0.1:{server.port}"
        assert server.settings.max_sessions == 2
        assert server.connections == []
        with pytest.raises(TimeoutError, match="wait_closed"):
            server.wait_closed(timeout=0)
        with blocking.open_hsms("127.0.0.1", server.port):
            conn = peer.connection()
            assert server.connections == [conn]
            assert hash(server.connections[0]) == hash(conn)
            assert conn != server
            server.close(PATIENCE)
            server.wait_closed(PATIENCE)
            assert server.connections == []
            peer.done.set()


def test_the_server_sees_itself_and_can_be_configured() -> None:
    peer = Peer()
    with blocking.serve_hsms(peer, port=0) as server:
        events = server.events()
        with another(server):
            peer.connection()
            assert server.statistics().selected == 1
            assert "max_sessions" not in repr(server)
            server.configure(max_sessions=2)
            with another(server) as second:
                peer.connection()
                assert second.is_selected
            with pytest.raises(SettingsError):
                server.configure(port=1)
        peer.done.set()
    names = [type(each).__name__ for each in events]
    assert names[:2] == ["PeerAccepted", "PeerSelected"]
    assert names[-1] == "Closed"
    assert server.statistics().times_selected == 2
    assert repr(events) == f"<hsms_engine.blocking.EventReader of {server!r}>"


def test_a_server_whose_threads_are_all_taken_refuses_one_more_peer() -> None:
    peer = Peer()
    with blocking.serve_hsms(peer, port=0, threads=1, max_sessions=5) as server:
        with blocking.open_hsms("127.0.0.1", server.port):
            peer.connection()
            with pytest.raises(SelectRefusedError) as refused, another(server):
                pass
            assert refused.value.status == 3
        # The connection is over, and its handler still has the only thread.
        with pytest.raises(SelectRefusedError), another(server):
            pass
        peer.done.set()
        peer.done = threading.Event()
        with selected_at_last(server):
            peer.connection()
            peer.done.set()


def another(server: blocking.HsmsServer) -> AbstractContextManager[blocking.HsmsConnection]:
    return blocking.open_hsms("127.0.0.1", server.port)


def selected_at_last(server: blocking.HsmsServer) -> AbstractContextManager[object]:
    """A link, selected as soon as the server lets it."""
    stack = ExitStack()
    link = stack.enter_context(
        blocking.open_link(
            "127.0.0.1", server.port, t5=0.01, breaker_threshold=1000, allow_short_timers=True
        )
    )
    link.wait_selected(PATIENCE)
    return stack


@pytest.mark.parametrize("threads", [0, -1])
def test_a_server_without_threads_is_refused(threads: int) -> None:
    with pytest.raises(ValueError, match="threads="):
        blocking.serve_hsms(echo, port=0, threads=threads)


def test_what_a_handler_raises_ends_its_connection_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(conn: blocking.HsmsConnection) -> None:
        for primary in conn:
            if primary.function == 99:
                raise ZeroDivisionError("of the handler")
            conn.reply(primary, Message(primary.stream, primary.function + 1))

    with blocking.serve_hsms(fail, port=0, max_sessions=2) as server, another(server) as well:
        with another(server) as bad:
            bad.send(Message(1, 99))
            assert list(bad) == []
        assert well.request(S1F1()) == Message(1, 2)
    assert "ZeroDivisionError: of the handler" in caplog.text


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_handler_that_ends_its_thread_ends_only_its_connection(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def end(_: blocking.HsmsConnection) -> None:
        raise error

    with blocking.serve_hsms(end, port=0) as server:
        for _ in range(2):
            with suppress(ConnectionLostError), another(server) as conn:
                assert list(conn) == []
        assert f"it has raised {error.__name__}" in caplog.text


def test_what_ends_the_program_in_a_function_of_a_callback_ends_only_that() -> None:
    def end(_: object) -> None:
        raise SystemExit

    with a_pair() as (host, equipment):
        with pytest.raises(SystemExit):
            now(trio_thread(), lambda: end(None))
        host.linktest(PATIENCE)
        equipment.linktest(PATIENCE)


def test_with_raise_errors_a_handlers_error_comes_out_of_the_block() -> None:
    def fail(_: blocking.HsmsConnection) -> None:
        raise ZeroDivisionError

    stack = ExitStack()
    server = stack.enter_context(blocking.serve_hsms(fail, port=0, raise_errors=True))
    with suppress(ConnectionLostError), another(server) as conn:
        list(conn)
    with pytest.raises(ZeroDivisionError):
        server.wait_closed(PATIENCE)
    with pytest.raises(ZeroDivisionError):
        stack.close()


def test_a_handler_that_outlives_its_server_can_call_nothing_and_its_defect_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised = SimpleQueue[Exception]()

    def outlive(peer: Peer, conn: blocking.HsmsConnection) -> None:
        peer(conn)
        try:
            conn.send(Message(6, 11))
        except HsmsError as error:
            raised.put(error)
            raise errors.pop(0) from None

    errors: list[Exception] = [ClosedError("no defect"), ZeroDivisionError("afterwards")]
    for _ in range(2):
        peer = Peer()
        with caplog.at_level(logging.ERROR), ExitStack() as stack:
            server = stack.enter_context(blocking.serve_hsms(partial(outlive, peer), port=0))
            stack.enter_context(another(server))
            peer.connection()
            stack.close()
            peer.done.set()
            assert isinstance(raised.get(timeout=PATIENCE), ConnectionLostError)
    until(lambda: "ZeroDivisionError: afterwards" in caplog.text)


def until(ready: Callable[[], bool]) -> None:
    """Wait for what another thread does next."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end
        time.sleep(0)


# Where a call comes from


def test_a_call_in_a_callback_is_refused_because_it_would_wait_for_itself() -> None:
    raised: SimpleQueue[Exception] = SimpleQueue()

    def call(_: object) -> None:
        try:
            conn.linktest()
        except WrongLoopError as error:
            raised.put(error)

    with a_pair() as (conn, equipment):
        conn.on_step(call)
        equipment.linktest()
        assert "would wait for itself" in str(raised.get(timeout=PATIENCE))
        assert conn.is_selected


def test_messages_are_told_at_either_end() -> None:
    names: SimpleQueue[str] = SimpleQueue()
    with (
        blocking.serve_hsms(echo, port=0) as server,
        blocking.open_hsms("127.0.0.1", server.port) as conn,
    ):
        conn.on_message(lambda each: names.put(f"host {each.direction} {each.name}"))
        server.on_message(lambda each: names.put(f"equipment {each.direction} {each.name}"))
        conn.request(S1F1())
        assert {names.get(timeout=PATIENCE) for _ in range(4)} == {
            "host sent S1F1",
            "equipment received S1F1",
            "equipment sent S1F2",
            "host received S1F2",
        }


PROGRAM = """
import threading
from hsms_engine import Message, blocking

conn = blocking.open_hsms("127.0.0.1", {port}).__enter__()

def wait():
    try:
        conn.receive()
    except Exception as error:
        print(type(error).__name__, error)

threading.Thread(target=wait).start()
conn.send(Message(6, 11))
"""


def run(program: str) -> str:
    """What a program prints that ends by itself, and without a complaint."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE * 3,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_a_program_that_forgets_to_close_ends_and_separates() -> None:
    got: SimpleQueue[list[Primary]] = SimpleQueue()
    with blocking.serve_hsms(lambda conn: got.put(list(conn)), port=0) as server:
        assert run(PROGRAM.format(port=server.port)) == (
            "ClosedError the thread 'hsms_engine' has ended, because the main thread of the "
            "program, or its block, has: all in it is closed\n"
        )
        # The loop over the connection has ended without an error, so a Separate.req has come.
        assert got.get(timeout=PATIENCE) == [Message(6, 11)]


FORKING = """
import os, sys
from hsms_engine import blocking
from hsms_engine.blocking import wait as wait_module
from hsms_engine.blocking.wait import now
from hsms_engine.doors.thread import trio_thread
from hsms_engine.errors import WrongLoopError

def handle(conn):
    for primary in conn:
        pass

if os.fork() == 0:
    # Before there is a thread.
    os._exit(0)
assert os.wait()[1] == 0

with blocking.serve_hsms(handle, port=0) as server:
    with blocking.open_hsms("127.0.0.1", server.port) as conn:
        child = os.fork()
        if child == 0:
            try:
                conn.linktest()
            except WrongLoopError as error:
                print("was forked" in str(error))
            with blocking.serve_hsms(handle, port=0) as mine:
                with blocking.open_hsms("127.0.0.1", mine.port) as own:
                    own.linktest()
                    print(own.is_selected)
            # The exit leaves what belongs to the parent.
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        conn.linktest()
        print(conn.is_selected)
"""


def test_a_forked_process_has_a_thread_of_its_own_and_leaves_the_parents_alone() -> None:
    assert run(FORKING).split() == ["True", "True", "True"]


# The breaker


def test_of_many_threads_one_probes() -> None:
    now = [0.0]
    breaker = blocking.CircuitBreaker(1, 10.0, lambda: now[0])
    with pytest.raises(ZeroDivisionError), breaker.attempt():
        raise ZeroDivisionError
    assert (breaker.state, breaker.failures, breaker.retry_after) == ("open", 1, 10.0)
    now[0] = 10.0

    def attempt(_: int) -> bool:
        try:
            breaker.permit()
        except CircuitOpenError:
            return False
        return True

    with ThreadPoolExecutor(32) as threads:
        assert sum(threads.map(attempt, range(64))) == 1
    breaker.reset()
    breaker.configure(2, 5.0)
    breaker.isolate()
    assert breaker.state == "isolated"
    breaker.release()
    assert breaker.state == "closed"


def test_the_breakers_clock_is_the_monotonic_one_unless_another_is_given() -> None:
    breaker = blocking.CircuitBreaker(1, 10.0)
    breaker.permit().failed()
    assert 0 < breaker.retry_after <= 10.0
