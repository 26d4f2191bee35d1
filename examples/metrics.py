"""An equipment that shows its counts over HTTP, as text that Prometheus reads.

    python metrics.py 5000 9100

It ends on Ctrl-C and on SIGTERM, with Separate.
"""

import signal
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hsms_engine import ConnectionLostError, Message, blocking
from hsms_engine.messages import S1F2, S1F14

NAME = ("ETCHER", "7.1")
REPLIES = {"S1F1": S1F2(*NAME), "S1F13": S1F14(0, *NAME)}


def talk(host: blocking.HsmsConnection) -> None:
    """Runs in a thread of its own for each host that selects."""
    with suppress(ConnectionLostError):
        for primary in host:
            if primary.wait:
                host.reply(primary, REPLIES.get(primary.name, Message(primary.stream, 0)))


def metrics(server: blocking.HsmsServer) -> str:
    """A line for each number: what is now, and what has been counted since the start."""
    told = server.statistics()
    numbers = {
        "hsms_connections": told.connections,
        "hsms_selected": told.selected,
        "hsms_waiting_bytes": told.waiting_bytes,
        "hsms_times_selected_total": told.times_selected,
        "hsms_turned_away_total": told.turned_away,
        "hsms_failed_handlers_total": told.failed_handlers,
        **{f"hsms_{name}_total": count for name, count in told.counts.items()},
    }
    return "".join(f"{name} {number}\n" for name, number in numbers.items())


def page_of(server: blocking.HsmsServer) -> type[BaseHTTPRequestHandler]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = metrics(server).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Not a line for each look."""

    return Page


def main(port: int, page_port: int) -> None:
    with (
        blocking.serve_hsms(talk, "127.0.0.1", port, is_equipment=True) as server,
        ThreadingHTTPServer(("127.0.0.1", page_port), page_of(server)) as page,
    ):
        print(f"listening on {server.address}, metrics on port {page.server_port}", flush=True)
        with suppress(KeyboardInterrupt):
            page.serve_forever()


if __name__ == "__main__":
    # As Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(int(sys.argv[1]), int(sys.argv[2]))
