"""An equipment that shows its metrics over HTTP, for Prometheus.

    python metrics.py 5000 9100

It ends on Ctrl-C and on SIGTERM, with Separate.
"""

import signal
import sys
from contextlib import suppress

from prometheus_client import REGISTRY, start_http_server

from hsms_engine import ConnectionLostError, Message, blocking
from hsms_engine.messages import S1F2, S1F14
from hsms_engine.metrics import Collector

NAME = ("ETCHER", "7.1")
REPLIES = {"S1F1": S1F2(*NAME), "S1F13": S1F14(0, *NAME)}


def talk(host: blocking.HsmsConnection) -> None:
    """Runs in a thread of its own for each host that selects."""
    with suppress(ConnectionLostError):
        for primary in host:
            if primary.wait:
                host.reply(primary, REPLIES.get(primary.name, Message(primary.stream, 0)))


def main(port: int, page_port: int) -> None:
    collector = Collector()
    REGISTRY.register(collector)
    with blocking.serve_hsms(talk, "127.0.0.1", port, is_equipment=True) as server:
        collector.add(server, "etcher")
        page, _ = start_http_server(page_port, addr="127.0.0.1")
        print(f"listening on {server.address}, metrics on port {page.server_port}", flush=True)
        with suppress(KeyboardInterrupt):
            server.wait_closed()
        page.shutdown()
        page.server_close()


if __name__ == "__main__":
    # As Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(int(sys.argv[1]), int(sys.argv[2]))
