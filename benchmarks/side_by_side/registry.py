"""The subjects: what each is called, how it is started, and how fast it is about."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.interop.engines import DRIVER, SECS4JS, SECSGEM, Engine

HERE = Path(__file__).parent / "subjects"


@dataclass(frozen=True, slots=True)
class Subject:
    """``program`` is its file in ``subjects``; ``engine`` what has to be installed for it.

    It does the share ``pace`` of the counts: those that are slow would hold the others up.
    """

    name: str
    title: str
    program: str
    pace: float = 1.0
    engine: Engine | None = None

    def command(self) -> list[str]:
        if self.program.endswith(".mjs"):
            return ["node", str(HERE / self.program)]
        return [sys.executable, "-m", f"benchmarks.side_by_side.subjects.{self.program}"]

    def environment(self, compiled: Path) -> Mapping[str, str]:
        """``compiled`` keeps compiled modules, which a process that starts would make again."""
        found = dict(os.environ if self.engine is None else self.engine.environment())
        found.pop("PYTHONDONTWRITEBYTECODE", None)
        return {**found, "PYTHONPYCACHEPREFIX": str(compiled)}


SUBJECTS = {
    each.name: each
    for each in (
        Subject("engine", "this engine (trio)", "engine"),
        Subject("blocking", "its blocking door", "blocking_door"),
        Subject("aio", "its asyncio door", "asyncio_door"),
        Subject("guest", "trio as a guest of asyncio", "guest"),
        Subject("secsgem", SECSGEM.title, "secsgem", 0.1, SECSGEM),
        Subject("secsgem-driver", DRIVER.title, "secsgem_driver", 0.4, DRIVER),
        Subject("secs4js", SECS4JS.title, "secs4js.mjs", 0.5, SECS4JS),
        Subject("floor", "bare trio, whole messages", "floor"),
        Subject("streaming-floor", "bare trio, piece by piece", "streaming_floor"),
        Subject("sockets", "bare blocking sockets", "sockets"),
    )
}
# The guest is there for who asks what the asyncio door might have been.
DEFAULT = tuple(name for name in SUBJECTS if name != "guest")
QUICK = ("engine", "secsgem", "floor")
