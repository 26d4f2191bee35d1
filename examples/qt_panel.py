"""A window for one tool: the life of its link, the last messages, and a line to ask it something.

    python qt_panel.py 10.1.2.3 5000

Whatever may wait for the tool runs in threads and comes back by signals: the thread of the window
only submits it.
"""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QBrush, QColor, QFontDatabase
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from hsms_engine import ConnectionLostError, HsmsError, Message, Settings, blocking, events
from hsms_engine.messages import S1F2, S1F14, S5F2, S6F12
from hsms_engine.secs2 import DecodeError
from hsms_engine.sml import SmlError, shorten

GREEN, AMBER, RED, GREY = "#2e9e5b", "#e0a020", "#c8402f", "#9aa0a6"
KEPT = 500
REPLIES = {"S1F1": S1F2(), "S1F13": S1F14(), "S5F1": S5F2(), "S6F11": S6F12()}


class Feed(QObject):
    """The link, for widgets: calls go to threads, and what they bring is emitted."""

    happened = Signal(object)  # events.LinkEvent
    exchanged = Signal(str, str)  # the message's name with its direction, and its content
    failed = Signal(str, str)  # what has failed, and why

    def __init__(self, link: blocking.HsmsLink, threads: ThreadPoolExecutor) -> None:
        super().__init__()
        self.link = link
        self._threads = threads

    def begin(self) -> None:
        """Emit from now on. What is emitted before a widget is connected is lost."""
        self._threads.submit(self._follow)
        self._threads.submit(self._receive)

    def enable(self) -> None:
        self._threads.submit(self.link.enable)

    def disable(self) -> None:
        self._threads.submit(self.link.disable)

    def ask(self, sml: str) -> None:
        self._threads.submit(self._ask, sml)

    # In threads. They end when the link is closed.

    def _follow(self) -> None:
        for event in self.link.events():
            self.happened.emit(event)

    def _receive(self) -> None:
        for primary in self.link:
            self._show("←", primary)
            if primary.wait:
                # The connection over which it came may be over.
                with suppress(ConnectionLostError):
                    reply = REPLIES.get(primary.name, Message(primary.stream, 0))
                    self.link.reply(primary, reply)
                    self._show("→", reply)

    def _ask(self, sml: str) -> None:
        try:
            message = Message.parse(sml)
        except SmlError as error:
            self.failed.emit("no SML", f"column {error.column}: {error.problem}")
            return
        try:
            self._show("→", message)
            if message.wait:
                self._show("←", self.link.request(message))
            else:
                self.link.send(message)
        except HsmsError as error:
            self.failed.emit(type(error).__name__, str(error))

    def _show(self, direction: str, message: Message) -> None:
        # Here and not in the window: a long body takes long to decode.
        try:
            content = "" if message.item is None else shorten(message.item, 200)
        except DecodeError as error:
            content = f"{len(message.body)} bytes: {error}"
        self.exchanged.emit(f"{direction} {message.name}{' W' if message.wait else ''}", content)


