"""tshark reads a whole conversation of two of our ends over TCP as what it was meant to be.

The bytes are taken where they pass the socket of the dialling end, in both directions, and given to
tshark as one TCP connection.
"""

from pathlib import Path

import trio

from hsms_engine import HsmsConnection, Message, Settings, open_hsms, serve_hsms
from hsms_engine.driver.tcp import DirectStream, connect_tcp
from hsms_engine.messages import S1F13, S5F1
from tests.support.patience import PATIENCE
from tests.support.pcap import Direction, write_pcap
from tests.support.tshark import dissect


class Tapped(trio.abc.HalfCloseableStream):
    """A stream whose bytes are noted as they pass. It sends only by ``send_all``, so in order."""

    def __init__(self, inner: DirectStream, notes: list[tuple[Direction, bytes]]) -> None:
        self._inner = inner
        self._notes = notes

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._notes.append(("active", bytes(data)))
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._inner.receive_some(max_bytes))
        if data:
            self._notes.append(("passive", data))
        return data

    async def aclose(self) -> None:
        await self._inner.aclose()


async def equipment(connection: HsmsConnection) -> None:
    async for primary in connection:
        await connection.reply(primary, Message(1, 14, item=["MDLN", "1.0"]))
        await connection.request(S5F1(0x80, 7, "door"))


async def test_tshark_reads_a_conversation_as_it_was_meant(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    notes: list[tuple[Direction, bytes]] = []
    server = await nursery.start(serve_hsms, equipment, Settings(port=0, session_id=9))

    async def dial() -> Tapped:
        return Tapped(await connect_tcp("127.0.0.1", server.port), notes)

    with trio.fail_after(PATIENCE):
        async with open_hsms("127.0.0.1", server.port, dial=dial, session_id=9) as connection:
            reply = await connection.request(S1F13())
            alarm = await anext(connection)
            await connection.reply(alarm, Message(5, 2, item=None))
            await connection.linktest()
            await connection.deselect()
            await connection.select()
        await server.aclose()

    capture = tmp_path / "conversation.pcap"
    write_pcap(capture, notes)
    seen = dissect(capture)
    assert [each.title for each in seen] == [
        "Select.req",
        "Select.rsp",
        "S01F13",
        "S01F14",
        "S05F01",
        "S05F02",
        "Linktest.req",
        "Linktest.rsp",
        "Deselect.req",
        "Deselect.rsp",
        "Select.req",
        "Select.rsp",
        "Separate.req",
    ]
    header = {(number, each.title): each.header for number, each in enumerate(seen)}
    for asked, answered in ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)):
        assert seen[asked].header["system"] == seen[answered].header["system"]
    assert all(
        each.header["sessionid"] == (9 if each.title.startswith("S0") else 0xFFFF) for each in seen
    )
    assert all(each.header["ptype"] == 0 for each in seen)
    assert [each.header["stype"] for each in seen] == [1, 2, 0, 0, 0, 0, 5, 6, 3, 4, 1, 2, 9]
    assert [header[2, "S01F13"][field] for field in ("stream", "function", "wbit")] == [1, 13, 1]
    assert [header[3, "S01F14"][field] for field in ("stream", "function", "wbit")] == [1, 14, 0]
    assert header[1, "Select.rsp"]["statusbyte3"] == 0
    assert header[9, "Deselect.rsp"]["statusbyte3"] == 0
    # The items tshark reads are the items the peer was given.
    assert reply.item is not None
    [items] = seen[3].items
    assert [child.values[0] for child in items.children] == reply.item.to_python()
