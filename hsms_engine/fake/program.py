"""Fake equipments as a process: on a signal they separate and stop, or take their file again.

Each port has an equipment of its own, with all tools of the file behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.fake.equipment import FakeEquipment, Report, serve_fake
from hsms_engine.fake.file import ToolFile, default_tool, read_tool_file
from hsms_engine.fake.model import Clock
from hsms_engine.fake.plan import ToolPlan, Unknown
from hsms_engine.process import Process
from hsms_engine.settings import Settings
from hsms_engine.toml_file import TomlError
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from hsms_engine.recorder import RecordTo

# How often a file is looked at, in seconds.
_LOOKS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is said beside the file, and wins over it. ``alarms`` and ``events`` are seconds."""

    behaviours: tuple[str, ...] = ()
    answers: AnswerBook | None = None
    alarms: float | None = None
    events: float | None = None
    unknown: Unknown | None = None

    def plans(self, file: ToolFile, settings: Settings) -> dict[int, tuple[ToolPlan, ...]]:
        """The tools of a file, by the port on which they listen. Raises ``ValueError``."""
        ports: dict[int, list[ToolPlan]] = {}
        for each in file.tools:
            plan = each.changed(alarms=self.alarms, events=self.events, unknown=self.unknown)
            # The port of the file gives way to that of the settings, which may be given beside it.
            is_usual = plan.port in (None, file.settings.port)
            port = settings.port if is_usual or plan.port is None else plan.port
            ports.setdefault(port, []).append(plan)
        return {port: tuple(plans) for port, plans in ports.items()}


async def run_fake(
    process: Process,
    settings: Settings,
    beside: Beside,
    *,
    file: ToolFile | None = None,
    equipments: dict[int, FakeEquipment] | None = None,
    reload: bool = False,
    clock: Clock | None = None,
    record: RecordTo | None = None,
    report: Report,
) -> int:
    """Be the tools of a file until ``process`` is stopped, then separate and report ``"stopped"``.

    Without a file, the tool that comes with the engine. With ``reload`` the file is taken again
    when it has changed; at SIGHUP it always is, where there is such a signal. Returns exit code 0:
    a signal is how a server ends. ``equipments`` gets each one, by its port. ``clock`` is that of
    the tools; ``record`` records all of them. Raises like ``serve_fake``.
    """
    async with open_bare_nursery() as nursery:
        equipments = {} if equipments is None else equipments
        again = None if file is None else _Again(file, settings, beside, equipments, report)
        # Before it is told that they listen, because then somebody may change the file.
        hearing = nullcontext() if again is None else process.hearing_hangup(again.ask)
        # Stopped already while they begin to listen: somebody may have read that one does.
        with hearing, process.until_stopped():
            for port, plans in beside.plans(file or default_tool(), settings).items():
                serve = partial(
                    serve_fake,
                    settings.replace(port=port),
                    beside.behaviours,
                    tool=plans,
                    answers=beside.answers,
                    clock=clock,
                    record=record,
                    report=report,
                )
                equipments[port] = await nursery.start(serve)
            if again is None:
                await trio.sleep_forever()
            else:
                await again.run(_LOOKS if reload else math.inf)
        for each in equipments.values():
            await each.aclose()
        # One that was stopped as it began.
        nursery.cancel_scope.cancel()
    report("stopped", {})
    return 0


class _Again:
    """Takes a file again when it has changed, or when somebody asks for it."""

    def __init__(
        self,
        file: ToolFile,
        settings: Settings,
        beside: Beside,
        equipments: Mapping[int, FakeEquipment],
        report: Report,
    ) -> None:
        self._file = file
        self._settings = settings
        self._beside = beside
        self._equipments = equipments
        self._report = report
        self._asked = trio.Event()
        self._seen = _times(file.files)
        # Why it was not adopted, if it was not.
        self._problems: list[str] = []

    def ask(self) -> None:
        """Take the file again."""
        self._asked.set()

    async def run(self, seconds: float) -> None:
        """Wait until asked, or look at the files so often."""
        while True:
            with trio.move_on_after(seconds):
                await self._asked.wait()
            now = _times(self._file.files)
            has_news = self._asked.is_set() or now != self._seen
            # A file that it names may have been missing, and nobody knows which.
            if has_news or self._problems:
                self._asked = trio.Event()
                problems, before = self._take(), self._problems
                self._problems = problems
                if has_news or problems != before:
                    for each in problems:
                        self._report("not adopted", {"why": each})
                # Also when it is refused: it is told once. What is written while it is read, and
                # after it, is seen the next time.
                times = _times(self._file.files)
                self._seen = {each: now.get(each, time) for each, time in times.items()}

    def _take(self) -> list[str]:
        """Take the file, and return why it is not adopted, if it is not."""
        name = self._file.path
        try:
            file = read_tool_file(name)
            ports = self._beside.plans(file, self._settings)
            if ports.keys() != self._equipments.keys():
                raise ValueError(
                    f"{name}: the ports are {_listed(ports)} now, and {_listed(self._equipments)} "
                    "are in use: other ports need a new start"
                )
            for port, plans in ports.items():
                self._equipments[port].check(plans)
        except TomlError as error:
            return [*map(str, error.problems)]
        except (ValueError, OSError) as error:
            return [str(error)]
        changed = [
            each.name
            for each in fields(Settings)
            if getattr(file.settings, each.name) != getattr(self._file.settings, each.name)
        ]
        but: dict[str, object] = {}
        if changed:
            # What they are is compared with the start again the next time.
            file = replace(file, settings=self._file.settings)
            but["but"] = f"not {', '.join(changed)} of [settings]: that needs a new start"
        self._file = file
        for port, plans in ports.items():
            self._equipments[port].adopt(plans, **but)
        return []


def _times(names: Sequence[str]) -> dict[str, tuple[int, int] | None]:
    """When the files were written last, and how long they are; None for one that is not there."""
    found: dict[str, tuple[int, int] | None] = {}
    for each in names:
        try:
            status = Path(each).stat()
        except OSError:
            found[each] = None
        else:
            found[each] = status.st_mtime_ns, status.st_size
    return found


def _listed(ports: Iterable[int]) -> str:
    return ", ".join(map(str, ports))
