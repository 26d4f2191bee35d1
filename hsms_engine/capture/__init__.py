"""Captures of the network, pcap and pcapng: out of recordings, and recordings out of them.

::

    with open("tool.pcap", "rb") as file:
        for each in read_capture(file.read, ports=[5000]):
            match each:
                case Note():
                    print(each)
                case FrameRecord(sent=sent, data=header_and_body):
                    ...

    writer = PcapWriter()
    with open("tool.pcap", "wb") as file:
        file.write(PCAP_HEADER)
        for record in records:
            file.writelines(writer.packets(record))

The page ``docs/capture.md`` says what is read and written. Reading: ``files`` gives packets,
``layers`` the TCP segment in each, ``streams`` puts the segments of one direction in order,
``framing`` finds the frames in it, ``conversations`` knows all connections, and ``reading`` makes
records. Writing: ``writing`` takes records, ``replayed`` makes a TCP connection of them,
``places`` its addresses and ``packets`` the bytes.
"""

from hsms_engine.capture.files import MOST_PACKET, CaptureError
from hsms_engine.capture.packets import PCAP_HEADER
from hsms_engine.capture.reading import Note, Role, read_capture
from hsms_engine.capture.writing import PcapWriter

__all__ = [
    "MOST_PACKET",
    "PCAP_HEADER",
    "CaptureError",
    "Note",
    "PcapWriter",
    "Role",
    "read_capture",
]
