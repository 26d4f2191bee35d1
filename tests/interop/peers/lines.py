"""The lines of ``tests.interop.peers``, for engines that are written in Python."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Protocol

# Seconds that an end may take to see what it waits for, before that is told as a failure.
PATIENCE = 60.0


class End(Protocol):
    """One end of the engine. Each method is a command and may block; what it raises is told."""

    def start(self, mode: str, port: str) -> None: ...
    def selected(self) -> None: ...
    def gone(self) -> None: ...
    def ask(self, stream: str, function: str, body: str) -> str: ...
    def linktest(self) -> None: ...
    def select(self) -> None: ...
    def deselect(self) -> None: ...
    def separate(self) -> None: ...


def to_bytes(body: str) -> bytes:
    """The bytes of a body on a line."""
    return b"" if body == "-" else bytes.fromhex(body)


def to_words(stream: int, function: int, body: bytes) -> str:
    """The words of a reply."""
    return f"{stream} {function} {body.hex() or '-'}"


def until(condition: Callable[[], bool], why: str) -> None:
    """Wait until it holds. Raises ``TimeoutError`` that says ``why``."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(why)
        time.sleep(0.01)


def serve(end: End) -> None:
    """Obey the lines of standard input until there are no more."""
    write = threading.Lock()

    def obey(number: str, name: str, words: list[str]) -> None:
        try:
            said = f"ok {getattr(end, name)(*words) or ''}"
        except Exception as error:  # noqa: BLE001  # whatever the engine raises is the answer
            traceback.print_exc()
            said = f"failed {type(error).__name__}: {error}".replace("\n", " ")
        with write:
            print(number, said, flush=True)

    for line in sys.stdin:
        number, name, *words = line.split()
        threading.Thread(target=obey, args=(number, name, words), daemon=True).start()
    # Some engines keep threads that never stop.
    os._exit(0)
