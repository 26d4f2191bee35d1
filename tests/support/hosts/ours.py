"""A host of this package."""

import json
import sys
from typing import Any

from hsms_engine import Message, blocking
from hsms_engine.messages import (
    S1F11,
    S1F13,
    S1F17,
    S1F23,
    S2F31,
    S2F33,
    S2F35,
    S2F37,
    S2F41,
    S6F12,
)
from tests.support.hosts import EVENTS, PATIENCE, PROGRAM, TIME, VARIABLES


def main(port: int) -> None:
    acknowledged: list[tuple[str, Any]] = []
    happened = []
    with blocking.open_hsms("127.0.0.1", port, timeout=PATIENCE) as tool:

        def ask(primary: Message) -> Any:
            reply = tool.request(primary, timeout=PATIENCE)
            assert reply.item is not None
            return reply.item.to_python()

        def command(primary: Message) -> None:
            told = ask(primary)
            code = told if isinstance(told, bytes) else told[0]
            acknowledged.append((primary.name, code[0]))

        command(S1F13())
        command(S1F17())
        command(S2F31(TIME))
        command(S2F37(False))
        command(S2F33(0, {}))
        variables = {name: svid for svid, name, _ in ask(S1F11())}
        events = {name: ceid for ceid, name, _ in ask(S1F23())}
        wanted = [variables[name] for name in VARIABLES]
        command(S2F33(1, {7: wanted}))
        command(S2F35(1, {events[name]: [7] for name in EVENTS}))
        command(S2F37(True, *(events[name] for name in EVENTS)))
        command(S2F41("PP-SELECT", {"PPID": PROGRAM}))
        command(S2F41("START"))
        names = {ceid: name for name, ceid in events.items()}
        for _ in EVENTS:
            event = tool.receive(timeout=PATIENCE)
            assert event.item is not None
            _, ceid, reports = event.item.to_python()
            tool.reply(event, S6F12(0))
            ((_, values),) = reports
            happened.append((names[ceid], dict(zip(VARIABLES, values, strict=True))))
    print(json.dumps({"acknowledged": acknowledged, "events": happened}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
