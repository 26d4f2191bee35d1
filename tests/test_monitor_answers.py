"""What the page is told: links, messages, events, time lines, as JSON that no message can break."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine import Settings
from hsms_engine.monitor import looking
from hsms_engine.monitor.answers import Answers, Source
from hsms_engine.monitor.errors import RefusedError
from hsms_engine.monitor.history import FileHistory, LiveHistory
from hsms_engine.monitor.serve import _json
from hsms_engine.recording import (
    ChartState,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HopRecord,
    Json,
    LinkRecord,
    Record,
    SettingsRecord,
    StepRecord,
    head,
    line_of,
    plain_settings,
    record_of,
)
from tests.support.recorded import RECORDS
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

NOW = 1_000.0
HEAD = head(0.0, 0.0, "a1b2")
TEXTS = "<script>alert(1)</script>", "\u2028\x00\x1f\x7f\ud800 \U0001f600", "a\r\n\ndata: x\n\n"


def link(wall: float = 10.0, **changes: Any) -> LinkRecord:
    states = {
        "connection_active": ChartState("waiting", {}),
        "breaker": ChartState("breaker_closed", {"failures": 2}),
    }
    settings = plain_settings(Settings(host="tool"))
    timers = {"t5": wall - 10 + 7, "t8": math.inf}
    made = LinkRecord(
        wall - 10, wall, 1, 3, "tool-7", "10.0.0.1:5000", "active", settings, states, timers
    )
    return replace(made, **changes)


def frame(
    wall: float,
    start: str,
    body: bytes = b"",
    *,
    sent: bool = True,
    seconds: float | None = None,
    **more: Any,
) -> FrameRecord:
    data = bytes.fromhex(start) + body
    length = len(data) + 4
    return FrameRecord(wall, wall, 1, 3, sent, data, length, seconds=seconds, **more)


def answers(*records: Record, more: Sequence[Source] = ()) -> Answers:
    history = LiveHistory()
    for record in (HEAD, *records):
        history.take(record)
    return Answers([Source("live", "live", history), *more], lambda: NOW)


async def ask(asked: Answers, path: str, **query: str) -> Any:
    """The answer after it was JSON."""
    return json.loads(_json(await asked.get(f"/api/{path}", query)))


async def message(record: FrameRecord) -> Any:
    (found,) = (await ask(answers(record), "link/0-0/messages"))["messages"]
    return found


@pytest.mark.parametrize(
    ("encoding", "sml"),
    [
        ("gb18030", '<A "\u664b">'),
        ("utf-16", "<A 0xBD 0xFA>"),
        ("no such", "<A 0xBD 0xFA>"),
        (7, "<A 0xBD 0xFA>"),
    ],
)
async def test_text_is_read_as_the_settings_of_the_link_say(encoding: Json, sml: str) -> None:
    body = b"\x41\x02" + "\u664b".encode("gb18030")
    asked = answers(
        link(settings={"text_encoding": encoding}), frame(11.0, "0000 0101 0000 00000007", body)
    )
    (found,) = (await ask(asked, "link/0-0/messages"))["messages"]
    assert found["sml"] == sml
    (told,) = (await ask(asked, "link/0-0/stretch", **{"from": "10.5"}))["entries"]
    assert told["sml"] == sml
    searched = await ask(asked, "link/0-0/messages", text="\u664b")
    assert len(searched["messages"]) == (encoding == "gb18030")


# The overview


async def test_a_row_has_what_is_known_of_a_link() -> None:
    found = await ask(answers(link()), "links")
    assert found["now"] == NOW
    assert found["sources"] == [
        {"source": 0, "name": "live", "kind": "live", "read": 1.0, "notes": []}
    ]
    assert found["counts"] == {"lost": 0, "unread": 0, "forgotten": 0, "late": 0}
    (row,) = found["links"]
    bound = Settings(host="tool").recovery_bound()
    assert row == {
        "key": "0-0",
        "source": 0,
        "name": "tool-7",
        "peer": "10.0.0.1:5000",
        "role": "active",
        "server": None,
        "state": "waiting",
        "phase": "waiting",
        "since": 10.0,
        "breaker": "breaker_closed",
        "lease": None,
        "next_attempt": 17.0,
        "round_trip": None,
        "recovery_bound": bound.seconds,
        "recovery_condition": bound.about,
        "last_error": None,
        "is_gone": False,
        "wall": 10.0,
    }


@pytest.mark.parametrize(
    ("leaves", "timers", "expected"),
    [
        ("waiting", {"t5": 5.0}, 15.0),
        ("waiting", {"t5": 5.0, "open_time": 9.0}, 19.0),
        ("blocked", {"open_time": 9.0}, 19.0),
        ("blocked", {"open_time": math.inf}, None),
        ("waiting", {}, None),
        ("waiting", {"t6": 5.0}, None),
        ("connecting", {"t5": 5.0}, None),
        ("of another version", {"t5": 5.0}, None),
    ],
)
async def test_the_next_attempt_is_told_while_it_is_waited_for(
    leaves: str, timers: dict[str, float], expected: float | None
) -> None:
    states = {"connection_active": ChartState(leaves, {})}
    (row,) = (await ask(answers(link(timers=timers, states=states)), "links"))["links"]
    assert row["next_attempt"] == expected
    assert row["breaker"] is None


async def test_what_is_not_known_is_null() -> None:
    (row,) = (await ask(answers(frame(5.0, "ffff 0000 0005 00000001")), "links"))["links"]
    unknown = ("role", "state", "phase", "since", "breaker", "recovery_bound", "last_error")
    assert [row[each] for each in unknown] == [None] * 7
    assert row["name"] == "link 1"


async def test_a_connection_that_a_server_has_accepted_does_not_come_back_by_itself() -> None:
    (row,) = (await ask(answers(link(server="line-3", role="passive")), "links"))["links"]
    assert (row["recovery_bound"], row["recovery_condition"]) == (None, None)


async def test_the_bound_is_that_of_the_settings_in_force() -> None:
    asked = answers(link(), SettingsRecord(11.0, 11.0, 1, 3, {"t5": 240.0}))
    (row,) = (await ask(asked, "links"))["links"]
    assert row["recovery_bound"] == Settings(host="tool", t5=240.0).recovery_bound().seconds


_odd: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
) | st.sampled_from((10**400, -(10**400), 1e300, "x" * 300, [[]], {"a": []}))
NAMES = sorted(plain_settings(Settings(host="tool")))


@given(changed=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), _odd, max_size=3))
def test_any_settings_are_answered(changed: dict[str, Any]) -> None:
    async def check() -> None:
        line = line_of(SettingsRecord(11.0, 11.0, 1, 3, changed))
        asked = answers(link(), record_of(line.encode())[0])
        await ask(asked, "links")
        await ask(asked, "link/0-0")
        await ask(asked, "link/0-0/events")

    trio.run(check)


# Any records


@given(records=st.lists(RECORDS, max_size=12))
def test_any_records_are_answered_as_json(records: list[Record]) -> None:
    async def check() -> None:
        asked = answers(*records)
        for each in (await ask(asked, "links"))["links"]:
            path = f"link/{each['key']}"
            first = (await ask(asked, path))["first"]
            await ask(asked, path, at=str(first))
            for inner in ("messages", "events", "timeline", "stretch"):
                await ask(asked, f"{path}/{inner}")
            await ask(asked, f"{path}/messages", text="s")
        changes = asked.changes("0-0")
        for name, told in await changes.next():
            assert name in ("links", "link")
            _json(told)

    trio.run(check)


@given(
    start=st.binary(min_size=10, max_size=10),
    is_data=st.booleans(),
    body=st.binary(max_size=60) | st.binary(max_size=9).map(lambda each: each * 600),
    seconds=st.none() | st.floats(0, 9),
)
def test_any_frame_is_a_message(
    start: bytes, is_data: bool, body: bytes, seconds: float | None
) -> None:
    async def check() -> None:
        data = start[:4] + (b"\x00\x00" if is_data else start[4:6]) + start[6:] + body
        asked = answers(FrameRecord(1.0, 1.0, 1, 1, False, data, 99, seconds=seconds))
        (found,) = (await ask(asked, "link/0-0/messages", text=""))["messages"]
        assert found["system"] == start[6:].hex()
        assert "F-" not in json.dumps(found["tied"])
        await ask(asked, "link/0-0/messages", text="x", filter="S*F*")

    trio.run(check)


@pytest.mark.parametrize("text", TEXTS)
async def test_no_text_breaks_what_is_told(text: str) -> None:
    body = bytes([0x41, len(text.encode("utf-8", "replace"))]) + text.encode("utf-8", "replace")
    hop = HopRecord(text, text, text, text, {text: 1})
    asked = answers(
        link(name=text, peer=text, server=text, settings={text: text}),
        frame(11.0, "0000 0101 0000 00000007", body, passed_over=text, tolerated=(text,)),
        StepRecord(12.0, 12.0, 1, 3, text, (hop,), (text,), {text: 5.0}),
        EventRecord(13.0, 13.0, 1, 3, text, {text: text}),
        ErrorRecord(14.0, 14.0, 1, 3, text, text),
    )
    changes = asked.changes("0-0")
    for name, told in await changes.next():
        line = f"event: {name}\ndata: {_json(told).decode('ascii')}\n\n"
        assert line.count("\n") == 3
        assert "\r" not in line
    assert (await ask(asked, "links"))["links"][0]["name"] == text
    for path in ("", "/messages", "/events", "/stretch", "/timeline"):
        encoded = _json(await asked.get(f"/api/link/0-0{path}", {}))
        assert all(32 <= each < 127 for each in encoded)


# One link


async def test_the_details_of_a_link() -> None:
    step = StepRecord(
        1.0,
        11.0,
        1,
        3,
        "t5_expired",
        (HopRecord("connection_active", "go", "waiting", "a + b", {"misses": 1}),),
        ("Dial",),
        {"t6": 6.0, "t8": math.inf},
    )
    other = replace(HEAD, charts={**HEAD.charts, "breaker": "0" * 64})
    found = await ask(answers(other, link(), step), "link/0-0")
    assert (found["at"], found["epoch"], found["records"]) == (NOW, 3, 2)
    assert (found["first"], found["last"], found["is_live"]) == (10.0, 11.0, True)
    assert found["charts"] == [
        {
            "chart": "connection_active",
            "leaves": ["a", "b"],
            "values": {"misses": 1},
            "since": 11.0,
            "is_known": True,
        },
        {
            "chart": "breaker",
            "leaves": ["breaker_closed"],
            "values": {"failures": 2},
            "since": 10.0,
            "is_known": False,
        },
    ]
    # The clock went on since the latest record.
    assert found["timers"] == [
        {"timer": "t6", "left": 5.0 - (NOW - 11.0), "of": 5.0},
        {"timer": "t8", "left": None, "of": 5.0},
    ]
    assert found["last_step"] == {
        "wall": 11.0,
        "event": "t5_expired",
        "hops": [
            {
                "chart": "connection_active",
                "event": "go",
                "from": ["waiting"],
                "to": ["a", "b"],
            }
        ],
        "effects": ["Dial"],
    }
    assert found["settings"]["t6"] == 5.0
    # At a time before, as then.
    then = await ask(answers(link(), step), "link/0-0", at="10.5")
    assert (then["at"], then["is_live"], then["last_step"]) == (10.5, False, None)
    assert then["row"]["state"] == "waiting"
    assert then["timers"][0] == {"timer": "t5", "left": 6.5, "of": 10.0}


async def test_a_file_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(line_of(HEAD) + line_of(link()), encoding="utf-8")
    history = FileHistory([path])
    source = Source("a.jsonl", "file", history)
    asked = answers(more=[source])
    assert [each["read"] for each in (await ask(asked, "links"))["sources"]] == [1.0, 0.0]
    history.read_more(9)
    found = await ask(asked, "link/1-0")
    assert (found["at"], found["is_live"], found["timers"][0]["left"]) == (10.0, False, 7.0)


async def test_a_link_may_be_forgotten_while_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = [("link/0-0", {"at": "10"}), ("link/0-0/stretch", {}), ("link/0-0/timeline", {})]
    paths += [("link/0-0/messages", {"text": "x"}), ("link/0-0/events", {})]
    for path, query in paths:
        history = LiveHistory(budget=3_000)
        for record in (HEAD, link(), frame(11.0, "0000 0101 0000 00000007"), link(12.0)):
            history.take(record)
        asked = Answers([Source("live", "live", history)], lambda: NOW)

        def forget(history: LiveHistory = history) -> None:
            history.take(GoneRecord(13.0, 13.0, 1, 3))
            for wall in range(20):
                history.take(link(20.0 + wall, link=2))
            assert 0 not in history.links

        async def turn(self: looking.Turn, *, weight: int = 1, forget: Any = forget) -> None:
            self.count += weight
            await trio.lowlevel.checkpoint()
            forget()

        monkeypatch.setattr(looking.Turn, "next", turn)
        await ask(asked, path, **query)
        with pytest.raises(RefusedError, match="there is no link 0-0, or it is kept no more"):
            await ask(asked, path)


@pytest.mark.parametrize(
    "key",
    ["", "0", "0-", "-0", "-", "0-1", "1-0", "a-0", "0-a", "0-0-0", "0-\u0661", f"0-{'9' * 30}"],
)
async def test_a_key_of_no_link_is_told(key: str) -> None:
    for path in ("", "/messages", "/events", "/timeline", "/stretch"):
        with pytest.raises(RefusedError, match="there is no ") as caught:
            await ask(answers(link()), f"link/{key}{path}")
        assert caught.value.status == 404


@pytest.mark.parametrize(
    ("path", "name", "value", "why"),
    [
        ("", "at", "x", "at='x' is no number of seconds"),
        ("", "at", "nan", "at='nan' is no number of seconds"),
        ("", "at", "", "at='' is no number of seconds"),
        ("/messages", "until", "inf", "until='inf' is no number of seconds"),
        ("/events", "until", "-inf", "until='-inf' is no number of seconds"),
        ("/messages", "before", "-1", "before='-1' is no whole number"),
        ("/messages", "before", "1.5", "before='1.5' is no whole number"),
        ("/events", "before", "9" * 19, f"before='{'9' * 19}' is no whole number"),
        ("/messages", "count", "\u0661", "count='\u0661' is no whole number"),
        ("/stretch", "count", "", "count='' is no whole number"),
        ("/messages", "filter", "[" * 201, "filter is longer than 200 characters"),
        ("/messages", "direction", "up", "direction='up' is not sent or received"),
        ("/timeline", "from", "1e999", "from='1e999' is no number of seconds"),
        ("/timeline", "to", "x", "to='x' is no number of seconds"),
        ("/timeline", "from", "11", "from=11.0 is later than to=10.0"),
        ("/stretch", "to", "9", "from=10.0 is later than to=9.0"),
    ],
)
async def test_what_is_asked_wrongly_is_told(path: str, name: str, value: str, why: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await ask(answers(link()), f"link/0-0{path}", **{name: value})
    assert (caught.value.status, str(caught.value)) == (400, why)


@pytest.mark.parametrize("number", ["-1e300", "1e300", "0", "-5"])
async def test_times_far_away_are_times(number: str) -> None:
    asked = answers(link(), frame(11.0, "0000 0101 0000 00000007"))
    await ask(asked, "link/0-0", at=number)
    for path in ("messages", "events"):
        found = await ask(asked, f"link/0-0/{path}", until=number)
        assert bool(found[path]) == (float(number) > 11)
    far = {"from": f"-{number.lstrip('-')}", "to": number.lstrip("-")}
    if number.lstrip("-") != "0":
        assert (await ask(asked, "link/0-0/timeline", **far))["is_exact"]
        await ask(asked, "link/0-0/stretch", **far)


# Messages


async def test_a_message_has_its_header_and_its_body() -> None:
    found = await message(
        frame(11.0, "0005 8101 0000 0000002a", b"\x41\x02ab", tolerated=("w_in_reply",))
    )
    assert found == {
        "kind": "frame",
        "id": "1",
        "wall": 11.0,
        "epoch": 3,
        "sent": True,
        "name": "S1F1",
        "w": True,
        "session": 5,
        "system": "0000002a",
        "length": 18,
        "sml": '<A "ab">',
        "is_cut": False,
        "body": None,
        "passed_over": None,
        "tolerated": ["w_in_reply"],
        "tied": None,
    }


@pytest.mark.parametrize(
    ("start", "name", "w"),
    [
        ("ffff 0000 0001 00000001", "Select.req", False),
        ("ffff 8003 0002 00000001", "Select.rsp 3", False),
        ("ffff 8100 0005 00000001", "Linktest.req", False),
        ("0000 8101 0500 00000001", "PType 5 SType 0", False),
        ("0000 8101 0063 00000001", "SType 99", False),
    ],
)
async def test_what_is_no_data_has_no_sml(start: str, name: str, w: bool) -> None:
    found = await message(frame(11.0, start, b"\x41\x02ab"))
    assert (found["name"], found["w"], found["sml"], found["is_cut"]) == (name, w, None, False)


@pytest.mark.parametrize("body", ["left out", "not kept", "masked"])
async def test_a_body_that_is_not_there_is_told(
    body: Literal["left out", "not kept", "masked"],
) -> None:
    record = frame(11.0, "0000 0101 0000 00000001")
    found = await message(replace(record, body=body))
    assert found["body"] == body
    assert found["sml"] == ("" if body == "masked" else None)


async def test_a_body_that_is_no_secs_ii_is_shown_as_bytes() -> None:
    found = await message(frame(11.0, "0000 0101 0000 00000001", b"\x41\x09a"))
    assert found["sml"].startswith("no SECS-II, ")
    assert not found["is_cut"]


async def test_several_items_are_several_lines_and_a_long_body_is_cut() -> None:
    found = await message(frame(11.0, "0000 0101 0000 00000001", b"\x41\x01a\x41\x01b"))
    assert found["sml"] == '<A "a">\n<A "b">'
    body = b"\x42\x20\x00" + b"x" * 0x2000
    found = await message(frame(11.0, "0000 0101 0000 00000001", body))
    assert found["is_cut"]
    assert len(found["sml"]) <= 2_000


@pytest.mark.parametrize(
    ("reply", "request_name"),
    [
        ("0000 0102 0000 00000001", "S1F1"),
        ("0000 0100 0000 00000001", "S1F?"),
        ("ffff 0000 0002 00000001", "Select.req"),
        ("ffff 0000 0004 00000001", "Deselect.req"),
        ("ffff 0000 0006 00000001", "Linktest.req"),
        ("ffff 0001 0007 00000001", "request"),
        ("ffff 0000 0500 00000001", "request"),
    ],
)
async def test_a_reply_names_its_request(reply: str, request_name: str) -> None:
    found = await message(frame(11.0, reply, sent=False, seconds=0.5))
    assert found["tied"] == {"name": request_name, "wall": 10.5, "seconds": 0.5}


async def test_a_request_names_its_reply() -> None:
    asked = answers(
        frame(11.0, "0000 8101 0000 00000001"),
        frame(11.5, "0000 0102 0000 00000001", sent=False, seconds=0.5),
    )
    reply, request = (await ask(asked, "link/0-0/messages"))["messages"]
    assert reply["tied"] == {"name": "S1F1", "wall": 11.0, "seconds": 0.5}
    assert request["tied"] == {"name": "S1F2", "wall": 11.5, "seconds": 0.5}


FRAMES = (
    frame(11.0, "0000 8601 0000 00000001", b"\x41\x05Alarm"),
    frame(12.0, "0000 060b 0000 00000002", sent=False),
    frame(13.0, "0000 010d 0000 00000003"),
    frame(14.0, "ffff 0000 0001 00000004"),
    frame(15.0, "ffff 0003 0002 00000004", sent=False),
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [15, 14, 13, 12, 11]),
        ({"filter": "S6F*"}, [12, 11]),
        ({"filter": "s6f11"}, [12]),
        ({"filter": "S*F13 select.req"}, [14, 13]),
        ({"filter": "Select.rsp"}, [15]),
        ({"filter": "Select*"}, [15, 14]),
        ({"filter": "S1F1"}, []),
        ({"filter": "[", "text": ""}, []),
        ({"direction": "sent"}, [14, 13, 11]),
        ({"direction": "received"}, [15, 12]),
        ({"text": "aLARM"}, [11]),
        ({"text": "select"}, [15, 14]),
        ({"text": "S6"}, [12, 11]),
        ({"text": "nothing"}, []),
        ({"until": "12.5"}, [12, 11]),
        ({"count": "2"}, [15, 14]),
        ({"count": "0"}, [15]),
        ({"count": "999999", "before": "4"}, [12, 11]),
        ({"direction": "sent", "filter": "S*F*", "text": "alarm"}, [11]),
    ],
)
async def test_messages_are_filtered(query: dict[str, str], expected: list[int]) -> None:
    found = await ask(answers(link(), *FRAMES), "link/0-0/messages", **query)
    assert [each["wall"] for each in found["messages"]] == expected
    if "count" not in query:
        assert found["older"] is None


@pytest.mark.parametrize("path", ["messages", "stretch"])
async def test_others_have_their_turn_between_two_bodies(path: str) -> None:
    # A body of many items takes milliseconds.
    asked = answers(link(), *(frame(float(wall), "0000 8101 0000 00000001") for wall in range(40)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await ask(asked, f"link/0-0/{path}")
        nursery.cancel_scope.cancel()
    assert turns >= 40


async def test_older_messages_are_asked_for_with_the_number_of_the_oldest() -> None:
    asked = answers(link(), *FRAMES)
    found: list[float] = []
    query: dict[str, str] = {}
    while True:
        page = await ask(asked, "link/0-0/messages", count="2", **query)
        found += [each["wall"] for each in page["messages"]]
        if page["older"] is None:
            break
        query = {"before": page["older"]}
    assert found == [15, 14, 13, 12, 11]


# Events


async def test_each_kind_of_event_is_one_line() -> None:
    error = {"error": "LostError", "text": "it went"}
    asked = answers(
        link(name=""),
        EventRecord(11.0, 11.0, 1, 3, "Waiting", {"error": error, "seconds": 1.5, "reason": None}),
        ErrorRecord(12.0, 12.0, 1, 3, "ReplyTimeoutError", "T3"),
        SettingsRecord(13.0, 13.0, 1, 3, {"t3": 20.0, "name": "x"}),
        StepRecord(13.5, 13.5, 1, 3, "go", (), (), {}),
        GoneRecord(14.0, 14.0, 1, 3),
    )
    found = await ask(asked, "link/0-0/events")
    assert [(each["kind"], each["name"], each["text"]) for each in found["events"]] == [
        ("gone", "gone", "it is recorded no more"),
        ("settings", "settings", "t3=20, name=x"),
        ("error", "ReplyTimeoutError", "T3"),
        ("event", "Waiting", "error: LostError: it went, seconds: 1.5, reason: none"),
        ("link", "link", "10.0.0.1:5000 is recorded from here on"),
    ]
    found = await ask(asked, "link/0-0/stretch")
    assert [each["kind"] for each in found["entries"]] == [
        "link",
        "event",
        "error",
        "settings",
        "step",
        "gone",
    ]
    assert (found["is_cut"], found["local"], found["remote"]) == (
        False,
        "10.0.0.1:5000",
        "10.0.0.1:5000",
    )
    assert (await ask(asked, "link/0-0/stretch", count="2"))["is_cut"]


# The time line


async def test_a_time_line_has_bands_and_ticks() -> None:
    def moved(wall: float, chart: str, to: str) -> StepRecord:
        hop = HopRecord(chart, "go", "x", to, {})
        return StepRecord(wall, wall, 1, 3, "go", (hop,), (), {})

    asked = answers(
        link(),
        frame(12.0, "0000 0101 0000 00000001"),
        moved(14.0, "connection_active", "communicating"),
        moved(16.0, "breaker", "isolated"),
        moved(18.0, "linktest", "quiet"),
        frame(20.0, "0000 0101 0000 00000002", sent=False),
    )
    found = await ask(asked, "link/0-0/timeline")
    assert (found["from"], found["to"], found["is_exact"]) == (10.0, 20.0, True)
    width = 10.0 / 511
    shown = [
        [round(band["from"], 9), round(band["to"], 9), band["state"], band["phase"]]
        for band in found["bands"]
    ]
    change = round(10.0 + int(4.0 / width) * width, 9)
    assert shown == [
        [10.0, change, "waiting", "waiting"],
        [change, 20.0, "communicating", "selected"],
    ]
    assert [band["state"] for band in found["breaker"]] == ["breaker_closed", "isolated"]
    assert [(each["sent"], each["received"]) for each in found["ticks"]] == [(1, 0), (0, 1)]
    # A part of it.
    part = await ask(asked, "link/0-0/timeline", **{"from": "15", "to": "17"})
    assert [(band["from"], band["to"]) for band in part["bands"]] == [(15.0, 17.0)]
    assert part["ticks"] == []


# What changes


def told(events: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    for name, each in events:
        if name == "links":
            yield name, [row["key"] for row in each["links"]] + [f"-{key}" for key in each["gone"]]
        else:
            yield name, [each["row"]["key"]]


async def test_changes_are_told_once() -> None:
    history = LiveHistory(budget=0)
    asked = Answers([Source("live", "live", history)], lambda: NOW)
    changes, of_one = asked.changes(), asked.changes("0-1")
    assert list(told(await changes.next())) == [("links", [])]
    assert await changes.next() == []
    for number in (1, 2):
        history.take(link(link=number))
    assert list(told(await changes.next())) == [("links", ["0-0", "0-1"])]
    assert list(told(await of_one.next())) == [("links", ["0-0", "0-1"]), ("link", ["0-1"])]
    history.take(frame(11.0, "0000 0101 0000 00000001"))
    # Not the link that is looked at.
    assert list(told(await of_one.next())) == [("links", ["0-0"])]
    history.take(replace(frame(11.0, "0000 0101 0000 00000001"), link=2))
    assert list(told(await of_one.next())) == [("links", ["0-1"]), ("link", ["0-1"])]
    history.take(GoneRecord(12.0, 12.0, 2, 3))
    history.take(link(13.0))
    assert list(told(await of_one.next())) == [("links", ["0-0", "-0-1"])]
    assert await of_one.next() == []
    # A count that changes alone.
    history.note("something")
    assert list(told(await of_one.next())) == [("links", [])]
    assert await asked.changes("nothing").next() != []


async def test_a_thousand_links_are_one_answer_and_hold_nobody_up() -> None:
    asked = answers(*(link(10.0, link=number) for number in range(1_000)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        assert len((await ask(asked, "links"))["links"]) == 1_000
        nursery.cancel_scope.cancel()
    assert turns > 400


async def test_of_links_that_are_kept_no_more_no_bound_is_kept() -> None:
    history = LiveHistory(budget=0)
    asked = Answers([Source("live", "live", history)], lambda: NOW)
    for number in range(20):
        history.take(link(link=number))
        await ask(asked, "links")
        history.take(GoneRecord(12.0, 12.0, number, 3))
    await ask(asked, "links")
    assert len(asked._bounds._known) == len(history.links) < 5


async def test_a_link_that_goes_while_changes_are_collected_is_told_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = LiveHistory(budget=0)
    history.take(link())
    changes = Answers([Source("live", "live", history)], lambda: NOW).changes("0-0")

    async def turn(self: looking.Turn, *, weight: int = 1) -> None:
        self.count += weight
        await trio.lowlevel.checkpoint()
        history.take(GoneRecord(12.0, 12.0, 1, 3))
        history.take(link(13.0, link=2))

    with monkeypatch.context() as patched:
        patched.setattr(looking.Turn, "next", turn)
        assert list(told(await changes.next())) == [("links", ["0-0"])]
    assert list(told(await changes.next())) == [("links", ["0-1", "-0-0"])]
