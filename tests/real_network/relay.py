"""``python -m tests.real_network.relay DEVICE HOST SEED``: the way between two ends, in user space.

It runs in the namespace between them. The kernel there routes what each end sends into a TUN
device; what the relay writes back goes on to its destination. Each line of standard input is a JSON
object, the ``Way`` of both directions from now on. It ends with its standard input, and prints
``ready`` when the device is there.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import sys
import time
from random import Random

from tests.real_network.way import Direction, Way

_TUNSETIFF = 0x400454CA
_IFF_TUN_WITHOUT_HEADER = 0x1001
_LARGEST = 65_536
# Packets read in one turn, so that those that are due do not wait for a flood.
_BURST = 64


def main(device: str, host: str, seed: int) -> None:
    """Relay until standard input ends. ``host``: packets to this address go to the host."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TUN_WITHOUT_HEADER))
    print("ready", flush=True)
    address = socket.inet_aton(host)
    to_host, to_equipment = (Direction(Random(f"{seed}/{name}")) for name in ("host", "equipment"))
    orders = b""
    poller = select.poll()
    poller.register(tun, select.POLLIN)
    poller.register(0, select.POLLIN)
    while True:
        now = time.monotonic()
        due = [each for one in (to_host, to_equipment) if (each := one.due()) is not None]
        wait = max(0.0, min(due) - now) * 1000 if due else None
        ready = {descriptor for descriptor, _ in poller.poll(wait)}
        if 0 in ready:
            if not (data := os.read(0, _LARGEST)):
                return
            *lines, orders = (orders + data).split(b"\n")
            for line in lines:
                to_host.way = to_equipment.way = Way(**json.loads(line))
        if tun in ready:
            for packet in _packets(tun):
                # An IPv4 header has its destination there.
                direction = to_host if packet[16:20] == address else to_equipment
                direction.take(time.monotonic(), packet)
        now = time.monotonic()
        for packet in (*to_host.arrived(now), *to_equipment.arrived(now)):
            os.write(tun, packet)


def _packets(tun: int) -> list[bytes]:
    packets: list[bytes] = []
    try:
        while len(packets) < _BURST:
            packets.append(os.read(tun, _LARGEST))
    except BlockingIOError:
        pass
    return packets


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
