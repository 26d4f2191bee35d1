"""``python -m benchmarks.simulator``: what a simulated tool costs.

Round trips over TCP with the tool and its host in processes of their own; rules that do not match;
the memory of many tools in one process. It needs Linux, because memory is read in ``/proc``.
"""

from __future__ import annotations

import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import trio

from benchmarks.faults import raw
from benchmarks.faults.processes import child, heard, worker
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.fake.rules.book import RuleBook
from hsms_engine.fake.rules.live import LiveRules
from hsms_engine.fake.rules.rule import OnMessage, Rule
from hsms_engine.fake.rules.stage import Stage
from hsms_engine.message import Message
from hsms_engine.messages import S1F3, S1F13, S2F33, S2F35, S2F37, S2F41
from hsms_engine.secs2 import U4
from hsms_engine.sml import parse_pattern
from hsms_engine.wire import data_frame, encode

_ROUNDS, _ROUND_SECONDS = 5, 0.6
_VARIABLES = 100
_FIRST_ID = 1000
_TOOLS = 200
_RULE_ROUNDS, _MESSAGES = 20, 200


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _round_trips(Path(folder))
        _rules()
        _memory(Path(folder))


# Round trips


def _tool_with_variables(*, has_clock: bool) -> str:
    svids = range(_FIRST_ID, _FIRST_ID + _VARIABLES)
    values = [f"[variable.{each}]\nvalue = '<U4 {each}>'\n" for each in svids]
    if has_clock:
        values[0] = f'[variable.{_FIRST_ID}]\nsource = "clock"\n'
    return "".join(values)


def _round_trips(folder: Path) -> None:
    print(f"1. S1F3 with {_VARIABLES} variables over TCP, tool and host in two processes")
    print("   aim: 3,000 a second on one core\n")
    print("   values              in flight    a second    CPU of the tool, us")
    for name, has_clock in (("unchanged", False), ("one is the clock", True)):
        file = folder / "variables.toml"
        file.write_text(_tool_with_variables(has_clock=has_clock), encoding="utf-8")
        with child(_serve, str(file)) as tool, worker(_asked) as host:
            port = tool.hear()
            for in_flight in (1, 8, 64):
                rates, costs = [], []
                for _ in range(_ROUNDS):
                    before = tool.ask("cpu")
                    host.tell((port, in_flight, _ROUND_SECONDS))
                    count, took = host.hear()
                    costs.append((tool.ask("cpu") - before) / count)
                    rates.append(count / took)
                print(
                    f"   {name:17}{in_flight:12}{statistics.median(rates):12,.0f}"
                    f"{statistics.median(costs) * 1e6:23.0f}",
                    flush=True,
                )


async def _serve_tool(pipe: Connection, file: str) -> None:
    async with trio.open_nursery() as nursery:
        tool: FakeEquipment = await nursery.start(partial(serve_fake, tool=file, port=0))
        pipe.send(tool.port)
        while True:
            await heard(pipe)
            pipe.send(time.process_time())


def _serve(pipe: Connection, file: str) -> None:
    """Be the tool of this file: tells its port, and when asked how much CPU it has had."""
    trio.run(_serve_tool, pipe, file)


def _asked(port: int, in_flight: int, seconds: float) -> tuple[int, float]:
    """Ask S1F3 again and again; how many replies came, and in what time."""
    body = S1F3(*map(U4, range(_FIRST_ID, _FIRST_ID + _VARIABLES))).body
    frames = [encode(data_frame(0, 1, 3, True, number, body)) for number in range(in_flight)]
    size = len(frames[0])
    # Twice all, so that those after any one of them are one piece.
    requests = b"".join(frames) * 2
    with raw.selected(port) as peer:
        peer.sendall(frames[0])
        # All replies are as long as the first.
        reply = 4 + len(_frame(peer))
        begun = time.monotonic()
        peer.sendall(requests[: in_flight * size])
        asked, read = in_flight, 0
        while read < asked * reply:
            data = peer.recv(1 << 20)
            if not data:
                raise ConnectionResetError("the tool has closed")
            first, read = read // reply, read + len(data)
            came = read // reply - first
            if time.monotonic() - begun < seconds:
                begin = first % in_flight * size
                peer.sendall(requests[begin : begin + came * size])
                asked += came
        return asked, time.monotonic() - begun


