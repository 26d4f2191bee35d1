"""A message: cheap from the wire, checked from the user, decoded only when asked."""

import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine import message
from hsms_engine.message import Message
from hsms_engine.secs2 import U4, A, DecodeError, Item, L, encode
from hsms_engine.sml import SmlError
from tests.support.items import items


def received(body: bytes, stream: int = 1, function: int = 13, wait: bool = True) -> Message:
    return Message.received(stream, function, wait, body, 7, 42)


@pytest.mark.parametrize(
    ("stream", "function", "wait", "fault"),
    [
        (128, 1, False, "stream 128 is not in 0..127"),
        (-1, 1, False, "stream -1 is not in 0..127"),
        (1, 256, False, "function 256 is not in 0..255"),
        (1, -1, False, "function -1 is not in 0..255"),
        (1, 2, True, "S1F2 is a secondary (even function): it cannot ask for a reply"),
        (1, 0, True, "S1F0 is a secondary (even function): it cannot ask for a reply"),
    ],
)
def test_a_header_out_of_range_is_refused(
    stream: int, function: int, wait: bool, fault: str
) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        Message(stream, function, wait)
    assert str(raised.value) == fault


def test_a_message_has_an_item_or_a_body_and_not_both() -> None:
    with pytest.raises(TypeError, match=r"^give a message an item or a body, not both$"):
        Message(1, 1, item=L(), body=b"")
    assert (Message(1, 1).item, Message(1, 1).body) == (None, b"")
    assert Message(1, 2, item=["x", U4(1)]).item == L("x", U4(1))
    assert Message(1, 2, item=L("x")).body == encode(L("x"))
    assert Message(1, 2, body=bytearray(b"\x01\x00")).item == L()
    with pytest.raises(TypeError, match="write, say, U4"):
        Message(1, 2, item=[5])


def test_a_received_message_shows_its_header_and_where_it_came_from() -> None:
    message = received(b"")
    assert (message.stream, message.function, message.wait) == (1, 13, True)
    assert (message.session_id, message.system_bytes) == (7, 42)
    assert (message.name, message.is_primary) == ("S1F13", True)
    assert (Message(6, 12).name, Message(6, 12).is_primary) == ("S6F12", False)
    assert (Message(1, 1).session_id, Message(1, 1).system_bytes) == (None, None)


def test_a_header_is_all_that_a_message_of_no_body_is() -> None:
    assert received(b"").item is None


@given(items)
def test_a_body_is_decoded_once_and_when_asked_for(item: Item) -> None:
    message = received(encode(item))
    assert message.item == item
    assert message.item is message.item
    built = Message(1, 13, True, item)
    assert built.body is built.body
    assert built == message


def test_a_body_that_does_not_decode_raises_when_it_is_read_and_not_before() -> None:
    message = received(b"\x41\x05abc")
    assert message.body == b"\x41\x05abc"
    for _ in range(2):
        with pytest.raises(DecodeError, match=r"^at byte 0: read A of 5 bytes, expected at most"):
            _ = message.item
    with pytest.raises(DecodeError):
        message.sml()
    assert repr(message) == (
        "<Message S1F13 W session=7 system=0000002A undecodable body of 5 bytes: at byte 0: "
        "read A of 5 bytes, expected at most the 3 bytes left>"
    )


def test_messages_are_equal_when_they_say_the_same() -> None:
    message = Message(1, 13, True, ["x"])
    same = received(encode(L("x")))
    assert message == same
    assert hash(message) == hash(same)
    for other in (
        Message(2, 13, True, ["x"]),
        Message(1, 15, True, ["x"]),
        Message(1, 13, False, ["x"]),
        Message(1, 13, True, ["y"]),
        "S1F13",
    ):
        assert message != other


def test_repr_shows_the_header_and_the_item_shortened() -> None:
    assert repr(Message(1, 1, True)) == "<Message S1F1 W>"
    assert repr(Message(1, 2, item=["x"])) == '<Message S1F2 <L [1] <A "x">>>'
    assert repr(received(encode(A("x" * 1000)))).endswith("xxx...>")


@given(st.binary(max_size=50))
def test_repr_of_any_body_is_one_printable_line(body: bytes) -> None:
    assert repr(received(body)).isprintable()


def test_a_message_is_written_and_read_as_sml() -> None:
    message = Message(2, 41, True, ["START", ()])
    text = 'S2F41 W\n<L [2]\n  <A "START">\n  <L [0]>\n> .'
    assert message.sml() == text
    assert Message.parse(text) == message
    assert Message.parse("S1F1 W") == Message(1, 1, True)
    with pytest.raises(SmlError):
        Message.parse("S1F1 W . S1F1 W .")


@pytest.mark.parametrize("name", ["stream", "item", "body", "wait", "other"])
def test_a_message_does_not_change(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Message(1, 1), name, 1)


def test_a_message_can_be_pickled() -> None:
    message = received(encode(L("x")))
    copy: Any = pickle.loads(pickle.dumps(message))
    assert (copy, copy.session_id, copy.system_bytes) == (message, 7, 42)


def test_the_module_itself_imports_no_codec_until_a_body_is_decoded() -> None:
    program = (
        f"import runpy, sys; Message = runpy.run_path({message.__file__!r})['Message'];"
        "Message.received(1, 1, True, b'', 0, 1).item;"
        "print([name for name in sys.modules if 'secs2' in name or 'sml' in name])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )
    assert run.stdout == "[]\n"
