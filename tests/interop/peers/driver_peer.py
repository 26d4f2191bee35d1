"""secsgem-driver. Its package is called ``secsgem`` too, and has other calls."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any

import secsgem

from tests.interop.peers import lines


class DriverEnd:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def _run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self.loop).result()

    def start(self, mode: str, port: str) -> None:
        self.connection = secsgem.HSMSConnection("127.0.0.1", int(port), mode=mode)
        self.connection.on_message_received = self.answer
        # It returns when the session is selected, also at the end that listens.
        self.connecting = asyncio.run_coroutine_threadsafe(self.connection.connect(), self.loop)

    async def answer(self, header: Any, body: bytes) -> None:
        stream, function = header.stream & 0x7F, header.function
        binary = secsgem.FormatCode.BINARY
        zero = secsgem.Secs2Item(b"\0", binary)
        match stream, function:
            case 1, 1:
                reply = secsgem.encode(["PEER", "1"])
            case 1, 13:
                reply = secsgem.encode([zero, ["PEER", "1"]])
            case 2, 25:
                reply = secsgem.encode(secsgem.decode(body)[0], binary)
            case _:
                _, params = secsgem.decode(body)[0]
                reply = secsgem.encode([zero, [[name, zero] for name, _ in params]])
        await self.connection.send_reply(header, stream, function + 1, reply)

    def selected(self) -> None:
        if not self.connecting.result(lines.PATIENCE):
            raise ConnectionError("it did not see itself selected")

    def gone(self) -> None:
        connection = self.connection
        reading = connection._receive_task
        lines.until(lambda: reading.done() or not connection.connected, "it still reads")
        # Not all ways of its end call back.
        if connection.connected:
            raise ConnectionError("it has stopped reading, and still says that it is connected")

    def ask(self, stream: str, function: str, body: str) -> str:
        primary = self.connection.send_data_message(
            int(stream), int(function), True, lines.to_bytes(body)
        )
        reply = self._run(primary)
        # For a Reject.req it gives the header alone.
        if not isinstance(reply, tuple):
            raise TypeError(f"it took {reply!r} for the reply")
        header, read = reply
        secsgem.decode(read)
        return lines.to_words(header.stream, header.function, read)

    def linktest(self) -> None:
        self._expect(self._run(self.connection.send_linktest()))

    def select(self) -> None:
        self._expect(self._run(self.connection.send_select()))

    def deselect(self) -> None:
        self._expect(self._run(self.connection.send_deselect()))

    def _expect(self, succeeded: bool) -> None:
        if not succeeded:
            raise RuntimeError("it says that it failed")

    def separate(self) -> None:
        self._run(self.connection.disconnect())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    lines.serve(DriverEnd())
