"""secsgem, and secsgempro, which was made from it: package and calls have the same names."""

import logging
import threading
from typing import Any

import secsgem.common
import secsgem.hsms
import secsgem.secs

from tests.interop.peers import lines


class Peer(secsgem.secs.SecsHandler):  # type: ignore[misc]  # comes without types
    """An end as a user of secsgem writes it."""

    def __init__(self, mode: str, port: int) -> None:
        super().__init__(
            secsgem.hsms.HsmsSettings(
                address="127.0.0.1",
                port=port,
                connect_mode=secsgem.hsms.HsmsConnectMode[mode.upper()],
                device_type=secsgem.common.DeviceType.EQUIPMENT,
                session_id=0,
                # Whole seconds: it waits so long before it dials again.
                t5=1,
            )
        )
        self.selected = threading.Event()
        self.gone = threading.Event()
        self.protocol.events.communicating += lambda _: self.selected.set()
        self.protocol.events.disconnected += lambda _: self.gone.set()
        for stream, function in ((1, 1), (1, 13), (2, 25), (2, 41)):
            self.register_stream_function(stream, function, self.answer)

    def answer(self, _: Any, message: Any) -> None:
        header = message.header
        primary = self.settings.streams_functions.decode(message)
        values: Any
        match header.stream, header.function:
            case 1, 1:
                values = ["PEER", "1"]
            case 1, 13:
                values = {"COMMACK": 0, "MDLN": ["PEER", "1"]}
            case 2, 25:
                values = primary.get()
            case _:
                names = [each["CPNAME"] for each in primary.get()["PARAMS"]]
                params = [{"CPNAME": name, "CPACK": 0} for name in names]
                values = {"HCACK": 0, "PARAMS": params}
        reply = self.stream_function(header.stream, header.function + 1)(values)
        self.send_response(reply, header.system)


class Watch(logging.Handler):
    """Hears when secsgem does not take a select, of which it tells nobody else."""

    not_taken = False

    def emit(self, record: logging.LogRecord) -> None:
        if "transition 'select': NOT_CONNECTED" in self.format(record):
            self.not_taken = True


class SecsgemEnd:
    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def start(self, mode: str, port: str) -> None:
        self.peer = Peer(mode, int(port))
        self.peer.enable()

    def selected(self) -> None:
        selected = self.peer.selected
        lines.until(lambda: selected.is_set() or self.watch.not_taken, "it is not selected")
        if not selected.is_set():
            raise ConnectionError("it did not take the select")

    def gone(self) -> None:
        lines.until(self.peer.gone.is_set, "it did not notice the end of the connection")

    def ask(self, stream: str, function: str, body: str) -> str:
        primary = self.peer.stream_function(int(stream), int(function))()
        primary.decode(lines.to_bytes(body))
        reply = self.peer.send_and_waitfor_response(primary)
        if reply is None:
            raise TimeoutError("it has no reply")
        header = reply.header
        if header.s_type is not secsgem.hsms.HsmsSType.DATA_MESSAGE:
            raise TypeError(f"it took {header.s_type.text} for the reply")
        read = self.peer.settings.streams_functions.decode(reply)
        return lines.to_words(header.stream, header.function, read.encode())

    def linktest(self) -> None:
        self._expect(self.peer.protocol.send_linktest_req(), "LINKTEST_RSP")

    def select(self) -> None:
        self._expect(self.peer.protocol.send_select_req(), "SELECT_RSP")

    def deselect(self) -> None:
        self._expect(self.peer.protocol.send_deselect_req(), "DESELECT_RSP")

    def _expect(self, response: Any, name: str) -> None:
        if response is None:
            raise TimeoutError("it has no response")
        if response.header.s_type is not secsgem.hsms.HsmsSType[name]:
            raise TypeError(f"it took {response.header.s_type.text} for the response")

    def separate(self) -> None:
        closing = threading.Thread(target=self.peer.disable, daemon=True)
        closing.start()
        lines.until(lambda: not closing.is_alive() or self._is_stuck(), "it still closes")
        if closing.is_alive():
            raise RuntimeError("it waits for a thread that is over")

    def _is_stuck(self) -> bool:
        """Whether ``disable`` waits for a thread to take note, and that thread is over."""
        connection = self.peer.protocol._connection
        if self.peer.settings.is_active:
            return connection.stop_connection_thread and not connection.connection_thread.is_alive()
        return connection._stop_server_thread and not connection._server_thread.is_alive()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    watch = Watch()
    logging.getLogger().addHandler(watch)
    lines.serve(SecsgemEnd(watch))
