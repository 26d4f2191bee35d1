"""``serve_health`` on a Unix socket: whose it is, what was there before, and who may ask."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import sys
from pathlib import Path

import pytest
import trio

from hsms_engine.driver import tcp
from hsms_engine.driver.tcp import listen_unix
from hsms_engine.health import ask_health
from hsms_engine.health import place as places
from tests.support.leaks import leak_check
from tests.support.network import patience
from tests.test_health_served import (
    ANOTHER,
    ANSWER,
    LISTENS,
    LONG,
    NO_FILE,
    NO_FOLDER,
    NO_RIGHT,
    NO_SOCKET,
    NOBODY,
    TOO_LONG,
    Said,
    error_of,
    error_of_serving,
    told,
)

__all__ = ["leak_check", "patience"]

if sys.platform == "win32":
    pytest.skip("Python has no Unix sockets there", allow_module_level=True)


def place(folder: Path) -> str:
    return str(folder / "health")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_socket_is_for_its_user_only_and_goes_with_its_program(tmp_path: Path) -> None:
    path = place(tmp_path)
    async with told([Said()], path) as server:
        assert server.where == path
        mode = (await trio.Path(path).stat()).st_mode
        assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)
        assert (await ask_health(path)).is_ready
    assert names_in(tmp_path) == []
    assert await error_of(path) == NO_FILE.format(path)


async def test_nobody_can_connect_to_a_socket_before_it_is_for_its_user_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tried = place(tmp_path), []

    def chmod(file: Path, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as early, pytest.raises(ConnectionRefusedError):
            early.connect(str(file))
        tried.append(mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    (await listen_unix(path, mode=0o600)).close()
    assert tried == [0o600]


async def test_a_socket_that_a_dead_program_has_left_is_taken_over(tmp_path: Path) -> None:
    path = place(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    assert await error_of(path) == NOBODY.format(path)
    async with told([Said()], path):
        assert (await ask_health(path)).is_ready


async def test_one_that_was_never_listened_to_is_taken_over_too(tmp_path: Path) -> None:
    path = place(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        async with told([Said()], path):
            assert (await ask_health(path)).is_ready


async def test_a_socket_that_somebody_listens_to_is_left_and_it_says_who(tmp_path: Path) -> None:
    path = place(tmp_path)
    async with told([Said()], path):
        found = await error_of_serving(path)
        if sys.platform == "linux":
            assert found == LISTENS.format(path, os.getpid(), os.getuid())
        assert (await ask_health(path)).is_ready


async def test_where_the_system_does_not_say_who_it_is_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
    path = place(tmp_path)
    async with told([Said()], path):
        assert (await error_of_serving(path)).endswith(ANOTHER)


async def test_one_whose_queue_is_full_is_left_too(tmp_path: Path) -> None:
    path = place(tmp_path)
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(path)
        with pytest.raises(OSError, match=r"listens there$") as caught:
            await listen_unix(path)
        if sys.platform == "linux":
            assert caught.value.strerror == ANOTHER
        for each in waiting:
            each.close()
    assert stat.S_ISSOCK((await trio.Path(path).stat()).st_mode)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
@pytest.mark.usefixtures("autojump_clock")
async def test_who_asks_one_whose_queue_is_full_waits_for_its_turn(tmp_path: Path) -> None:
    path = place(tmp_path)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(path)
        busy.listen(0)
        first.connect(path)
        with trio.move_on_after(5) as waits:
            await ask_health(path)
        assert waits.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_health, path)
            await trio.sleep(1)
            busy.accept()[0].close()
            await trio.sleep(1)
            with busy.accept()[0] as second:
                second.sendall(json.dumps(ANSWER).encode())


@pytest.mark.parametrize("what", ["file", "folder", "link to nowhere", "link to a socket"])
async def test_what_is_no_socket_is_left(what: str, tmp_path: Path) -> None:
    path = tmp_path / "health"
    match what:
        case "file":
            await trio.Path(path).write_text("mine", encoding="utf-8")
        case "folder":
            await trio.Path(path).mkdir()
        case "link to nowhere":
            await trio.Path(path).symlink_to(tmp_path / "nothing")
        case _:
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(tmp_path / "other"))
            await trio.Path(path).symlink_to(tmp_path / "other")
    before = names_in(tmp_path)
    assert await error_of_serving(path) == NO_SOCKET.format(path)
    assert names_in(tmp_path) == before


async def test_a_dead_socket_that_is_removed_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    lstat = Path.lstat

    def removed(file: Path) -> os.stat_result:
        monkeypatch.undo()
        file.unlink()
        return lstat(file)

    monkeypatch.setattr(Path, "lstat", removed)
    (await listen_unix(path)).close()


async def test_the_socket_of_a_successor_stays_when_a_program_ends(tmp_path: Path) -> None:
    path = place(tmp_path)
    listener = await listen_unix(path)
    await trio.Path(path).unlink()
    async with told([Said()], path):
        listener.close()
        assert (await ask_health(path)).is_ready


async def test_a_program_that_ends_removes_its_socket_while_nobody_can_take_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, removed, remove = place(tmp_path), [], Path.unlink

    def unlink(file: Path, *, missing_ok: bool = False) -> None:
        with socket.socket(socket.AF_UNIX) as probe:
            # Nobody is refused, as at the socket of a dead program.
            probe.connect(str(file))
        removed.append(str(file))
        remove(file, missing_ok=missing_ok)

    listener = await listen_unix(path)
    monkeypatch.setattr(Path, "unlink", unlink)
    listener.close()
    assert (removed, names_in(tmp_path)) == ([path], [])


async def test_the_socket_of_a_successor_stays_when_it_is_closed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file system gives the number of a file that is gone to the next one.
    monkeypatch.setattr(tcp, "_file_of", lambda _: (1, 1))
    path = place(tmp_path)
    first = await listen_unix(path)
    first.close()
    second = await listen_unix(path)
    first.close()
    assert names_in(tmp_path) == ["health"]
    second.close()
    assert names_in(tmp_path) == []


async def test_a_path_that_is_too_long_is_refused_with_its_length(tmp_path: Path) -> None:
    path = f"{tmp_path}/".ljust(200, "h")
    assert await error_of_serving(path) == TOO_LONG.format("tell health on", path)
    assert await error_of(path) == TOO_LONG.format("ask", path)
    longest = f"{tmp_path}/".ljust(LONG, "h")
    async with told([Said()], longest):
        assert (await ask_health(longest)).is_ready
    # Bytes, not characters.
    wide = f"{tmp_path}/".ljust(LONG, "\u6f22")
    assert "bytes, and that of a Unix socket" in await error_of_serving(wide)


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "no" / "health")
    assert await error_of_serving(path) == NO_FOLDER.format(path)
    await trio.Path(tmp_path / "no").write_text("a file", encoding="utf-8")
    assert "Not a directory" in await error_of_serving(path)
    assert "Not a directory" in await error_of(path)


async def test_who_may_not_ask_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may, and tests may run as root."""

    async def refused(_: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = place(tmp_path)
    monkeypatch.setattr(places, "connect_unix", refused)
    assert await error_of(path) == NO_RIGHT.format(path)
