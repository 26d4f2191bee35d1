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
from hsms_engine.secs2 import U1, U4, A, DecodeError, Item, L, SeveralItemsError, decode, encode
from hsms_engine.sml import SmlError, load, parse_template, to_sml
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


def test_text_is_encoded_when_a_message_is_built_and_never_otherwise() -> None:
    message = Message(10, 3, True, [U4(1), "温度"], text_encoding="gbk")
    assert message.item == L(U4(1), A(b"\xce\xc2\xb6\xc8"))
    assert message.text_encoding == "gbk"
    assert Message(1, 1).text_encoding is None
    with pytest.raises(ValueError, match=r"give the message, the file or the link one: text_enc"):
        Message(10, 3, True, [U4(1), "温度"])
    with pytest.raises(ValueError, match=r"^A character 'ö' \(U\+00F6\) at \[0\] is not gbk$"):
        Message(10, 3, True, "ö", text_encoding="gbk")
    for body in (None, b""):
        with pytest.raises(ValueError, match=r"^'utf-16' is no superset of ASCII: "):
            Message(1, 1, body=body, text_encoding="utf-16")


def test_a_statement_of_a_library_is_a_message() -> None:
    library = load("'Go On': S1F13 W <A '温'> .", text_encoding="gbk")
    message = Message.from_statement(library["Go On"], "gbk")
    assert message == Message(1, 13, True, "温", text_encoding="gbk")
    assert message.text_encoding == "gbk"


def test_a_message_is_shown_and_parsed_in_its_encoding() -> None:
    body = encode(L(A("温度", encoding="gbk")))
    message = Message.received(1, 2, False, body, 0, 1, "gbk")
    text = 'S1F2\n<L [1]\n  <A "温度">\n> .'
    assert message.sml() == text
    assert repr(message) == '<Message S1F2 session=0 system=00000001 <L [1] <A "温度">>>'
    again = Message.parse(text, "gbk")
    assert (again, again.text_encoding, again.sml()) == (message, "gbk", text)
    assert message == received(body, function=2, wait=False)
    match message.item:
        case L(A() as name):
            assert name.text(message.text_encoding) == "温度"
        case other:
            raise AssertionError(other)
    assert '"' not in received(body).sml()
    with pytest.raises(SmlError, match="is not ASCII"):
        Message.parse(text)
    copy: Any = pickle.loads(pickle.dumps(message))
    assert (copy.sml(), copy.text_encoding) == (text, "gbk")


@given(st.lists(items, max_size=3))
def test_all_items_of_a_body_are_there(some: list[Item]) -> None:
    message = received(b"".join(map(encode, some)))
    assert message.items == tuple(some)
    assert message.items is message.items
    if len(some) < 2:
        assert message.item == (some[0] if some else None)
        return
    for _ in range(2):
        with pytest.raises(SeveralItemsError, match=rf"^at byte \d+: read item 2 of {len(some)}, "):
            _ = message.item
    printed = "\n".join(map(to_sml, some))
    assert message.sml() == f"S1F13 W\n{printed} ."
    assert len(repr(message)) < 200


def test_what_is_built_of_an_item_has_this_one() -> None:
    assert Message(1, 1).items == ()
    assert Message(1, 2, item="x").items == (A("x"),)
    assert repr(received(encode(A("x")) * 2)).endswith('<A "x"> <A "x">>')
    with pytest.raises(DecodeError, match=r"^at byte 3: read 1 byte, expected an item header"):
        _ = received(encode(A("x")) + b"\x41").items
    with pytest.raises(DecodeError, match=r"^at byte 3: read 1 byte more, expected the end"):
        decode(encode(A("x")) + b"\x41")


def test_a_template_is_a_message_with_the_values_that_it_refers_to() -> None:
    template = parse_template("S2F42 <L $1 $lot ${1001}>")
    request = Message(2, 41, True, L(A("START"), L()))
    names, values = {"lot": A("L-1")}, {"1001": U1(7)}
    made = Message.from_template(template, request, names, values.__getitem__, "gbk")
    assert made == Message(2, 42, item=L(A("START"), A("L-1"), U1(7)))
    assert made.text_encoding == "gbk"
    assert Message.from_template(parse_template("S2F41 W")) == Message(2, 41, True)
    for asked, known, variable in (
        (None, names, values.__getitem__),
        (request, {}, values.__getitem__),
        (request, names, None),
    ):
        with pytest.raises(LookupError):
            Message.from_template(template, asked, known, variable)


def test_a_body_that_a_template_does_not_refer_to_may_be_unreadable() -> None:
    unreadable = Message(1, 1, True, body=b"\x01")
    assert Message.from_template(parse_template("S1F2 <L>"), unreadable) == Message(1, 2, item=L())
    with pytest.raises(ValueError, match="at byte 0"):
        Message.from_template(parse_template("S1F2 $"), unreadable)
