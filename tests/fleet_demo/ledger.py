"""What the tools and the processes have told so far, and what follows from it: pure.

All times are in seconds of ``time.monotonic``, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, TextIO

import trio

FAULTS = ("double", "stale", "late")
"""What a tool counts that must never be."""


@dataclass(frozen=True, slots=True)
class Over:
    """A session that has ended, by what its tool has told."""

    at: float
    tool: str
    owner: str
    why: str


@dataclass(slots=True)
class _Session:
    since: float
    port: int


@dataclass(slots=True)
class Ledger:
    """All that was told. ``wall_ahead``: what the time of day is more than the monotonic time."""

    wall_ahead: float = 0.0
    log: TextIO | None = None
    """Gets each line, with who has told it."""
    faults: Counter[str] = field(default_factory=Counter)
    over: list[Over] = field(default_factory=list)
    # By tool: since when the lease of its owner would be over, as that one has said, and who said.
    doubts: dict[tuple[str, str], float] = field(default_factory=dict)
    # How long tools were without a session, of each time that one began anew.
    gaps: list[float] = field(default_factory=list)
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _ended: dict[str, float] = field(default_factory=dict)
    # By tool and port of the dialling end, which process it is.
    _owners: dict[tuple[str, int], str] = field(default_factory=dict)
    _news: trio.Event = field(default_factory=trio.Event)

    # What is told

    def tool_told(self, line: dict[str, Any]) -> None:
        """A line of the tools."""
        self.keep("tools", line)
        tool, at = line.get("tool", ""), line["at"]
        match line["what"]:
            case "selected":
                self._sessions[tool] = _Session(at, line["port"])
                if (ended := self._ended.pop(tool, None)) is not None:
                    self.gaps.append(at - ended)
            case "over":
                session = self._sessions.pop(tool)
                owner = self._owner(tool, session)
                self.over.append(Over(at, tool, owner, line["why"]))
                self._ended[tool] = at
            case fault if fault in FAULTS:
                self.faults[fault] += 1
            case _:
                pass
        self._tell()

    def owner_told(self, owner: str, line: dict[str, Any], wall: float) -> None:
        """A line of a process; ``wall`` is its time of day."""
        self.keep(owner, line)
        key = owner, line.get("tool", "")
        match line["event"]:
            case "selecting":
                port = int(line["local"].rpartition(":")[2])
                self._owners[line["tool"], port] = owner
            case "doubtful":
                self.doubts[key] = wall - self.wall_ahead + line["ends_in"]
            case "owning":
                self.doubts.pop(key, None)
            case _:
                pass
        self._tell()

    def keep(self, who: str, line: dict[str, Any]) -> None:
        """Write a line to the log."""
        if self.log is not None:
            print(f"{time.monotonic():.3f} {who} {json.dumps(line)}", file=self.log, flush=True)

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    # What follows

    def shares(self) -> Counter[str]:
        """How many tools each process has selected now, as the tools see it."""
        found = (self._owner(tool, each) for tool, each in self._sessions.items())
        return Counter(each for each in found if each)

    def _owner(self, tool: str, session: _Session) -> str:
        return self._owners.get((tool, session.port), "")

    def owned_since(self) -> float:
        """When the latest of the sessions began that are there now."""
        return max(each.since for each in self._sessions.values())

    def early(self, since: float, slack: float) -> list[Over]:
        """The sessions that ended after ``since``, before the deadline of their owner's lease."""
        return [
            each
            for each in self.over
            if each.at >= since
            # Who was in no doubt had no reason to end it.
            and each.at + slack < self.doubts.get((each.owner, each.tool), inf)
        ]

    def clear_gaps(self) -> None:
        """Measure the times without a session anew."""
        self.gaps.clear()
        self._ended.clear()

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait until this is so; asked again after each line."""
        while not is_true():
            await self._news.wait()
