"""secsgem 0.3 as a process of its own: ``python secsgem_peer.py active|passive``.

Each input line is a port, for one whole connection. The output lines are ``ready`` when secsgem is
enabled, then ``done`` or ``failed WHAT``. Each connection has a fresh handler and, when secsgem
listens, a fresh port, because its listener cannot be used twice.
"""

import logging
import os
import sys
import threading
from typing import Any

import secsgem.common
import secsgem.hsms
import secsgem.secs

TIMEOUT = 10.0


class Peer(secsgem.secs.SecsHandler):  # type: ignore[misc]  # comes without types
    """One end that answers S1F1 and echoes S2F25, and can ask both."""

    def __init__(self, mode: str, port: int) -> None:
        super().__init__(
            secsgem.hsms.HsmsSettings(
                address="127.0.0.1",
                port=port,
                connect_mode=secsgem.hsms.HsmsConnectMode[mode.upper()],
                device_type=secsgem.common.DeviceType.EQUIPMENT,
                session_id=0,
            )
        )
        self.selected = threading.Event()
        self.gone = threading.Event()
        self.protocol.events.communicating += lambda _: self.selected.set()
        self.protocol.events.disconnected += lambda _: self.gone.set()
        self.register_stream_function(1, 1, self.on_s1f1)
        self.register_stream_function(2, 25, self.on_s2f25)

    def on_s1f1(self, _: Any, message: Any) -> None:
        answer = self.stream_function(1, 2)(["SECSGEM", "0.3.0"])
        self.send_response(answer, message.header.system)

    def on_s2f25(self, _: Any, message: Any) -> None:
        function = self.settings.streams_functions.decode(message)
        self.send_response(self.stream_function(2, 26)(function.get()), message.header.system)

    def ask(self) -> None:
        """As the dialling end: S1F1, then S2F25 whose reply must be the same bytes."""
        reply = self.send_and_waitfor_response(self.stream_function(1, 1)())
        if (reply.header.stream, reply.header.function) != (1, 2):
            raise ValueError(f"S1F1 was answered with {reply}")
        sent = bytes(range(256))
        reply = self.send_and_waitfor_response(self.stream_function(2, 25)(sent))
        if self.settings.streams_functions.decode(reply).get() != sent:
            raise ValueError("S2F25 was not echoed")


def connect_once(mode: str, port: int) -> None:
    """Make one connection with a fresh handler; raise what went wrong."""
    peer = Peer(mode, port)
    peer.enable()
    print("ready", flush=True)
    if not peer.selected.wait(TIMEOUT):
        raise TimeoutError("secsgem did not see itself selected")
    if mode == "active":
        peer.ask()
        # Closes; staying enabled it would connect again at once.
        peer.disable()
    elif not peer.gone.wait(TIMEOUT):
        raise TimeoutError("secsgem did not notice the end of the connection")


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    mode = sys.argv[1]
    for line in sys.stdin:
        try:
            connect_once(mode, int(line))
        except Exception as error:  # noqa: BLE001  # whatever secsgem raises is the answer
            print(f"failed {type(error).__name__}: {error}", flush=True)
        else:
            print("done", flush=True)
    # secsgem's handlers keep threads that never stop.
    os._exit(0)


main()
