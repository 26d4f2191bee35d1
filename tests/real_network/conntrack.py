"""``python -m tests.real_network.conntrack``: forget all connections that the kernel tracks here.

What ``conntrack --flush`` does, without that program. It prints when it did (monotonic, seconds).
"""

import socket
import struct
import time

_NETLINK_NETFILTER = 12
# The subsystem of ctnetlink is 1, and 2 in it is "delete".
_DELETE = 1 << 8 | 2
_REQUEST_AND_ACKNOWLEDGE = 1 | 4


def flush() -> None:
    """Raises ``OSError`` when the kernel does not do it."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
        family = struct.pack("=BBH", socket.AF_INET, 0, 0)
        head = struct.pack("=IHHII", 16 + len(family), _DELETE, _REQUEST_AND_ACKNOWLEDGE, 1, 0)
        kernel.send(head + family)
        (error,) = struct.unpack_from("=i", kernel.recv(1024), 16)
        if error:
            raise OSError(-error, "the connections that are tracked cannot be forgotten")


if __name__ == "__main__":
    print(time.monotonic())
    flush()
