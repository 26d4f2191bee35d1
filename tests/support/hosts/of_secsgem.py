"""A host of secsgem."""

import json
import queue
import sys
from typing import Any

import secsgem.common
import secsgem.gem
import secsgem.hsms
from secsgem.secs.functions.base import SecsStreamFunction

from tests.support.hosts import EVENTS, PATIENCE, PROGRAM, TIME, VARIABLES


class S2F31(SecsStreamFunction):  # type: ignore[misc]  # comes without types
    """Date and time set, which secsgem does not have."""

    _stream, _function = 2, 31
    _data_format = "< TIME >"
    _to_host, _to_equipment = False, True
    _has_reply, _is_reply_required, _is_multi_block = True, True, False


class S2F32(SecsStreamFunction):  # type: ignore[misc]  # comes without types
    """Its acknowledge; TIACK is a byte, as ACKC6 is."""

    _stream, _function = 2, 32
    _data_format = "< ACKC6 >"
    _to_host, _to_equipment = True, False
    _has_reply, _is_reply_required, _is_multi_block = False, False, False


def main(port: int) -> None:
    settings = secsgem.hsms.HsmsSettings(
        address="127.0.0.1",
        port=port,
        connect_mode=secsgem.hsms.HsmsConnectMode.ACTIVE,
        device_type=secsgem.common.DeviceType.HOST,
        session_id=0,
    )
    settings.streams_functions.update(S2F31)
    settings.streams_functions.update(S2F32)
    host = secsgem.gem.GemHostHandler(settings)
    came: queue.Queue[dict[str, Any]] = queue.Queue()
    host.events.collection_event_received += came.put
    acknowledged: list[tuple[str, Any]] = []
    happened = []

    def ask(stream: int, function: int, value: object = None) -> Any:
        primary = host.stream_function(stream, function)(value)
        return settings.streams_functions.decode(host.send_and_waitfor_response(primary)).get()

    def command(stream: int, function: int, value: object = None) -> None:
        told = ask(stream, function, value)
        code = next(iter(told.values())) if isinstance(told, dict) else told
        acknowledged.append((f"S{stream}F{function}", code))

    host.enable()
    # It asks S1F13 by itself.
    assert host.waitfor_communicating(PATIENCE)
    command(1, 13)
    command(1, 17)
    command(2, 31, TIME)
    command(2, 37, {"CEED": False, "CEID": []})
    command(2, 33, {"DATAID": 0, "DATA": []})
    variables = {each["SVNAME"]: each["SVID"] for each in ask(1, 11, [])}
    events = {each["CENAME"]: each["CEID"] for each in ask(1, 23, [])}
    wanted = [variables[name] for name in VARIABLES]
    host.report_subscriptions[7] = wanted
    command(2, 33, {"DATAID": 1, "DATA": [{"RPTID": 7, "VID": wanted}]})
    links = [{"CEID": events[name], "RPTID": [7]} for name in EVENTS]
    command(2, 35, {"DATAID": 1, "DATA": links})
    command(2, 37, {"CEED": True, "CEID": [events[name] for name in EVENTS]})
    select = {"CPNAME": "PPID", "CPVAL": PROGRAM}
    command(2, 41, {"RCMD": "PP-SELECT", "PARAMS": [select]})
    command(2, 41, {"RCMD": "START", "PARAMS": []})
    names = {ceid: name for name, ceid in events.items()}
    for _ in EVENTS:
        event = came.get(timeout=PATIENCE)
        values = [each["value"] for each in event["values"]]
        happened.append((names[event["ceid"].get()], dict(zip(VARIABLES, values, strict=True))))
    host.disable()
    print(json.dumps({"acknowledged": acknowledged, "events": happened}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
