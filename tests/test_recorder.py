"""A recorder: what it writes of links and servers, its bounds, and a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import (
    DefectError,
    HsmsConnection,
    HsmsLink,
    Message,
    ReplyTimeoutError,
    aio,
    blocking,
    open_hsms,
    open_link,
    serve_hsms,
)
from hsms_engine.recorder import Recorder, endings
from hsms_engine.recorder import recorder as module
from hsms_engine.recorder.parts import Parts
from hsms_engine.recorder.queue import Queue
from hsms_engine.recording import (
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    LinkRecord,
    LostRecord,
    Record,
    SettingsRecord,
    StepRecord,
    Unread,
    parts_of,
    read,
)
from tests.support.pair import MemoryListener, echo
from tests.test_defects import spoil


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if "recorder" in each.name]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


def records_of(path: Path) -> list[Record]:
    """All records of all parts, every one of which is whole."""
    reader = read(parts_of(path))
    found = list(reader)
    assert reader.cut == []
    records = [each for each in found if not isinstance(each, Unread)]
    assert records == found
    return records


def of(kind: type[Any], path: Path) -> list[Any]:
    return [each for each in records_of(path) if isinstance(each, kind)]


async def run_link(
    recorder: Recorder,
    use: Callable[[Any], Any],
    *,
    handler: Callable[[HsmsConnection], Any] = echo,
    both: bool = False,
    **settings: Any,
) -> None:
    """One link and its server in one loop, the link or both recorded."""
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(lambda task_status: serve_hsms(
            handler, listener=listener, name="line-3", task_status=task_status
        ))  # fmt: skip
        if both:
            recorder.add(server)
        async with open_link(dial=listener.dial, name="tool-7", **settings) as link:
            recorder.add(link)
            await link.wait_selected()
            await use(link)
        await server.aclose()


async def test_a_link_is_recorded_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path)
    assert repr(recorder) == f"<Recorder {path}>"
    assert recorder.path == path

    async def use(link: Any) -> None:
        await link.request(Message(1, 1, wait=True, body=b"\x01\x00"))
        link.configure(t3=20, name="tool-8")

    await run_link(recorder, use)
    recorder.close()
    head, link, *_, gone, end = records_of(path)
    assert isinstance(head, HeadRecord)
    assert head.part == 1
    assert isinstance(link, LinkRecord)
    assert (link.name, link.role, link.server) == ("tool-7", "active", None)
    assert link.settings["t3"] == 45
    assert "connection_active" in link.states
    assert isinstance(gone, GoneRecord)
    assert isinstance(end, EndRecord)
    assert end.why == "closed"
    bodies = [
        (each.sent, each.data[10:], each.length)
        for each in of(FrameRecord, path)
        if each.data[5] == 0
    ]
    assert bodies == [(True, b"\x01\x00", 16), (False, b"\x01\x00", 16)]
    assert of(SettingsRecord, path)[0].changed == {"t3": 20, "name": "tool-8"}
    events = [each.event for each in of(EventRecord, path)]
    assert events[-1] == "Closed"
    assert "Selected" in events
    steps = of(StepRecord, path)
    assert any("t6" in step.timers for step in steps)
    assert steps[-1].timers == {}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert recorder.is_over


async def test_links_and_servers_share_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path)

    async def use(link: Any) -> None:
        await link.request(Message(1, 1, wait=True))

    await run_link(recorder, use, both=True)
    recorder.close()
    links = {each.link: each for each in of(LinkRecord, path)}
    assert sorted((each.role, each.server) for each in links.values()) == [
        ("active", None),
        ("passive", "line-3"),
    ]
    assert {each.link for each in of(GoneRecord, path)} == {*links}
    for link in links:
        frames = [each for each in of(FrameRecord, path) if each.link == link]
        assert {each.sent for each in frames} == {True, False}
        assert any(each.seconds is not None for each in frames)


@pytest.mark.usefixtures("autojump_clock")
async def test_a_request_that_failed_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path)

    async def silent(_: HsmsConnection) -> None:
        await trio.sleep_forever()

    async def use(link: Any) -> None:
        with pytest.raises(ReplyTimeoutError):
            await link.request(Message(1, 1, wait=True))

    await run_link(recorder, use, handler=silent, t3=1)
    recorder.close()
    (error,) = of(ErrorRecord, path)
    assert error.error == "ReplyTimeoutError"
    assert "T3" in error.text


async def test_bodies_are_recorded_as_the_mask_has_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"

    def mask(message: Message) -> Any:
        match message.function:
            case 1:
                return b"masked"
            case 3:
                return None
            case 5:
                return message.body
            case 7:
                return "text"
            case 9:
                raise ZeroDivisionError
            case _:
                return None if message.body else b""

    recorder = Recorder(path, mask=mask)

    async def use(link: Any) -> None:
        for function in (1, 3, 5, 7, 9, 11):
            await link.send(Message(1, function, body=bytes(function - 1) * 2))
        await link.linktest()

    caplog.set_level(logging.ERROR, "hsms_engine.link")
    await run_link(recorder, use)
    recorder.close()
    found = [
        (each.data[3], each.data[10:], each.body)
        for each in of(FrameRecord, path)
        if each.data[5] == 0
    ]
    assert found == [
        (1, b"masked", "masked"),
        (3, b"", "left out"),
        (5, bytes(8), None),
        (7, b"", "left out"),
        (9, b"", "left out"),
        (11, b"", "left out"),
    ]
    told = [each for each in caplog.records if "mask" in each.getMessage()]
    assert len(told) == 1
    assert "it returned str, not bytes or None" in told[0].getMessage()


async def test_a_long_body_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path)
    bodies = [bytes([number]) * length for number, length in enumerate((4_096, 4_097, 200_000))]

    async def use(link: Any) -> None:
        for body in bodies:
            await link.send(Message(1, 1, body=body))

    await run_link(recorder, use)
    recorder.close()
    assert [each.data[10:] for each in of(FrameRecord, path) if each.data[5] == 0] == bodies


async def test_a_body_that_the_engine_has_not_kept_is_told(tmp_path: Path) -> None:
    from tests.support.raw_peer import data

    path = tmp_path / "a.jsonl"
    recorder = Recorder(path)
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(lambda task_status: serve_hsms(
            echo, listener=listener, task_status=task_status
        ))  # fmt: skip
        recorder.add(server)
        async with await listener.dial() as stream:
            message = data(1, 1, 7, body=bytes(100), wait=True)
            await stream.send_all(message[:50])
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(message[50:])
            await stream.receive_some(1)
        await server.aclose()
    recorder.close()
    first = of(FrameRecord, path)[0]
    assert (first.sent, first.body, first.length, len(first.data)) == (False, "not kept", 114, 10)
    assert first.passed_over == "data while not selected"


async def test_full_parts_get_numbers_and_the_oldest_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path, part_bytes=65_536, parts=3)

    async def use(link: Any) -> None:
        for _ in range(20):
            await link.send(Message(1, 1, body=bytes(10_000)))

    await run_link(recorder, use)
    recorder.close()
    parts = parts_of(path)
    assert len(parts) == 3
    assert parts[-1] == path
    for each in parts:
        assert each.stat().st_size <= 65_536
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
        # Each can be read alone.
        first, second, *_, last = read([each])
        assert isinstance(first, HeadRecord)
        assert first.recording == recorder._id
        assert isinstance(second, LinkRecord)
        assert isinstance(last, EndRecord)
    heads = of(HeadRecord, path)
    assert [each.part for each in heads] == [*range(heads[0].part, heads[0].part + 3)]
    assert heads[0].part > 1
    assert [each.why for each in of(EndRecord, path)] == ["next part", "next part", "closed"]


async def test_a_part_that_is_too_old_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path, part_seconds=60)
    times = iter(range(0, 10_000_000, 1_000))
    monkeypatch.setattr(module, "time", lambda: float(next(times)))

    async def use(link: Any) -> None:
        await link.linktest()

    await run_link(recorder, use)
    recorder.close()
    assert len(parts_of(path)) > 1
    assert len(records_of(path)) > 10


async def test_an_earlier_recording_is_kept_as_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    async def use(link: Any) -> None:
        await link.linktest()

    for _ in range(3):
        recorder = Recorder(path, parts=2)
        await run_link(recorder, use)
        recorder.close()
    assert [each.name for each in parts_of(path)] == ["a.jsonl.2", "a.jsonl"]


def a_file(path: Path) -> None:
    path.write_text("[link]\n", encoding="utf-8")


def a_folder(path: Path) -> None:
    path.mkdir()


def no_folder(path: Path) -> None:
    path.parent.rmdir()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (a_file, "it is there and is no recording; it is left as it is"),
        (a_folder, "it is no regular file"),
        (no_folder, "No such file or directory"),
    ],
)
async def test_a_file_that_cannot_be_written_is_one_warning_and_no_more(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    why: str,
) -> None:
    path = tmp_path / "sub" / "a.jsonl"
    path.parent.mkdir()
    spoil(path)
    recorder = Recorder(path)

    async def use(link: Any) -> None:
        thread = recorder._thread
        if thread is not None:
            await trio.to_thread.run_sync(thread.join)
        assert recorder.is_over
        # Nothing is followed any more.
        await link.request(Message(1, 1, wait=True))
        await link.request(Message(1, 1, wait=True))
        assert link._driver.watchers == []
        link.configure(t3=20)

    await run_link(recorder, use)
    warnings = [each.getMessage() for each in caplog.records if "recording" in each.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"the recording into {path} is over, and its links go on: ")
    assert why in warnings[0]
    if spoil is a_file:
        assert path.read_text(encoding="utf-8") == "[link]\n"


async def test_other_files_with_numbers_are_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    other = tmp_path / "a.jsonl.1"
    other.write_bytes(b"mine")
    (tmp_path / "a.jsonl.2").mkdir()
    (tmp_path / "a.jsonl.x").write_bytes(b"mine")

    async def use(link: Any) -> None:
        await link.linktest()

    for _ in range(3):
        recorder = Recorder(path, parts=1)
        await run_link(recorder, use)
        recorder.close()
    assert other.read_bytes() == b"mine"
    assert [each.name for each in parts_of(path)] == ["a.jsonl.1", "a.jsonl.2", "a.jsonl"]
    assert (tmp_path / "a.jsonl.x").exists()


async def test_a_full_disk_ends_the_recording_at_a_whole_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path)
    write = os.write
    left = [6_000]

    def write_some(file: int, data: bytes) -> int:
        count = min(len(data), left[0], 100)
        if not count:
            # What was cut has made room for the end.
            left[0] = 1_000
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= count
        return write(file, data[:count])

    monkeypatch.setattr(os, "write", write_some)

    async def use(link: Any) -> None:
        for _ in range(100):
            await link.request(Message(1, 1, wait=True))
        thread = recorder._thread
        assert thread is not None
        await trio.to_thread.run_sync(thread.join)
        await link.request(Message(1, 1, wait=True))

    await run_link(recorder, use)
    end = records_of(path)[-1]
    assert isinstance(end, EndRecord)
    assert end.why == "no room"
    assert "No space left on device" in caplog.text


async def test_a_file_that_was_deleted_ends_the_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path)

    async def use(link: Any) -> None:
        thread = recorder._thread
        assert thread is not None
        while not path.exists():
            await trio.lowlevel.checkpoint()
        path.unlink()
        while not recorder.is_over:
            await link.linktest()
        await trio.to_thread.run_sync(thread.join)

    await run_link(recorder, use)
    assert "it was deleted or moved" in caplog.text


def test_a_queue_that_is_full_drops_the_oldest_and_counts_it() -> None:
    queue = Queue(3, 100)
    for number in range(5):
        queue.put(str(number), 10)
    batch = queue.take()
    assert ([item for item, _ in batch.items], batch.lost_count, batch.lost_bytes) == (
        ["2", "3", "4"], 2, 20,
    )  # fmt: skip
    # What is being written takes memory too.
    queue.put("a", 60)
    queue.put("b", 20)
    batch = queue.take()
    assert ([item for item, _ in batch.items], batch.lost_bytes) == (["b"], 60)
    queue.written(50)
    queue.put("c", 101)
    assert queue.take().lost_bytes == 101


async def test_what_was_lost_is_told_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path, queue_size=5)
    may_begin = threading.Event()
    begin = Parts.begin

    def begin_late(parts: Parts) -> None:
        may_begin.wait()
        begin(parts)

    monkeypatch.setattr(Parts, "begin", begin_late)

    async def use(link: Any) -> None:
        for _ in range(20):
            await link.linktest()

    await run_link(recorder, use)
    may_begin.set()
    recorder.close()
    lost = of(LostRecord, path)
    assert len(lost) == 1
    assert lost[0].count > 40
    assert lost[0].size > lost[0].count * 100
    assert len(records_of(path)) == 9


async def test_after_a_loss_the_links_are_told_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path, queue_size=5)

    async def use(link: Any) -> None:
        for _ in range(20):
            await link.linktest()
        recorder.close()

    await run_link(recorder, use)
    records = records_of(path)
    for before, after in pairwise(records):
        if isinstance(before, LostRecord):
            assert isinstance(after, LinkRecord)
            break
    else:
        raise AssertionError("nothing was lost")


async def test_what_is_over_or_closed_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path)
    recorder.close()
    recorder.close()

    async def use(link: Any) -> None:
        recorder.add(link)
        await link.linktest()

    await run_link(recorder, use)
    assert not path.exists()


def test_what_is_no_link_is_refused(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.jsonl")
    with pytest.raises(TypeError, match="7 is no link, connection or server"):
        recorder.add(7)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("part_bytes", 65_535, 65_536),
        ("part_seconds", float("nan"), 1),
        ("parts", 0, 1),
        ("parts", "3", 1),
        ("queue_size", True, 1),
        ("queue_bytes", -1, 1),
    ],
)
def test_a_bound_that_is_none_is_refused(name: str, value: Any, least: int) -> None:
    with pytest.raises(ValueError, match=f"^{name}={value!r} is no number from {least} on$"):
        Recorder("a.jsonl", **{name: value})


FORKS = """
import os, sys, trio
from hsms_engine import open_link
from hsms_engine.recorder import Recorder