def _frame(peer: socket.socket) -> bytes:
    """The next frame, without its length."""
    return _read(peer, int.from_bytes(_read(peer, 4), "big"))


def _read(peer: socket.socket, count: int) -> bytes:
    data = peer.recv(count, socket.MSG_WAITALL)
    if len(data) < count:
        raise ConnectionResetError("the tool has closed")
    return data


# Rules


def _rules() -> None:
    print("\n2. S2F41 that no rule matches: the command of all differs, or only a value at the end")
    print("   aim: 5 us a rule\n")
    # It is done once for a message, by the first rule.
    reading = _seconds(lambda message: message.item)
    print("   rules    us a message: command    value    us a rule: command    value")
    for count in (1, 10, 100):
        command, value = (
            _seconds(_rules_of([text.format(number) for number in range(count)]).answer)
            for text in (
                'S2F41 W <L [2] <A "C-{}"> _>',
                'S2F41 W <L [2] <A "START"> <L [2] _ <L [2] _ <A "L-{}">>>>',
            )
        )
        print(
            f"   {count:5}{command * 1e6:25.1f}{value * 1e6:9.1f}"
            f"{(command - reading) / count * 1e6:22.2f}{(value - reading) / count * 1e6:9.2f}",
            flush=True,
        )
    print(f"   reading the message alone: {reading * 1e6:.1f} us")


def _rules_of(patterns: list[str]) -> LiveRules:
    rules = [Rule(each, OnMessage(parse_pattern(each))) for each in patterns]
    # A rule that does not match asks nothing of its tool.
    return LiveRules(RuleBook(rules), cast(Stage, None), time.monotonic)


def _seconds(take: Callable[[Message], object]) -> float:
    """Of CPU, to take a message as it comes, the best of many rounds."""
    body = S2F41("START", {"PPID": "RECIPE-1", "LOTID": "L-17-A"}).body
    best = float("inf")
    for _ in range(_RULE_ROUNDS):
        messages = [Message(2, 41, True, body=body) for _ in range(_MESSAGES)]
        begun = time.process_time()
        for each in messages:
            take(each)
        best = min(best, (time.process_time() - begun) / _MESSAGES)
    return best


# Memory


def _memory(folder: Path) -> None:
    print(
        f"\n3. Memory of tools of one file, the one that comes with the package, behind one port,\n"
        f"   before and after a host has set each of them up; aim: 150 MB for {_TOOLS}\n"
    )
    (folder / "one.toml").write_bytes((files("hsms_engine.fake") / "default.toml").read_bytes())
    (folder / "many.toml").write_text(
        f'[tools.TOOL]\nfile = "one.toml"\nsession_id = 0\ncount = {_TOOLS}\n', encoding="utf-8"
    )
    print("   tools    process, MB    after the set-up, MB")
    for name, count in (("one.toml", 1), ("many.toml", _TOOLS)):
        with child(_serve, str(folder / name)) as tool:
            port = tool.hear()
            before = tool.memory()
            _set_up(port, range(count))
            print(f"   {count:5}{before / 1e6:15.1f}{tool.memory() / 1e6:24.1f}", flush=True)


def _set_up(port: int, session_ids: Iterable[int]) -> None:
    """What a host asks at its start, of each tool behind the port."""
    primaries = [
        S1F13(),
        S2F33(0, {}),
        S2F33(1, {7: [1001, 1004, 1005]}),
        S2F35(1, {102: [7], 103: [7], 104: [7]}),
        S2F37(True),
        S1F3(),
    ]
    with raw.selected(port) as peer:
        for session_id in session_ids:
            for number, each in enumerate(primaries):
                frame = data_frame(session_id, each.stream, each.function, True, number, each.body)
                peer.sendall(encode(frame))
                header = _frame(peer)[:10]
                assert header[2:4] == bytes([each.stream, each.function + 1]), header


if __name__ == "__main__":
    main()
