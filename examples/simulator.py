"""A tool that answers who it is, and that reports the event 4010 when it was started.

    python simulator.py 5000

It ends on Ctrl-C, and separates from its hosts.
"""

import sys
from contextlib import suppress

from hsms_engine import ConnectionLostError, Message, blocking
from hsms_engine.messages import S1F2, S1F14, S2F42, S6F11

NAME = ("ETCHER", "7.1")
REPLIES = {"S1F1": S1F2(*NAME), "S1F13": S1F14(0, *NAME), "S2F41": S2F42()}


def talk(host: blocking.HsmsConnection) -> None:
    """Runs in a thread of its own for each host."""
    print(f"{host.peer}: selected", flush=True)
    with suppress(ConnectionLostError):
        for primary in host:
            if primary.wait:
                host.reply(primary, REPLIES.get(primary.name, Message(primary.stream, 0)))
            if primary.name == "S2F41":
                host.request(S6F11(1, 4010, {7: ["W-12", "done"]}))
    print(f"{host.peer}: gone", flush=True)


if __name__ == "__main__":
    with blocking.serve_hsms(talk, "127.0.0.1", int(sys.argv[1]), max_sessions=8) as server:
        print(f"listening on {server.address}", flush=True)
        with suppress(KeyboardInterrupt):
            server.wait_closed()
