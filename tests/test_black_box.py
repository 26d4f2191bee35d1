"""A black box: what it keeps of each link, when it writes, its bounds, and a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from hsms_engine import (
    ConnectionLostError,
    DefectError,
    HsmsLink,
    Settings,
    aio,
    blocking,
    open_link,
)
from hsms_engine.capture import PcapWriter
from hsms_engine.events import BreakerOpened, PeerEnded, Waiting
from hsms_engine.fake import serve_fake
from hsms_engine.monitor.answers import Answers, Source
from hsms_engine.monitor.history import FileHistory
from hsms_engine.recorder import BlackBox, Recorder
from hsms_engine.recorder import black_box as module
from hsms_engine.recorder.black_box import box_for
from hsms_engine.recorder.memory import MEMORY, Memory, Ring
from hsms_engine.recorder.parts import Parts
from hsms_engine.recorder.tap import Now
from hsms_engine.recording import (
    EndRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    LinkRecord,
    LostRecord,
    Record,
    StepRecord,
    Unread,
    read,
)
from statecharts.hsms import CHARTS
from statecharts.nursery import open_bare_nursery
from tests.support.pair import Switchboard, echo, link_end, server_end
from tests.support.raw_peer import RawPeer, data, linktest_req, select_req, select_rsp, separate_req
from tests.support.virtual import virtual_time
from tests.test_defects import spoil

__all__ = ["virtual_time"]

HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert [each.name for each in threading.enumerate() if "black box" in each.name] == []
    assert MEMORY.bytes == 0


def files(folder: Path) -> list[Path]:
    """Those of one link in the order in which they were begun."""
    return sorted(folder.iterdir(), key=begun) if folder.exists() else []


def begun(file: Path) -> tuple[str, int]:
    # The second may have passed between two of them, or not.
    start, _, number = file.stem.partition("Z-")
    return start.removesuffix("Z"), int(number or 1)


def records_of(path: Path) -> list[Record]:
    """All records of a file, which is whole."""
    reader = read([path])
    found = list(reader)
    assert reader.cut == []
    records = [each for each in found if not isinstance(each, Unread)]
    assert records == found
    return records


def of(kind: type[Any], path: Path) -> list[Any]:
    return [each for each in records_of(path) if isinstance(each, kind)]


async def select(board: Switchboard) -> RawPeer:
    peer = await board.peer()
    await peer.select_by_answering()
    return peer


async def lose(board: Switchboard, link: HsmsLink) -> None:
    """Up, one message, and lost."""
    peer = await select(board)
    await link.wait_selected()
    await peer.send(data(1, 1, 7, body=b"\x01\x00"))
    await peer.stream.aclose()
    async for event in link.events():
        if isinstance(event, Waiting):
            return


async def test_a_lost_link_leaves_a_file_which_is_a_whole_recording(tmp_path: Path) -> None:
    folder = tmp_path / "boxes"
    box = BlackBox(folder)
    assert repr(box) == f"<BlackBox {folder}>"
    assert box.folder == folder
    board = Switchboard()
    async with link_end(board, name="../tool 7é", black_box=box) as link:
        await lose(board, link)
        assert files(folder) == []
    # The end of the block waits for it.
    (file,) = files(folder)
    assert re.fullmatch(r"_tool_7_-\d{8}T\d{6}Z\.jsonl", file.name)
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    head, first, *_, gone, end = records_of(file)
    assert isinstance(head, HeadRecord)
    assert isinstance(first, LinkRecord)
    assert (first.name, first.epoch) == ("../tool 7é", 0)
    assert isinstance(gone, GoneRecord)
    assert isinstance(end, EndRecord)
    assert end.why.startswith("the link was lost: tool:5000: ")
    assert [each.data[10:] for each in of(FrameRecord, file) if each.data[5] == 0] == [b"\x01\x00"]
    events = [each.event for each in of(EventRecord, file)]
    # What came after the loss is there too.
    assert events[-2:] == ["Waiting", "Closed"]
    assert (box.files, box.not_written) == (1, 0)
    writer = PcapWriter()
    assert [packet for each in records_of(file) for packet in writer.packets(each)]
    assert writer.frames == 3


async def test_nothing_is_written_when_nothing_has_happened(tmp_path: Path) -> None:
    box = BlackBox(tmp_path / "boxes")
    board = Switchboard()
    async with link_end(board, black_box=box) as link:
        await select(board)
        await link.wait_selected()
    assert (files(box.folder), box.files) == ([], 0)
    # An attempt that fails is no loss of a link.
    async with link_end(Switchboard(), black_box=box, t5=1, connect_timeout=1) as link:
        pass
    assert files(box.folder) == []


async def test_a_breaker_that_opens_leaves_a_file(tmp_path: Path) -> None:
    async def refuse() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("nobody")

    async with open_link(dial=refuse, black_box=tmp_path, breaker_threshold=2, host="tool") as link:
        async for event in link.events():
            if isinstance(event, BreakerOpened):
                break
    (file,) = files(tmp_path)
    assert of(EndRecord, file)[0].why == "the breaker has opened"
    assert [each.event for each in of(EventRecord, file)].count("BreakerOpened") == 1


async def test_a_further_loss_soon_after_is_in_the_same_file(tmp_path: Path) -> None:
    box = BlackBox(tmp_path, after=3_600)
    board = Switchboard()
    async with link_end(board, name="etcher", black_box=box) as link:
        for _ in range(10):
            await lose(board, link)
    (file,) = files(tmp_path)
    (end,) = of(EndRecord, file)
    assert end.why.count("the link was lost") == 8
    assert box.files == 1


async def test_each_later_loss_has_a_file_which_begins_where_the_one_before_ends(
    tmp_path: Path,
) -> None:
    box = BlackBox(tmp_path, after=0)
    board = Switchboard()
    async with link_end(board, name="etcher", black_box=box) as link:
        for number in (1, 2, 3):
            await lose(board, link)
            written(box, number)
    found = [records_of(each) for each in files(tmp_path)]
    assert len(found) == 3
    for before, after in pairwise(found):
        steps = [each for each in before if isinstance(each, StepRecord | LinkRecord)]
        link_record = after[1]
        assert isinstance(link_record, LinkRecord)
        last = steps[-1]
        assert isinstance(last, StepRecord)
        hop = last.hops[-1]
        assert link_record.states[hop.chart].leaves == hop.after
        assert link_record.epoch == last.epoch
        assert after[2].at >= before[-2].at


def written(box: BlackBox, count: int) -> None:
    with box._news:
        assert box._news.wait_for(lambda: box.files + box.not_written >= count, 60)


async def test_only_the_last_seconds_are_kept(tmp_path: Path) -> None:
    box = BlackBox(tmp_path, seconds=60, after=0)
    board = Switchboard()
    async with link_end(board, black_box=box, linktest_interval=86_400) as link:
        peer = await select(board)
        await link.wait_selected()
        for number in range(10):
            await peer.send(data(1, 1, number))
            await trio.sleep(20)
        await peer.stream.aclose()
        async for event in link.events():
            if isinstance(event, Waiting):
                break
    (file,) = files(tmp_path)
    frames = of(FrameRecord, file)
    assert [int.from_bytes(each.data[6:10]) for each in frames] == [7, 8, 9]
    (first,) = of(LinkRecord, file)
    assert first.states["connection_active"].leaves == "communicating"
    assert of(LostRecord, file) == []


async def test_what_had_no_room_in_memory_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MEMORY, "most", 40_000)
    board = Switchboard()
    async with link_end(board, black_box=BlackBox(tmp_path)) as link:
        peer = await select(board)
        await link.wait_selected()
        for number in range(100):
            await peer.send(data(1, 1, number, body=bytes(500)))
            await trio.testing.wait_all_tasks_blocked()
            assert MEMORY.bytes <= 40_000
        await peer.stream.aclose()
        async for event in link.events():
            if isinstance(event, Waiting):
                break
    _, lost, first, *_ = records_of(files(tmp_path)[0])
    assert isinstance(lost, LostRecord)
    assert lost.count > 70
    assert isinstance(first, LinkRecord)
    assert first.states["connection_active"].leaves == "communicating"


async def test_a_server_keeps_each_of_its_connections_and_only_a_loss_costs_a_file(
    tmp_path: Path,
) -> None:
    box = BlackBox(tmp_path)
    async with server_end(echo, name="line-3", max_sessions=9) as (server, listener):
        box.add(server)
        events = server.events()
        scanner = await listener.raw("scanner")
        await scanner.stream.aclose()
        orderly = await listener.raw("orderly")
        await orderly.select()
        await orderly.send(separate_req(9))
        assert await orderly.next_frame() is None
        for name in ("one", "two"):
            peer = await listener.raw(name)
            await peer.select()
            await peer.stream.aclose()
        async for event in events:
            if isinstance(event, PeerEnded) and event.peer == "two":
                break
    box.close()
    found = files(tmp_path)
    assert len(found) == 2
    assert {each.server for file in found for each in of(LinkRecord, file)} == {"line-3"}


def test_the_ends_that_leave_no_file_are_events_of_the_charts() -> None:
    assert {each for chart in CHARTS for each in chart.events} >= module._IN_ORDER - {""}


async def test_a_defect_leaves_a_file(tmp_path: Path) -> None:
    board = Switchboard()
    async with link_end(board, black_box=tmp_path) as link:
        peer = await select(board)
        await link.wait_selected()
        spoil(link._driver.engine, "linktest_req_received")
        await peer.send(linktest_req(5))
        assert [event async for event in link.events()]
        with pytest.raises(DefectError):
            await link.wait_selected()
    (file,) = files(tmp_path)
    assert "defect" in of(EndRecord, file)[0].why


async def test_a_mask_is_for_a_black_box_too(tmp_path: Path) -> None:
    board = Switchboard()
    async with link_end(board, black_box=BlackBox(tmp_path, mask=lambda _: None)) as link:
        await lose(board, link)
    frames = of(FrameRecord, files(tmp_path)[0])
    assert [each.body for each in frames if each.data[5] == 0] == ["left out"]


async def test_a_limit_of_files_per_hour(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    box = BlackBox(tmp_path, after=0, files_per_hour=2)
    board = Switchboard()
    async with link_end(board, name="etcher", black_box=box) as link:
        for number in range(1, 5):
            await lose(board, link)
            written(box, number)
        assert (box.files, box.not_written) == (2, 2)
        (warning,) = [
            each
            for each in caplog.records
            if each.levelno == logging.WARNING and "black box" in each.getMessage()
        ]
        assert "there are 2 files of this hour (files_per_hour)" in warning.getMessage()
        now = 3_600.0
        await lose(board, link)
        written(box, 5)
    ends = [of(EndRecord, each)[0].why for each in files(tmp_path)]
    assert [why for why in ends if why.endswith("; 2 before it have no file")]
    assert len(ends) == 3


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_costs_a_file_and_no_link(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    box = BlackBox(tmp_path, after=0)
    board = Switchboard()
    async with link_end(board, black_box=box) as link:
        with monkeypatch.context() as patch:
            patch.setattr(Parts, "write", full_disk)
            for number in (1, 2):
                await lose(board, link)
                written(box, number)
        await lose(board, link)
        written(box, 3)
    warnings = [each.getMessage() for each in caplog.records if "no black box" in each.getMessage()]
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]
    assert (box.files, box.not_written) == (1, 2)


async def test_a_lost_folder_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    board = Switchboard()
    box = BlackBox(tmp_path / "no" / "folder")
    async with link_end(board, black_box=box) as link:
        await lose(board, link)
    assert (box.files, box.not_written) == (0, 1)
    assert "No such file or directory" in caplog.text


async def test_the_exit_waits_for_a_disk_that_hangs_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(Parts, "write", lambda *_: go.wait(60))
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    board = Switchboard()
    box = BlackBox(tmp_path)
    async with link_end(board, black_box=box) as link:
        await lose(board, link)
    assert box.is_behind
    box.close()
    thread = box._thread
    assert thread is not None
    go.set()
    thread.join(60)


async def test_what_waits_for_a_disk_that_hangs_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    write = Parts.write

    def held(parts: Parts, data: bytes) -> None:
        assert go.wait(60)
        write(parts, data)

    monkeypatch.setattr(Parts, "write", held)
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    box = BlackBox(tmp_path, files_per_hour=3)
    for _ in range(9):
        board = Switchboard()
        async with link_end(board, black_box=box) as link:
            await lose(board, link)
    assert len(box._asking) <= 3
    assert box.not_written >= 5
    go.set()
    monkeypatch.setattr(module, "PATIENCE", 60)
    box.close()
    assert (box.files, box.not_written) == (3, 6)


@pytest.mark.parametrize("kind", [BlackBox, Recorder])
def test_a_name_that_no_system_takes_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="has a null character"):
        kind("a\0b")


async def test_a_closed_box_writes_what_waits_and_keeps_nothing_more(tmp_path: Path) -> None:
    board = Switchboard()
    box = BlackBox(tmp_path, after=3_600)
    async with link_end(board, black_box=box) as link, link_end(Switchboard(), black_box=box):
        await lose(board, link)
        box.close()
        assert len(files(tmp_path)) == 1
        assert MEMORY.bytes == 0
        box.close()
        await lose(board, link)
        assert MEMORY.bytes == 0
    async with link_end(Switchboard(), black_box=box):
        pass
    assert len(files(tmp_path)) == 1


def answer_and_leave(listener: socket.socket) -> None:
    """A tool that is selected, and whose TCP then ends."""
    with listener.accept()[0] as peer:
        system_bytes = int.from_bytes(peer.recv(14)[10:])
        peer.sendall(select_rsp(system_bytes))


def select_and_leave(port: int) -> None:
    """A host that selects, and whose TCP then ends."""
    with socket.create_connection((HOST, port)) as peer:
        peer.sendall(select_req(1))
        assert peer.recv(14)


@pytest.fixture
def tool() -> Iterator[int]:
    """The port of a tool that is lost once."""
    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=answer_and_leave, args=[listener])
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_the_door_for_threads_has_it(tmp_path: Path, tool: int) -> None:
    with blocking.open_link(HOST, tool, black_box=tmp_path, name="threads") as link:
        assert any(isinstance(event, Waiting) for event in link.events())

    def handler(connection: blocking.HsmsConnection) -> None:
        assert list(connection) == []

    with blocking.serve_hsms(handler, HOST, 0, black_box=tmp_path, name="served") as server:
        events = server.events()
        select_and_leave(server.port)
        assert any(isinstance(event, PeerEnded) for event in events)
    assert [each.name.split("-")[0] for each in files(tmp_path)] == ["served", "threads"]


def test_the_door_for_asyncio_has_it(tmp_path: Path, tool: int) -> None:
    async def handler(connection: aio.HsmsConnection) -> None:
        assert [each async for each in connection] == []

    async def main() -> None:
        async with aio.open_hsms(HOST, tool, black_box=tmp_path, name="asyncio") as connection:
            with pytest.raises(ConnectionLostError):
                await connection.receive()
        async with aio.serve_hsms(handler, HOST, 0, black_box=tmp_path, name="served") as server:
            events = server.events()
            await asyncio.to_thread(select_and_leave, server.port)
            async for event in events:
                if isinstance(event, PeerEnded):
                    break

    asyncio.run(main())
    assert [each.name.split("-")[0] for each in files(tmp_path)] == ["asyncio", "served"]


async def test_a_fake_equipment_has_it(tmp_path: Path) -> None:
    ended = trio.Event()

    def told(name: str, _details: object) -> None:
        if name == "ended":
            ended.set()

    async with open_bare_nursery() as nursery:
        serve = partial(serve_fake, host=HOST, black_box=tmp_path, name="fake", report=told)
        equipment = await nursery.start(serve)
        await trio.to_thread.run_sync(select_and_leave, equipment.port)
        await ended.wait()
        await equipment.aclose()
    assert [each.name.split("-")[0] for each in files(tmp_path)] == ["fake"]


def test_links_of_a_folder_share_its_limit(tmp_path: Path) -> None:
    assert box_for(tmp_path) is box_for(str(tmp_path))
    box = BlackBox(tmp_path)
    assert box_for(box) is box


def test_where_the_box_of_a_folder_is_over_there_is_another(tmp_path: Path) -> None:
    # As in a child process.
    box = box_for(tmp_path)
    box.leave()
    other = box_for(tmp_path)
    assert not other.is_over
    assert box_for(tmp_path) is other


@pytest.mark.parametrize(
    "bounds",
    [{"seconds": 0}, {"after": -1}, {"files_per_hour": 0}, {"seconds": float("nan")}],
)
def test_a_bound_that_is_none_is_refused(bounds: Any) -> None:
    with pytest.raises(ValueError, match="is no number from"):
        BlackBox("boxes", **bounds)


# Memory

HERE = Now(0.0, 0.0, 0, "tool", Settings(), cast(Any, None), {})


def test_the_oldest_of_all_links_is_dropped_first_and_counted() -> None:
    memory = Memory(4 * (512 + 100))
    clock = 100.0
    one, two = Ring(lambda: clock, 60), Ring(lambda: clock, 60)
    for number in range(3):
        memory.keep(one, f"one {number}", 100, HERE)
    for number in range(3):
        memory.keep(two, f"two {number}", 100, HERE)
    assert memory.bytes == memory.most
    taken = memory.take(one, 0)
    assert [each.item for each in taken.kept] == ["one 2"]
    assert (taken.before, taken.lost_count, taken.lost_bytes) == (HERE, 2, 200)
    # What is being written counts until it is.
    memory.keep(two, "two 3", 100, HERE)
    assert memory.bytes == memory.most
    memory.written(taken.kept[0])
    assert [each.item for each in memory.take(two, 0).kept] == ["two 1", "two 2", "two 3"]


def test_what_is_longer_than_all_is_dropped_at_once() -> None:
    memory = Memory(1_000)
    ring = Ring(float, 60)
    memory.keep(ring, "long", 2_000, HERE)
    assert memory.bytes == 0
    assert memory.take(ring, -1).lost_count == 1


def test_what_was_dropped_long_ago_is_not_told() -> None:
    memory = Memory(512 + 100)
    now = 0.0
    ring = Ring(lambda: now, 60)
    for _ in range(3):
        memory.keep(ring, "early", 100, HERE)
    now = 100.0
    memory.keep(ring, "old", 100, HERE)
    memory.keep(ring, "late", 100, HERE)
    taken = memory.take(ring, 50.0)
    assert (taken.lost_count, [each.item for each in taken.kept]) == (1, ["late"])


def test_what_is_taken_begins_where_it_is_wanted() -> None:
    memory = Memory(10_000)
    now = 0.0
    ring = Ring(lambda: now, 60)
    for now in (0.0, 10.0, 20.0):
        memory.keep(ring, f"{now:g}", 100, HERE._replace(at=now))
    taken = memory.take(ring, 15.0)
    assert [each.item for each in taken.kept] == ["20"]
    assert taken.before is not None
    assert taken.before.at == 10.0
    assert memory.bytes == 612
    memory.forget(ring)
    memory.leave()
    assert memory.bytes == 0


async def test_a_child_process_leaves_the_box_to_its_parent(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("it has no forks")
    board = Switchboard()
    box = BlackBox(tmp_path, after=3_600)
    async with link_end(board, black_box=box) as link:
        await lose(board, link)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write_end, b"over" if box.is_over and not MEMORY.bytes else b"on")
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222  # it ends at once
        assert os.read(read_end, 10) == b"over"
        os.close(read_end)
        os.close(write_end)
        assert not box.is_over
    assert len(files(tmp_path)) == 1


async def test_the_page_shows_when_and_why_a_link_was_lost(tmp_path: Path) -> None:
    board = Switchboard()
    async with link_end(board, name="tool-7", black_box=tmp_path) as link:
        await lose(board, link)
    history = FileHistory(files(tmp_path))
    history.read_more(1_000)
    assert history.is_read
    assert history.notes == []
    page = Answers([Source("box", "file", history)])

    async def asked(path: str, **query: str) -> Any:
        return await page.get(f"/api/{path}", query)

    (row,) = (await asked("links"))["links"]
    assert (row["name"], row["last_error"]["error"]) == ("tool-7", "ConnectionLostError")
    assert "the peer closed TCP" in row["last_error"]["text"]
    steps = (await asked(f"link/{row['key']}/stretch"))["entries"]
    (lost,) = (each for each in steps if each.get("event") == "tcp_closed")
    then = await asked(f"link/{row['key']}", at=str(lost["wall"]))
    assert (then["row"]["phase"], then["last_step"]["event"]) == ("waiting", "tcp_closed")
    (told,) = (await asked(f"link/{row['key']}/messages", filter="S1F1"))["messages"]
    assert told["sent"] is False
