"""What became of each step, and the same as JUnit's XML, which CI programs show.

A step of a file is one test case, also when it is repeated: its time is that of all its rounds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, assert_never
from xml.etree import ElementTree as ET

from hsms_engine.scenario.errors import StepError
from hsms_engine.scenario.player import Began, Passed, Told, Unexpected
from hsms_engine.scenario.steps import Scenario, Step, walk

# Characters that XML 1.0 does not have.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True)
class _Case:
    step: Step
    times: int = 0
    seconds: float = 0.0


class Report:
    """Collects what ``play`` tells, and how it has ended.

    ``selected_after``: the seconds until the connection was selected, None while it is not.
    ``error`` is that of the step that has failed. ``problem`` says what ended it where no step has
    failed: no connection, or a signal.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.selected_after: float | None = None
        self.error: StepError | None = None
        self.problem: str | None = None
        self._cases = {step.number: _Case(step) for step in walk(scenario.steps)}
        # Those that have begun and are not over, the innermost last.
        self._begun: list[Step] = []

    @property
    def step(self) -> Step | None:
        """The step that is being played; None before the first and after the last."""
        return self._begun[-1] if self._begun else None

    def tell(self, told: Told) -> None:
        """Take what ``play`` tells."""
        match told:
            case Began(step=step):
                self._begun.append(step)
            case Passed(step=step, seconds=seconds):
                self._begun.pop()
                case = self._cases[step.number]
                case.times += 1
                case.seconds += seconds
            case Unexpected():
                pass
            case _:
                assert_never(told)

    def junit(self) -> bytes:
        """The report as XML: one suite, and in it the selection and each step of the file.

        What ended it while no step was played has a case of its own."""
        suite = ET.Element("testsuite", name=_clean(self.scenario.name))
        self._add(suite, "select", self.selected_after or 0.0)
        if self.selected_after is None:
            _mark(suite[-1], "error", self.problem or "not selected")
        for case in self._cases.values():
            self._add(suite, _title(case.step), case.seconds)
            if self.error is not None and case.step is self.error.step:
                details = "\n".join(self.error.details)
                _mark(suite[-1], "failure", self.error.problem, details)
            elif case.step is self.step and self.problem is not None:
                _mark(suite[-1], "error", self.problem)
            elif case.step in self._begun:
                _mark(suite[-1], "skipped", "not played to its end")
            elif not case.times:
                _mark(suite[-1], "skipped", "not played")
        if self.selected_after is not None and self.step is None and self.problem is not None:
            # Between two steps, or behind the last one.
            self._add(suite, "end", 0.0)
            _mark(suite[-1], "error", self.problem)
        for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(name, str(len(suite.findall(f"testcase/{kind}"))))
        suite.set("tests", str(len(suite)))
        # A repeat has the time of the steps in it.
        played = sum(case.seconds for number, case in self._cases.items() if "." not in number)
        suite.set("time", f"{(self.selected_after or 0.0) + played:.3f}")
        root = ET.Element("testsuites")
        root.append(suite)
        ET.indent(root)
        written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
        return written + b"\n"

    def _add(self, suite: ET.Element, name: str, seconds: float) -> None:
        ET.SubElement(
            suite,
            "testcase",
            classname=_clean(self.scenario.name),
            name=_clean(name),
            time=f"{seconds:.3f}",
        )


def _title(step: Step) -> str:
    return f"{step.number} {step.name or step}"


def _mark(case: ET.Element, kind: str, message: str, text: str = "") -> None:
    ET.SubElement(case, kind, message=_clean(message)).text = _clean(text) or None


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
