"""The log of this package is read back: each message with the bytes that it had."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine import Message, Settings, Traffic
from hsms_engine.driver.driver import Driver
from hsms_engine.log_reader import (
    CutMessage,
    Entry,
    LoggedControl,
    LoggedMessage,
    NotUnderstood,
    read_log,
)
from hsms_engine.logs import escaped
from hsms_engine.protocol.traffic import FOREIGN, UNEXPECTED, frame_name
from hsms_engine.secs2 import U4, A, B, L, encode
from hsms_engine.tolerances import TOLERANCES, Tolerance
from hsms_engine.traffic.logs import Logs
from hsms_engine.wire import Frame
from tests.support.items import items

FORMATS = (
    "%(asctime)s %(levelname)s %(message)s",
    "%(asctime)s %(levelname)s %(name)s %(message)s",
    "%(levelname)-8s [%(asctime)s] %(threadName)s: %(message)s",
    "%(name)s: %(message)s",
    "%(message)s",
)
ENCODINGS = ("gbk", "gb18030", "cp932", "cp949", "euc_jp", "big5hkscs", "latin-1", "utf-8")
FACTS = ("link", "epoch", "direction", "message_name", "wait", "session_id", "system_bytes")
MORE = ("length", "seconds", "passed_over", "body", "hex")


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = {name: vars(record)[name] for name in FACTS + MORE if name in vars(record)}
        line = {"time": record.created, "logger": record.name, "level": record.levelname}
        return json.dumps({**line, "text": record.getMessage(), **facts})


class Lines(logging.Handler):
    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def logged(formatter: logging.Formatter, level: int = logging.DEBUG) -> Iterator[list[str]]:
    """What is written to the log of messages in the block."""
    logger = logging.getLogger("hsms_engine.traffic")
    before, handler = (logger.level, logger.propagate), Lines(formatter)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def logs_of(name: str, **settings: Any) -> Callable[[Traffic], None]:
    """The log of one link of this name."""
    driver = SimpleNamespace(name=name, engine=SimpleNamespace(settings=Settings(**settings)))
    return Logs(cast(Driver, driver), None).passed


def traffic(
    message: Message,
    *,
    sent: bool,
    seconds: float | None = None,
    passed_over: str | None = None,
    tolerated: tuple[Tolerance, ...] = (),
) -> Traffic:
    session, system = message.session_id or 0, message.system_bytes or 0
    byte2 = message.stream | (0x80 if message.wait else 0)
    header = Frame(session, byte2, message.function, 0, 0, system, b"")
    length = 14 + len(message.body)
    return Traffic(1.0, 1, "peer", sent, header, length, message, passed_over, seconds, tolerated)


def messages(bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[Message]:
    return st.builds(
        Message.received,
        st.integers(0, 127),
        st.integers(0, 255),
        st.booleans(),
        bodies,
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFF_FFFF),
    )


def facts(message: Message) -> tuple[object, ...]:
    return (
        message.name, message.wait, message.session_id, message.system_bytes, message.body,
    )  # fmt: skip


# Some equipment sends several items.
SEVERAL = st.lists(items.map(encode), min_size=2, max_size=3).map(b"".join)
BODIES = st.just(b"") | items.map(encode) | SEVERAL | st.binary(max_size=40)
# As the header of a message in the log ends.
ENDS = st.fixed_dictionaries(
    {
        "sent": st.booleans(),
        "seconds": st.none() | st.floats(0, 1e6),
        "passed_over": st.none() | st.sampled_from([FOREIGN, UNEXPECTED]),
        "tolerated": st.lists(st.sampled_from(TOLERANCES), unique=True).map(tuple),
    }
)
NAMES = st.text(max_size=30) | st.sampled_from(
    [
        "etcher 10.1.2.3:5000 active",
        "x sent S1F1 W session=0 system=00000001 length=14",
        "x received S1F1 system=00000001 body: <A",
        "INFO DEBUG 2026-01-01 00:00:00",
        "{",
    ]
)
FORMATTERS = st.sampled_from([*(logging.Formatter(each) for each in FORMATS), JsonLines()])


@given(
    st.lists(
        st.tuples(messages(BODIES), ENDS, st.booleans()),
        max_size=4,
    ),
    st.tuples(NAMES, NAMES),
    st.booleans(),
    st.sampled_from([16, 40, 4096, 1_000_000]),
    FORMATTERS,
)
def test_what_is_logged_is_read_back(
    exchanged: list[tuple[Message, dict[str, Any], bool]],
    names: tuple[str, str],
    log_hex: bool,
    limit: int,
    formatter: logging.Formatter,
) -> None:
    two = [logs_of(name, log_body_bytes=limit, log_hex=log_hex) for name in names]
    with logged(formatter) as lines:
        for message, end, second in exchanged:
            two[second](traffic(message, **end))
    found: list[Entry] = sorted(
        (each for each in read_log(lines) if not isinstance(each, NotUnderstood)),
        key=lambda each: each.line,
    )
    assert len(found) == len(exchanged)
    for entry, (message, end, _) in zip(found, exchanged, strict=True):
        assert not isinstance(entry, NotUnderstood | LoggedControl)
        assert entry.direction == ("sent" if end["sent"] else "received")
        match entry:
            case LoggedMessage(message=read):
                exact = log_hex and len(message.body) <= limit
                assert facts(read)[:4] == facts(message)[:4]
                # SML does not say how many bytes a length has.
                is_same = read.body == message.body
                assert is_same or (not exact and read.items == message.items)
            case CutMessage():
                assert not log_hex or len(message.body) > limit
                assert (entry.name, entry.wait) == (message.name, message.wait)
                assert (entry.session_id, entry.system_bytes) == (
                    message.session_id,
                    message.system_bytes,
                )


@given(messages(items.map(encode) | SEVERAL), NAMES, FORMATTERS)
def test_a_body_that_is_wholly_logged_has_its_bytes(
    message: Message, name: str, formatter: logging.Formatter
) -> None:
    with logged(formatter) as lines:
        logs_of(name, log_body_bytes=1_000_000)(traffic(message, sent=True))
    [entry] = read_log(lines)
    assert isinstance(entry, LoggedMessage)
    assert facts(entry.message) == facts(message)


# Among them some with two codes, or with a byte that is a quote or a backslash in ASCII.
CHARACTERS = st.characters() | st.sampled_from("温度가각ソ表能äé€¥‾~\\\"'<>¬〜\ufffd\u3000\x85")


def bodies_in(encoding: str) -> st.SearchStrategy[bytes]:
    """Bodies with text in an encoding, and with bytes that are none."""
    text = st.text(CHARACTERS, max_size=20).map(lambda text: text.encode(encoding, "ignore"))
    some = (text | st.binary(max_size=20)).map(A) | items
    return st.lists(some, min_size=1, max_size=4).map(lambda each: encode(L(*each)))


@given(
    st.sampled_from(ENCODINGS).flatmap(
        lambda each: st.tuples(st.just(each), messages(bodies_in(each)))
    ),
    NAMES,
    FORMATTERS,
)
def test_text_is_read_back_to_its_bytes_in_the_encoding_of_its_link(
    encoded: tuple[str, Message], name: str, formatter: logging.Formatter
) -> None:
    encoding, message = encoded
    log = logs_of(name, log_body_bytes=1_000_000, text_encoding=encoding)
    with logged(formatter) as lines:
        log(traffic(message, sent=True))
    file = io.BytesIO("\n".join(lines).encode())
    for source in (lines, file):
        [entry] = read_log(source, text_encoding=encoding)
        assert isinstance(entry, LoggedMessage)
        assert facts(entry.message) == facts(message)
        assert entry.message.text_encoding == encoding
    # Without it, they are no other bytes.
    [entry] = read_log(lines)
    match entry:
        case LoggedMessage():
            assert facts(entry.message) == facts(message)
        case CutMessage():
            assert (entry.name, entry.system_bytes) == (message.name, message.system_bytes)
            assert "is not ASCII" in entry.why
            assert 'the link one: text_encoding="gbk"' in entry.why
        case _:
            pytest.fail(str(entry))


@pytest.mark.parametrize("formatter", [logging.Formatter(FORMATS[1]), JsonLines()])
def test_text_in_another_encoding_than_that_of_the_link_is_told(
    formatter: logging.Formatter,
) -> None:
    message = Message(10, 3, item=["温度", B(1)], text_encoding="gbk")
    katakana = Message(10, 3, body=b"\x46\x00\x01\xb1")
    with logged(formatter) as lines:
        log = logs_of("tool", text_encoding="gbk")
        log(traffic(message, sent=True))
        log(traffic(katakana, sent=True))
    cut, read, told = read_log(lines, text_encoding="utf-8")
    assert isinstance(cut, CutMessage)
    assert cut.text == '<L [2] <A "温度"> <B 0x01>>'
    assert cut.why == (
        "its body would have 13 bytes in utf-8, and its header says 11: give the text_encoding of "
        "the link; log_hex=True logs the bytes"
    )
    # What says itself how it is encoded is the same in each.
    assert isinstance(read, LoggedMessage)
    assert read.message.item == katakana.item
    assert isinstance(told, NotUnderstood)
    with logged(formatter) as lines:
        logs_of("tool", text_encoding="gbk", log_hex=True)(traffic(message, sent=True))
    [entry] = read_log(lines, text_encoding="utf-8")
    assert isinstance(entry, LoggedMessage)
    assert entry.message == message


@pytest.mark.parametrize("formatter", [logging.Formatter(FORMATS[1]), JsonLines()])
def test_control_messages_have_name_and_status(formatter: logging.Formatter) -> None:
    headers = [
        Frame(0xFFFF, 0, 0, 0, 1, 7, b""),
        Frame(0xFFFF, 0, 3, 0, 2, 7, b""),
        Frame(0xFFFF, 0, 4, 0, 7, 9, b""),
        Frame(0xFFFF, 0, 0, 0, 77, 9, b""),
        Frame(0xFFFF, 0, 0, 3, 5, 9, b""),
    ]
    with logged(formatter) as lines:
        log = logs_of("tool")
        for header in headers:
            log(Traffic(0.0, 1, "peer", True, header, 14, None, "no reason", 0.5))
    found = list(read_log(lines))
    assert [
        (each.name, each.session_id, each.system_bytes, each.line)
        for each in found
        if isinstance(each, LoggedControl)
    ] == [
        (frame_name(header), 0xFFFF, header.system_bytes, line)
        for line, header in enumerate(headers, 1)
    ]


def test_times_are_those_of_the_records() -> None:
    with logged(logging.Formatter(FORMATS[0])) as lines, logged(JsonLines()) as objects:
        logs_of("tool")(traffic(Message(1, 1, wait=True), sent=True))
    [text] = read_log(lines)
    [record] = read_log(objects)
    assert isinstance(text, LoggedMessage)
    assert isinstance(text.time, datetime)
    assert text.time.isoformat(" ").replace(".", ",")[:23] == lines[0][:23]
    assert isinstance(record, LoggedMessage)
    assert isinstance(record.time, datetime)
    assert record.time.tzinfo is UTC
    assert abs(record.time.timestamp() - json.loads(objects[0])["time"]) < 1e-5


def test_bodies_that_are_not_in_the_log_are_told() -> None:
    log = logs_of("tool", log_body_bytes=20)
    message = Message(1, 4, item=["a long text, which is cut"])
    with logged(logging.Formatter(FORMATS[0])) as lines:
        log(traffic(message, sent=False))
        log(traffic(Message(1, 3, body=b"\xff" * 40), sent=True))
    with logged(logging.Formatter(FORMATS[0]), logging.INFO) as headers:
        log(traffic(message, sent=False))
    reader = read_log([*lines, *headers])
    cut = [each for each in reader if isinstance(each, CutMessage)]
    assert [(each.name, each.why) for each in cut] == [
        ("S1F4", "its body of 29 bytes is cut"),
        ("S1F3", "its body of 40 bytes is cut"),
        ("S1F4", "its body of 29 bytes is not in the log"),
    ]
    assert cut[0].text == '<L [1] <A "a long...'
    assert reader.counts.cut_messages == 3


def test_a_body_with_other_length_bytes_is_told() -> None:
    body = b"\xa6\x00\x01\x07"
    with logged(logging.Formatter(FORMATS[0])) as lines:
        logs_of("tool")(traffic(Message(1, 3, body=body), sent=True))
    read, told = read_log(lines)
    assert isinstance(read, LoggedMessage)
    assert read.message.item == Message(1, 3, body=body).item
    assert isinstance(told, NotUnderstood)
    assert told.why.startswith("the body was sent with other length bytes: 4 bytes, and 3 as")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("body: <L [1]>", "its body is no SML: the count is [1], but 0 follow"),
        ("body: no SECS-II, at byte 0: zz", "its body is no hexadecimal text"),
        ("hex: 01 00", "its body has 2 bytes in the log, and its header says 6"),
    ],
)
def test_a_log_that_was_changed_is_told(body: str, why: str) -> None:
    head = "tool sent S1F3 W session=0 system=00000001 length=20"
    [entry] = read_log([head, f"tool sent S1F3 system=00000001 {body}"])
    assert isinstance(entry, CutMessage)
    assert entry.why == why


def test_many_links_wait_for_their_bodies_and_no_more_than_that() -> None:
    heads = [
        f"link{each} sent S1F3 session=0 system=0000000{each % 10} length=16" for each in range(99)
    ]
    bodies = [
        f"link{each} sent S1F3 system=0000000{each % 10} body: <L [0]>" for each in range(90, 99)
    ]
    given_out: list[str] = []

    def lines() -> Iterator[str]:
        for each in heads:
            given_out.append(each)
            yield each

    next(read_log(lines()))
    assert len(given_out) == 65
    entries = list(read_log([*heads, *bodies]))
    assert [each.line for each in entries] == list(range(1, 100))
    assert [type(each) for each in entries] == [CutMessage] * 90 + [LoggedMessage] * 9


def test_json_bodies_without_their_first_record_are_read() -> None:
    with logged(JsonLines()) as lines:
        logs_of("tool")(traffic(Message(1, 3, item=U4(7)), sent=True))
    [entry] = read_log(lines[1:])
    assert isinstance(entry, LoggedMessage)
    assert entry.message == Message(1, 3, item=U4(7))


def test_a_line_of_another_logger_is_none_of_a_message() -> None:
    lines = [
        "tool: connection lost, system=00000001",
        '{"link": "tool", "direction": "sent", "message_name": "S1F1"}',
        f"tool: {escaped('S1F1 W was not answered within T3 = 45 s')}",
    ]
    reader = read_log(lines)
    assert list(reader) == []
    assert (reader.counts.lines, reader.counts.mentions) == (3, 1)
