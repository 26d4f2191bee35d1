"""What the programs of this package share: signals, output, exit codes.

* **A signal stops a program in steps**: SIGINT, SIGTERM, SIGHUP and on Windows Ctrl-Break, except
  those that it was started to ignore. The first one cancels the innermost part that the program has
  marked with ``until_stopped``, and the program says goodbye. Each further one cancels the part
  around it. When the whole program is cancelled, one more signal has the system's own effect.
* **A line that cannot be written does not raise**: it is often written deep in a handler. It stops
  the program as a signal does, and ``run`` reports it.
* **Whatever is written, the exit code is right**: what a broken stream still holds is dropped,
  because Python writes it once more at the end and fails again.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import trio

from hsms_engine.logs import escaped

# By name: each system has some of them.
_NAMES = frozenset({"SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"})
_SIGNALS = tuple(each for each in signal.Signals if each.name in _NAMES)

# What writing says when the reader has closed the pipe.
if sys.platform == "win32":
    _PIPE_CLOSED = (errno.EPIPE, errno.EINVAL)
else:
    _PIPE_CLOSED = (errno.EPIPE,)


class OutputError(Exception):
    """Standard output cannot be written. ``str`` says why, for the user."""


class _InterruptedError(Exception):
    """A signal came while a line was being written and nobody took it."""


class Process:
    """The process of a program, as its main function sees it."""

    def __init__(self) -> None:
        # What a signal cancels, the outermost first.
        self._scopes: list[trio.CancelScope] = []
        self._before: dict[signal.Signals, object] = {}
        # 0 until a signal has come.
        self._number = 0
        self._failure: OSError | None = None
        # Whether a signal has come while a cancelled part was still being left.
        self._is_hurried = False
        self._is_output_over = False
        self._is_writing = False
        # What is done at a hangup in place of stopping.
        self._at_hangup: Callable[[], object] | None = None

    @property
    def exit_code(self) -> int:
        """0, or 128 and the number of the first signal."""
        return 128 + self._number if self._number else 0

    # Stopping

    @contextmanager
    def until_stopped(self) -> Iterator[trio.CancelScope]:
        """Run the block until a signal comes, or the output cannot be written; then cancel it."""
        scope = trio.CancelScope()
        self._scopes.append(scope)
        try:
            with scope:
                yield scope
        finally:
            self._scopes.remove(scope)
            if self._is_hurried:
                self._is_hurried = False
                self._stop()

    @contextmanager
    def hearing_hangup(self, heard: Callable[[], object]) -> Iterator[None]:
        """While the block runs, SIGHUP stops nothing, and ``heard`` is called.

        Where there is no such signal, or it is ignored, nothing happens.
        """
        self._at_hangup = heard
        try:
            yield
        finally:
            self._at_hangup = None

    def _stop(self) -> None:
        left = [scope for scope in self._scopes if not scope.cancel_called]
        if len(left) < len(self._scopes) and not self._is_hurried:
            # The part inside must be left first: what follows it begins to say goodbye at once, and
            # then may be cancelled.
            self._is_hurried = True
            return
        if len(left) == 1:
            # There is nothing more to do for one more signal.
            self._stop_hearing()
        for scope in left[-1:]:
            scope.cancel()

    # Signals

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        token = trio.lowlevel.current_trio_token()

        def hear(number: int, _frame: object) -> None:
            token.run_sync_soon(self._take, number)
            if self._is_hangup(number):
                return
            if self._is_writing and _is_full(sys.stdout):
                # The loop waits for the reader of the output, and would not come to ``_take``.
                self._is_writing = False
                raise _InterruptedError

        try:
            # Not one that is ignored, nor one that is not Python's to handle.
            for each in _SIGNALS:
                if signal.getsignal(each) not in (signal.SIG_IGN, None):
                    self._before[each] = signal.signal(each, hear)
        except ValueError:
            # Python has them heard in the main thread only, so here there is nothing to hear.
            pass
        try:
            yield
        finally:
            self._stop_hearing()

    def _stop_hearing(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]  # as ``signal`` gave it

    def _is_hangup(self, number: int) -> bool:
        """Whether this signal stops nothing now."""
        name = signal.Signals(number).name
        return self._at_hangup is not None and name == "SIGHUP"

    def _take(self, number: int) -> None:
        if self._at_hangup is not None and self._is_hangup(number):
            self._at_hangup()
            return
        self._number = self._number or number
        self._stop()

    # Output

    def line(self, text: str) -> None:
        """Write one line at once. What the output's encoding lacks is written as an escape."""
        if self._is_output_over:
            return
        try:
            self._is_writing = True
            self._failure = _write(sys.stdout, text)
            self._is_writing = False
        except _InterruptedError:
            self._end_output()
        else:
            if self._failure is not None:
                self._end_output()
                # Not in here: a line may be written in the middle of a step of an engine.
                trio.lowlevel.current_trio_token().run_sync_soon(self._stop)

    def json(self, told: dict[str, object]) -> None:
        """Write one JSON object on a line, as ``line`` does."""
        self.line(json.dumps(told))

    def _end_output(self) -> None:
        self._is_output_over = True
        drop(sys.stdout)

    # Running

    async def run(self, main: Callable[[Process], Awaitable[int]]) -> int:
        """Run ``main``, as the function ``run`` says."""
        code = 0
        with self.until_stopped() as scope, self._hearing():
            code = await main(self)
        match self._failure:
            case None:
                return self.exit_code if scope.cancelled_caught else code
            case OSError(errno=number) if number in _PIPE_CLOSED:
                # There is nobody to tell.
                return 1
            case error:
                raise OutputError(f"cannot write the output: {error.strerror}") from error