async def main():
    recorder = Recorder(sys.argv[1])
    async with open_link("127.0.0.1", 1, linktest_interval=None) as link:
        recorder.add(link)
        child = os.fork()
        if not child:
            assert recorder.is_over
            recorder.close()
            link.configure(t3=20)
            os._exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    # The end of the program writes the rest.

trio.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_process_leaves_the_recording_to_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.split() == [b"3"]
    assert of(SettingsRecord, path) == []
    assert isinstance(records_of(path)[-1], EndRecord)


KILLED = """
import os, signal, sys, trio
from hsms_engine import open_link
from hsms_engine.recorder import Recorder
from hsms_engine.recording import EventRecord, read

async def main():
    recorder = Recorder(sys.argv[1])
    async with open_link("127.0.0.1", 1) as link:
        recorder.add(link)
        while not (os.path.exists(sys.argv[1]) and len(list(read([sys.argv[1]]))) > 3):
            await trio.lowlevel.checkpoint()
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGKILL")
def test_a_killed_program_leaves_what_it_has_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    reader = read([path])
    records = list(reader)
    assert not any(isinstance(each, Unread) for each in records)
    assert any(isinstance(each, LinkRecord) for each in records)
    assert reader.cut == [path]


def test_the_end_of_the_program_closes_all(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.jsonl")
    endings._close_all()
    assert recorder.is_over
    other = Recorder(tmp_path / "a.jsonl")
    endings._leave_all()
    assert other.is_over


async def test_a_link_whose_last_line_was_lost_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path, queue_size=1)
    may_begin = threading.Event()
    begin = Parts.begin

    def begin_late(parts: Parts) -> None:
        may_begin.wait()
        begin(parts)

    monkeypatch.setattr(Parts, "begin", begin_late)

    async def use(link: Any) -> None:
        await link.linktest()

    await run_link(recorder, use)
    (tap,) = recorder._taps.values()
    assert tap.is_ended
    # The one line that is kept is dropped for this.
    recorder._queue.put("", 0)
    forgotten = threading.Event()
    forget = recorder._forget_ended

    def forget_ended() -> None:
        forget()
        forgotten.set()

    monkeypatch.setattr(recorder, "_forget_ended", forget_ended)
    may_begin.set()
    await trio.to_thread.run_sync(forgotten.wait)
    assert recorder._taps == {}
    recorder.close()


# ``record=``


async def test_a_link_a_connection_and_a_server_record_themselves(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(lambda task_status: serve_hsms(
            echo, "127.0.0.1", 0, record=tmp_path / "server", task_status=task_status
        ))  # fmt: skip
        async with open_hsms("127.0.0.1", server.port, record=tmp_path / "connection") as conn:
            await conn.request(Message(1, 1, wait=True))
        assert threads() == ["hsms_engine recorder server"]
        async with open_link("127.0.0.1", server.port, record=str(tmp_path / "link")) as link:
            await link.wait_selected()
            await link.request(Message(1, 3, wait=True))
        await server.aclose()
    assert threads() == []
    for name, links, functions in (
        ("connection", 1, {1, 2}),
        ("link", 1, {3, 4}),
        ("server", 2, {1, 2, 3, 4}),
    ):
        path = tmp_path / name
        assert len(of(LinkRecord, path)) == len(of(GoneRecord, path)) == links
        frames = [each for each in of(FrameRecord, path) if each.data[5] == 0]
        assert {each.data[3] for each in frames} == functions
        assert records_of(path)[-1].kind == "end"


async def test_a_recorder_that_is_shared_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a")
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(lambda task_status: serve_hsms(
            echo, listener=listener, record=recorder, task_status=task_status
        ))  # fmt: skip
        for _ in range(2):
            async with open_link(dial=listener.dial, record=recorder) as link:
                await link.wait_selected()
        await server.aclose()
    assert not recorder.is_over
    recorder.close()
    assert len(of(LinkRecord, tmp_path / "a")) == 4


async def test_the_end_of_a_cancelled_block_is_recorded(tmp_path: Path) -> None:
    listener = MemoryListener()
    with trio.CancelScope() as scope:
        async with open_link(dial=listener.dial, record=tmp_path / "a"):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert of(GoneRecord, tmp_path / "a") != []


async def test_a_link_that_is_closed_is_not_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a")
    async with open_link(dial=MemoryListener().dial) as link:
        await link.aclose()
        recorder.add(link)
    assert threads() == []


def test_the_door_for_threads_records(tmp_path: Path) -> None:
    def serve(connection: blocking.HsmsConnection) -> None:
        for primary in connection:
            connection.reply(primary, Message(1, 2))

    with (
        blocking.serve_hsms(serve, "127.0.0.1", 0, record=tmp_path / "server") as server,
        blocking.open_link("127.0.0.1", server.port, record=tmp_path / "link") as link,
    ):
        link.wait_selected()
        link.request(Message(1, 1, wait=True))
        link.close()
        with blocking.open_hsms("127.0.0.1", server.port, record=tmp_path / "conn") as conn:
            conn.request(Message(1, 1, wait=True))
    for name in ("server", "link", "conn"):
        assert {each.data[3] for each in of(FrameRecord, tmp_path / name)} >= {1, 2}


def test_the_door_for_asyncio_records(tmp_path: Path) -> None:
    async def serve(connection: aio.HsmsConnection) -> None:
        async for primary in connection:
            await connection.reply(primary, Message(1, 2))

    async def main() -> None:
        async with (
            aio.serve_hsms(serve, "127.0.0.1", 0, record=tmp_path / "server") as server,
            aio.open_link("127.0.0.1", server.port, record=tmp_path / "link") as link,
        ):
            await link.wait_selected()
            await link.request(Message(1, 1, wait=True))
            await link.aclose()
            async with aio.open_hsms("127.0.0.1", server.port, record=tmp_path / "conn") as conn:
                await conn.request(Message(1, 1, wait=True))

    asyncio.run(main())
    for name in ("server", "link", "conn"):
        assert {each.data[3] for each in of(FrameRecord, tmp_path / name)} >= {1, 2}


async def test_a_link_that_closes_itself_because_of_a_defect_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    recorder = Recorder(path)

    async def answer_one(connection: HsmsConnection) -> None:
        await connection.receive()

    async def use(link: HsmsLink) -> None:
        spoil(link._driver.engine, "separate_req_received")
        await link.send(Message(1, 1))
        with pytest.raises(DefectError):
            await link.receive()

    await run_link(recorder, use, handler=answer_one)
    recorder.close()
    (gone,) = of(GoneRecord, path)
    closed = next(each for each in of(EventRecord, path) if each.event == "Closed")
    assert "defect of hsms_engine" in closed.fields["error"]["text"]
    assert gone.at == closed.at


async def test_many_short_lines_are_all_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    recorder = Recorder(path)
    monkeypatch.setattr(module, "_LINES", 2)

    async def use(link: Any) -> None:
        for _ in range(20):
            await link.linktest()

    await run_link(recorder, use)
    recorder.close()
    assert len(of(FrameRecord, path)) == 20 * 2 + 3
