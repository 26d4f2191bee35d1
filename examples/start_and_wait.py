"""Start a tool and wait until it reports the event 4010, at most so many seconds.

python start_and_wait.py 10.1.2.3 5000 60
"""

import sys
from time import monotonic

from hsms_engine import HsmsError, Message, blocking
from hsms_engine.messages import S1F13, S2F41, S5F2, S6F12
from hsms_engine.secs2 import L, Numeric

FINISHED = 4010
REPLIES = {"S5F1": S5F2(), "S6F11": S6F12()}


def wait_for_event(tool: blocking.HsmsConnection, ceid: int, timeout: float) -> Message:
    """The event report of this id. What comes before it is answered and left."""
    end = monotonic() + timeout
    while True:
        primary = tool.receive(timeout=max(0.0, end - monotonic()))
        if primary.wait:
            tool.reply(primary, REPLIES.get(primary.name, Message(primary.stream, 0)))
        match primary.name, primary.item:
            case "S6F11", [_, Numeric(got), L()] if got == ceid:
                return primary


def main(host: str, port: int, timeout: float) -> None:
    try:
        with blocking.open_hsms(host, port, timeout=10) as tool:
            for message in (S1F13(), S2F41("START")):
                print(tool.request(message, timeout=10).sml())
            print(wait_for_event(tool, FINISHED, timeout).sml())
    except (HsmsError, TimeoutError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("not waited for its end")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
