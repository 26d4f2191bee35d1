"""pcap and pcapng in both orders of bytes, cut at any byte or damaged, and other files."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.capture import files
from hsms_engine.capture.files import Captured, CaptureError, Damage, read_packets
from tests.support.tools import needs

AT = 1_700_000_000_123_456_789
PACKETS = [b"first packet", b"second", b"", bytes(range(200))]
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def pcap(order: str, magic: int = 0xA1B23C4D, *, link_type: int = 1, version: int = 2) -> bytes:
    unit = 1 if magic == 0xA1B23C4D else 1_000
    head = struct.pack(f"{order}IHHiIII", magic, version, 4, 0, 0, 65_535, link_type)
    return head + b"".join(
        struct.pack(f"{order}IIII", 1_700_000_000, (123_456_789 + each) // unit, len(data), 300)
        + data
        for each, data in enumerate(PACKETS)
    )


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str, version: int = 1, options: bytes = b"") -> bytes:
    return block(
        order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, version, 0, -1) + options
    )


def interface(order: str, link_type: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(f"{order}HHI", link_type, 0, snaplen) + options)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def packet(order: str, data: bytes, ticks: int, number: int = 0, length: int = 300) -> bytes:
    high, low = divmod(ticks, 1 << 32)
    head = struct.pack(f"{order}IIIII", number, high, low, len(data), length)
    return block(order, 6, head + data + bytes(-len(data) % 4) + option(order, 1, b"a comment"))


def read(data: bytes) -> list[Captured | Damage]:
    return [*read_packets(io.BytesIO(data).read)]


def pcapng(order: str) -> bytes:
    nanoseconds = option(order, 9, b"\x09") + option(order, 0, b"") + option(order, 9, b"\x03")
    return b"".join(
        [
            section(order, options=option(order, 4, b"a program")),
            interface(order, options=option(order, 2, b"eth0") + nanoseconds),
            *(packet(order, data, AT + each) for each, data in enumerate(PACKETS)),
        ]
    )


@ORDERS
def test_pcap_is_read_in_both_orders_of_bytes(order: str) -> None:
    assert read(pcap(order)) == [
        Captured(AT + each, 1, data, 300) for each, data in enumerate(PACKETS)
    ]
    coarse = read(pcap(order, 0xA1B2C3D4))
    assert coarse[0] == Captured(AT - 789, 1, PACKETS[0], 300)


def test_a_packet_was_at_least_as_long_as_what_was_kept_of_it() -> None:
    record = struct.pack("<IIII", 0, 0, 3, 0) + b"abc"
    assert read(pcap("<") + record)[-1] == Captured(0, 1, b"abc", 3)
    assert read(pcapng("<") + packet("<", b"abc", 0, length=0))[-1] == Captured(0, 1, b"abc", 3)


def test_what_the_link_type_says_about_checksums_is_left_out() -> None:
    found = read(pcap("<", link_type=0x5400_0001))[0]
    assert isinstance(found, Captured)
    assert found.link_type == 1


@ORDERS
def test_pcapng_is_read_in_both_orders_of_bytes(order: str) -> None:
    assert read(pcapng(order)) == [
        Captured(AT + each, 1, data, 300) for each, data in enumerate(PACKETS)
    ]


def test_sections_have_interfaces_and_an_order_of_bytes_of_their_own() -> None:
    found = read(pcapng("<") + section(">") + interface(">", 101) + packet(">", b"x", 7))
    assert found[4:] == [Captured(7_000, 101, b"x", 300)]


def test_each_interface_has_its_own_unit_and_beginning_of_time() -> None:
    halves, offset = option("<", 9, b"\x81"), option("<", 14, struct.pack("<q", 1_000))
    file = [
        section("<"),
        interface("<", options=option("<", 9, b"") + option("<", 14, b"short")),
        interface("<", 113, options=halves + offset),
        packet("<", b"a", 5),
        packet("<", b"b", 5, number=1),
    ]
    assert read(b"".join(file)) == [
        Captured(5_000, 1, b"a", 300),
        Captured(1_002_500_000_000, 113, b"b", 300),
    ]


@ORDERS
def test_the_older_blocks_of_pcapng_are_read_and_others_passed_over(order: str) -> None:
    old = struct.pack(f"{order}HHIIII", 0, 9, 0, 5, 3, 20) + b"old"
    file = [
        section(order),
        block(order, 0x0BAD, bytes(100_000)),
        interface(order, snaplen=4),
        block(order, 2, old),
        block(order, 3, struct.pack(f"{order}I", 6) + b"simp"),
        interface(order),
        block(order, 3, struct.pack(f"{order}I", 3) + b"sim\0"),
    ]
    assert read(b"".join(file)) == [
        Captured(5_000, 1, b"old", 20),
        Captured(0, 1, b"simp", 6),
        Captured(0, 1, b"sim", 3),
    ]


@pytest.mark.parametrize("file", [pcap("<"), pcapng(">")], ids=["pcap", "pcapng"])
def test_a_file_cut_at_any_byte_is_read_up_to_there(file: bytes) -> None:
    whole = read(file)
    ends = 0
    for size in range(4, len(file)):
        found = read(file[:size])
        last = found.pop() if found else None
        if isinstance(last, Damage):
            assert last.offset == size
            assert "ends within" in last.why
        else:
            found += [] if last is None else [last]
            ends += 1
        assert found == whole[: len(found)]
    # Between two packets nothing says that the file is cut: after the header and each packet.
    assert ends == len(PACKETS) + (file == pcapng(">"))


@pytest.mark.parametrize("size", [files.MOST_PACKET + 1, 2**32 - 1])
def test_a_packet_of_an_absurd_size_ends_reading(size: int) -> None:
    file = pcap("<") + struct.pack("<IIII", 0, 0, size, size) + bytes(100)
    [*_, last] = read(file)
    assert last == Damage(
        len(file) - 100, f"a packet has {size:,} bytes, and at most 16,777,216 can be read"
    )
    [last] = read(section("<") + struct.pack("<II", 6, min(size + 15, 2**32 - 4)))
    assert isinstance(last, Damage)
    assert "can be read" in last.why


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (pcap("<", version=3), "the file is of version 3 of pcap, and 2 is known"),
        (section("<", version=2), "a section is of version 2 of pcapng, and 1 is known"),
        (
            section("<").replace(b"\x4d\x3c", b"\x4e\x3c"),
            "a section says no order of bytes that is known",
        ),
        (
            section("<") + struct.pack("<II", 6, 8),
            "a block has 8 bytes, and at least 12, in fours, is right",
        ),
        (
            section("<") + struct.pack("<II", 6, 13),
            "a block has 13 bytes, and at least 12, in fours, is right",
        ),
        (section("<") + block("<", 6, b"tiny"), "a block is too short for what it is"),
        (section("<") + block("<", 1, b"tiny"), "a block is too short for what it is"),
        (section("<") + block("<", 3, b""), "a block is too short for what it is"),
        (section("<") + packet("<", b"x", 5), "a packet is of interface 0, which is not described"),
        (
            section("<") + interface("<") + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 9, 9)),
            "a packet of 9 bytes is in a block of 20",
        ),
    ],
)
def test_damage_says_what_it_is(file: bytes, why: str) -> None:
    [last] = read(file)
    assert isinstance(last, Damage)
    assert last.why == why


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (b"", "the file is empty"),
        (b"GET / HTTP/1.1", "neither pcap nor pcapng: it begins with b'GET '"),
        (
            b"\x1f\x8b\x08\x00",
            "no capture: it is compressed: give it to standard input with zcat FILE | …",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "no capture: it is compressed: give it to standard input with zstdcat FILE | …",
        ),
        (b'{"kind": ', "no capture: it is text, as a recording is: record to-pcap reads those"),
        (
            b"\x34\xcd\xb2\xa1",
            "no capture: it is of an old kind of pcap, which editcap -F pcapng changes",
        ),
        (
            b"\xa1\xb2\xcd\x34",
            "no capture: it is of an old kind of pcap, which editcap -F pcapng changes",
        ),
    ],
)
def test_another_file_is_refused_in_one_line(file: bytes, why: str) -> None:
    with pytest.raises(CaptureError) as caught:
        read(file)
    assert str(caught.value) == why


@given(st.sampled_from([pcap("<"), pcapng("<"), pcapng(">")]), st.data())
def test_a_damaged_file_raises_nothing(file: bytes, data: st.DataObject) -> None:
    damaged = bytearray(file)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(file) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(damaged))


@pytest.mark.parametrize("kind", ["pcapng", "pcap", "nsecpcap"])
def test_what_wireshark_writes_is_read(kind: str, tmp_path: Path) -> None:
    needs("tshark")
    (tmp_path / "a").write_bytes(pcap("<"))
    subprocess.run(["editcap", "-F", kind, tmp_path / "a", tmp_path / "b"], check=True)
    found = read((tmp_path / "b").read_bytes())
    assert [each.data for each in found if isinstance(each, Captured)] == PACKETS
    assert isinstance(found[0], Captured)
    assert found[0].at == (AT if kind != "pcap" else AT - 789)
