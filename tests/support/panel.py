"""Drives ``examples/qt_panel.py`` as a person would: one scenario, in a process of its own.

Qt keeps threads and memory for as long as a process lives, so no test loads it into pytest.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

from PySide6.QtCore import QEventLoop, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton

from examples import qt_panel
from hsms_engine import Settings
from hsms_engine.fake import serve_fake
from hsms_engine.fake.threaded import ThreadedEquipment, run_in_thread
from hsms_engine.messages import S6F11
from tests.support.patience import PATIENCE


class Person:
    """Looks at the window and clicks."""

    def __init__(self, app: QApplication, equipment: ThreadedEquipment) -> None:
        self._app = app
        self.equipment = equipment
        (self.panel,) = (each for each in app.topLevelWidgets() if isinstance(each, qt_panel.Panel))

    def until(self, seen: Callable[[], bool]) -> None:
        """Wait until it is seen. Whatever can change the window wakes this."""
        over = QTimer()
        over.setSingleShot(True)
        over.start(int(PATIENCE * 1000))
        while not seen():
            assert over.isActive(), (self.panel.state.text(), self.panel.why.text(), self.rows())
            self._app.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)

    def until_state(self, state: str) -> None:
        self.until(lambda: self.panel.state.text().startswith(state))

    def click(self, button: QPushButton) -> None:
        self.until(button.isEnabled)
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def ask(self, sml: str) -> None:
        edit = self.panel.request.lineEdit()
        assert edit is not None
        edit.selectAll()
        QTest.keyClicks(edit, sml)
        self.click(self.panel.send_button)

    def rows(self) -> list[tuple[str, str]]:
        tree = self.panel.messages
        items = [tree.topLevelItem(n) for n in range(tree.topLevelItemCount())]
        return [(item.text(1), item.text(2)) for item in items if item is not None]

    def until_row(self, name: str, content: str = "") -> None:
        self.until(lambda: any(row[0] == name and content in row[1] for row in self.rows()))


def talks(person: Person) -> None:
    person.until_state("Selected")
    assert qt_panel.GREEN in person.panel.lamp.styleSheet()
    person.ask("S1F1 W .")
    person.until_row("→ S1F1 W")
    person.until_row("← S1F2", "<L ")
    person.ask("S10F3 <L <B 0> <A 'no reply'>> .")
    person.until_row("→ S10F3", "no reply")
    person.equipment.until(lambda: len(person.equipment.received) == 2)
    person.equipment.send(S6F11(1, 1, {1: ["of the tool"]}, wait=False))
    person.until_row("← S6F11", "of the tool")
    person.until(lambda: person.panel.counts.text() == "sessions: 1   sent: 2   received: 2")


def reconnects(person: Person) -> None:
    panel = person.panel
    person.until_state("Selected")
    person.click(panel.disconnect_button)
    person.until_state("Disconnected")
    assert not panel.disconnect_button.isEnabled()
    person.ask("S1F1 W .")
    person.until_row("LinkDownError", "until it is enabled")
    person.click(panel.connect_button)
    person.until_state("Selected")
    person.equipment.kill()
    person.until_state("Down")
    assert panel.why.text()
    person.equipment.restart()
    person.until_state("Selected")
    assert panel.why.text() == ""


def errs(person: Person) -> None:
    person.until_state("Selected")
    person.ask("S1F1 W <")
    person.until_row("no SML", "column")
    person.ask("S1F2 .")
    person.until_row("LocalProtocolError")
    for n in range(qt_panel.KEPT):
        person.panel.show_message(f"{n}", "")
    assert person.rows()[0] == ("0", "")


def closes_while_it_asks(person: Person) -> None:
    person.equipment.behave("drop-replies=1")
    person.until_state("Selected")
    person.ask("S1F1 W .")
    person.equipment.until(lambda: person.equipment.counts["dropped"] == 1)


def all_have_ended(counts: Counter[str]) -> bool:
    return counts["ended"] + counts["killed"] == counts["selected"]


SCENARIOS = {each.__name__: each for each in (talks, reconnects, errs, closes_while_it_asks)}


def main(name: str, picture: str | None = None) -> None:
    told: list[Mapping[str, object]] = []

    def report(event: str, details: Mapping[str, object]) -> None:
        if event == "ended":
            told.append(details)

    app = QApplication(sys.argv)
    raised: list[BaseException] = []

    def drive(equipment: ThreadedEquipment) -> None:
        person = Person(app, equipment)
        try:
            SCENARIOS[name](person)
        except BaseException as error:  # noqa: BLE001  # Qt would only print it
            raised.append(error)
        if picture is not None:
            person.panel.grab().save(picture)
        person.panel.close()

    with ExitStack() as stack:
        equipment = stack.enter_context(run_in_thread(partial(serve_fake, report=report)))
        # It comes back at once, and its breaker never opens.
        settings = Settings(
            host=equipment.host,
            port=equipment.port,
            t5=0.01,
            breaker_threshold=1000,
            allow_short_timers=True,
        )
        QTimer.singleShot(0, partial(drive, equipment))
        code = qt_panel.run(app, settings)
        if raised:
            raise raised[0]
        # The window is closed, and the tool was told.
        equipment.until(lambda: all_have_ended(equipment.counts))
        print(code, told[-1]["why"])


if __name__ == "__main__":
    main(*sys.argv[1:])