def run(main: Callable[[Process], Awaitable[int]]) -> int:
    """Run a program with trio, and return its exit code.

    That is what ``main`` returns; 128 and the number of the signal when that cut ``main`` short; 1
    when the reader of the output has closed it. Raises ``OutputError``, and what ``main`` raises.
    """
    require_output()
    return trio.run(Process().run, main)


def require_output() -> None:
    """Raise ``OutputError`` when standard output was closed before the program began."""
    if sys.stdout is None:
        raise OutputError("cannot write the output: standard output is closed")


def complain(text: str) -> None:
    """Write one line to standard error, if it can be written."""
    if sys.stderr is not None and _write(sys.stderr, text) is not None:
        drop(sys.stderr)


def fail(program: str, why: object, code: int, *, as_json: bool, on_stderr: bool = False) -> int:
    """Say in one line why a program has failed, and return ``code``, its exit code.

    People read it on standard error. With ``as_json`` it is an object on standard output, the last
    one there: who reads objects need not read two streams, whose order nobody knows. When standard
    output cannot be written, or ``on_stderr`` says that it is broken, it is on standard error too.
    """
    # The name of a file may contain a newline, and so may a message of typer.
    text = " ".join(str(why).splitlines())
    if not as_json:
        # What was given, or is in a file, may have what a terminal acts on.
        complain(escaped(f"{program}: {text}"))
        return code
    told = {"event": "error", "program": program, "error": text, "exit_code": code}
    line = json.dumps(told)
    if on_stderr or sys.stdout is None:
        complain(line)
    elif _write(sys.stdout, line) is not None:
        drop(sys.stdout)
        complain(line)
    return code


def drop(stream: TextIO) -> None:
    """Let what a stream still holds, and gets, go nowhere."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _write(stream: TextIO, text: str) -> OSError | None:
    """Write one line, and return the error when that cannot be done."""
    known = text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
    try:
        print(known, file=stream, flush=True)
    except OSError as error:
        return error
    return None


def _is_full(stream: TextIO) -> bool:
    """Whether a stream takes nothing now; false where the system cannot tell (Windows)."""
    try:
        _, ready, _ = select.select([], [stream], [], 0)
    except OSError:
        return False
    return not ready