class Panel(QWidget):
    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self.lamp = QLabel()
        self.lamp.setFixedSize(22, 22)
        self.state = QLabel()
        self.state.setStyleSheet("font-size: 16px; font-weight: 600")
        self.why = QLabel()
        self.why.setWordWrap(True)
        self.counts = QLabel()
        for small in (self.why, self.counts):
            small.setStyleSheet("color: #6b7178")
        self.connect_button = QPushButton("Connect")
        self.disconnect_button = QPushButton("Disconnect")
        self.messages = QTreeWidget()
        self.messages.setHeaderLabels(["Time", "Message", "Content"])
        self.messages.setRootIsDecorated(False)
        self.messages.setUniformRowHeights(True)
        self.messages.setAlternatingRowColors(True)
        self.messages.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        # Of fixed width: to fit the content, Qt would look at every row for every message.
        self.messages.setColumnWidth(0, 90)
        self.messages.setColumnWidth(1, 130)
        self.request = QComboBox()
        self.request.setEditable(True)
        self.request.addItems(["S1F1 W .", "S1F13 W <L> .", "S1F3 W <L <U4 1>> ."])
        self.send_button = QPushButton("Send")

        layout = QGridLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.setSpacing(10)
        layout.setColumnStretch(1, 1)
        layout.addWidget(self.lamp, 0, 0)
        layout.addWidget(self.state, 0, 1)
        layout.addWidget(self.connect_button, 0, 2)
        layout.addWidget(self.disconnect_button, 0, 3)
        layout.addWidget(self.why, 1, 1, 1, 3)
        layout.addWidget(self.messages, 2, 0, 1, 4)
        layout.addWidget(self.request, 3, 0, 1, 3)
        layout.addWidget(self.send_button, 3, 3)
        layout.addWidget(self.counts, 4, 0, 1, 4)
        self.setWindowTitle(f"HSMS {feed.link.peer}")
        self.resize(720, 460)

        # To methods of widgets: Qt calls those in the thread of the window. A lambda would run in
        # the thread that emits.
        feed.happened.connect(self.show_event)
        feed.exchanged.connect(self.show_message)
        feed.failed.connect(self.show_failure)
        self.connect_button.clicked.connect(self.enable)
        self.disconnect_button.clicked.connect(self.disable)
        self.send_button.clicked.connect(self.ask)

    def enable(self) -> None:
        self.connect_button.setEnabled(False)
        self._feed.enable()

    def disable(self) -> None:
        self.disconnect_button.setEnabled(False)
        self._feed.disable()

    def ask(self) -> None:
        self._feed.ask(self.request.currentText())

    def show_event(self, event: events.LinkEvent) -> None:
        match event:
            case events.Selected():
                self._show_state(GREEN, "Selected")
            case events.Connecting(attempt=attempt):
                self._show_state(AMBER, f"Connecting, attempt {attempt}")
            case events.Selecting():
                self._show_state(AMBER, "Selecting")
            case events.NotSelected():
                self._show_state(AMBER, "Connected, not selected")
            case events.Separating():
                self._show_state(AMBER, "Separating")
            case events.Waiting(retry_after=seconds, error=error):
                why = "" if error is None else str(error)
                self._show_state(RED, f"Down, next attempt after {seconds:.1f} s", why)
            case events.Blocked(retry_after=seconds):
                why = "Too many attempts have failed: the circuit breaker is open."
                self._show_state(RED, f"Down, next attempt after {seconds:.1f} s", why)
            case events.Idle() | events.Closed():
                self._show_state(GREY, "Disconnected")
            case _:
                self._show_counts()

    def show_message(self, name: str, content: str) -> None:
        self._add_row(name, content)

    def show_failure(self, name: str, why: str) -> None:
        row = self._add_row(name, why)
        for column in range(row.columnCount()):
            row.setForeground(column, QBrush(QColor(RED)))

    def _show_state(self, colour: str, state: str, why: str = "") -> None:
        self.lamp.setStyleSheet(f"background: {colour}; border-radius: 11px")
        self.state.setText(state)
        self.why.setText(why)
        self.connect_button.setEnabled(colour == GREY)
        self.disconnect_button.setEnabled(colour != GREY)
        self._show_counts()

    def _show_counts(self) -> None:
        # Properties and statistics wait for nobody.
        now = self._feed.link.statistics()
        self.counts.setText(
            f"sessions: {now.times_selected}   sent: {now.counts['messages_sent']}   "
            f"received: {now.counts['messages_received']}"
        )

    def _add_row(self, name: str, content: str) -> QTreeWidgetItem:
        row = QTreeWidgetItem([datetime.now().astimezone().strftime("%H:%M:%S"), name, content])
        row.setToolTip(2, content)
        self.messages.addTopLevelItem(row)
        if self.messages.topLevelItemCount() > KEPT:
            self.messages.takeTopLevelItem(0)
        self.messages.scrollToBottom()
        self._show_counts()
        return row


def run(app: QApplication, settings: Settings) -> int:
    """Show the panel until its window is closed. The link is separated then."""
    # Left from right to left: the end of the link ends what the threads wait for.
    with ThreadPoolExecutor() as threads, blocking.open_link(settings) as link:
        feed = Feed(link, threads)
        panel = Panel(feed)
        feed.begin()
        panel.show()
        return app.exec()


def main() -> None:
    app = QApplication(sys.argv)
    # Python sees Ctrl-C only when it runs, and Qt lets it run only now and then.
    # The timer of no time also quits a loop that has not begun.
    signal.signal(signal.SIGINT, lambda *_: QTimer.singleShot(0, app.quit))
    awake = QTimer()
    awake.start(200)
    awake.timeout.connect(lambda: None)
    host, port = app.arguments()[1:]
    sys.exit(run(app, Settings(host=host, port=int(port))))


if __name__ == "__main__":
    main()
