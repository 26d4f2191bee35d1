"""The two programs of a subject: ``listen PORT WORK`` and ``ask PORT PEER WORK``."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Protocol

from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.work import CannotError, Work, read

# Seconds; when the program that started it was killed and could not end it.
_LONGEST_LIFE = 900


class Subject(Protocol):
    """One engine. Both methods run in a process of their own."""

    def listen(self, port: int, work: Work) -> None:
        """Answer on 127.0.0.1 until the process is killed; call ``ready`` when it listens."""
        ...

    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        """Do the work. Raises ``CannotError``."""
        ...


def ready() -> None:
    print("ready", flush=True)


def main(subject: Subject) -> None:
    signal.alarm(_LONGEST_LIFE)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    match sys.argv[1:]:
        case ["listen", port, work]:
            subject.listen(int(port), read(work))
        case ["ask", port, peer, work]:
            try:
                said: object = subject.ask(int(port), read(work), Meter(int(peer)))
            except CannotError as error:
                said = {"cannot": str(error)}
            print(json.dumps(said), flush=True)
            # Some engines keep threads that never stop.
            os._exit(0)
        case words:
            raise SystemExit(f"neither listen nor ask: {words}")
