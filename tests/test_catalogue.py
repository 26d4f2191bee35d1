"""The catalogue of messages: each function made, sent, read back, checked and shown."""

from __future__ import annotations

import builtins
import inspect
import json
import pickle
import re
import subprocess
import sys
import types
import typing
from collections.abc import Callable
from importlib import import_module
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsms_engine import messages
from hsms_engine.message import Message
from hsms_engine.messages import (
    S1F1,
    S1F2,
    S1F3,
    S1F4,
    S1F12,
    S1F13,
    S1F14,
    S2F33,
    S2F37,
    S2F41,
    S2F42,
    S2F45,
    S2F50,
    S5F1,
    S5F3,
    S5F5,
    S5F6,
    S7F3,
    S7F6,
    S9F1,
    S10F3,
    S10F5,
    Function,
    LayoutError,
    check,
    describe,
    fields,
    find,
    pages,
    read,
)
from hsms_engine.messages.data import SVID
from hsms_engine.messages.function import Field
from hsms_engine.messages.layout import Data
from hsms_engine.secs2 import F4, U1, U2, U4, A, B, C, DecodeError, Item, J, L, encode
from tests.support import messages_page
from tests.support.functions import every, messages_of, spoiled_messages_of

FUNCTIONS = every()
LIMITS: dict[int, Any] = {1: {1: None, 2: (1.5, -1.5)}}
FAULTS: dict[str, Any] = {"P": 2, "Q": [U1(0)]}


def named(function: type[Function]) -> str:
    return function.__name__


def over_the_wire(message: Message) -> Message:
    return Message.received(message.stream, message.function, message.wait, message.body, 7, 42)


def parts(message: Message) -> tuple[Any, ...]:
    """The attributes of a function, in the order in which ``match`` has them."""
    assert isinstance(message, Function)
    return tuple(getattr(message, each.name) for each in type(message).fields)


# What there is


def test_every_function_is_in_the_module_of_its_stream_and_no_other() -> None:
    for function in FUNCTIONS:
        stream, number = function.numbers
        assert function.__name__ == f"S{stream}F{number}"
        assert function.__module__ == f"hsms_engine.messages.stream{stream}"
        assert getattr(messages, function.__name__) is function
    for stream in {function.numbers[0] for function in FUNCTIONS}:
        module = import_module(f"hsms_engine.messages.stream{stream}")
        # What type checkers think that the package has.
        assert module.__all__ == [name for name in messages.NAMES if hasattr(module, name)]
    declared = {each for each in _subclasses(Function) if each.__module__.startswith("hsms_engine")}
    assert {each for each in declared if hasattr(each, "numbers")} == set(FUNCTIONS)
    assert set(messages.NAMES) < set(dir(messages))
    with pytest.raises(AttributeError, match=r"^module 'hsms_engine.messages' has no attribute"):
        messages.S1F99  # type: ignore[attr-defined]  # noqa: B018  # that is the point


def _subclasses(of: type[Any]) -> list[type[Any]]:
    return [each for one in of.__subclasses__() for each in (one, *_subclasses(one))]


def test_the_catalogue_has_what_hosts_and_tools_exchange_daily() -> None:
    wanted = {
        1: range(1, 25),
        2: range(13, 51),
        5: range(1, 9),
        6: range(1, 31),
        7: [*range(1, 7), *range(17, 21)],
        9: range(1, 14, 2),
        10: range(1, 7),
    }
    found = {each.numbers for each in FUNCTIONS}
    assert found == {(stream, number) for stream in wanted for number in wanted[stream]}


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_a_primary_says_who_sends_it_and_a_secondary_has_a_primary(
    function: type[Function],
) -> None:
    stream, number = function.numbers
    if number % 2:
        assert function.by is not None
        answer = pages.reply(function)
        assert (answer is None) == (stream == 9)
        assert answer is None or find(answer) is not None
    else:
        assert function.by is None
        assert find(f"S{stream}F{number - 1}") is not None
        assert pages.reply(function) is None


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_a_function_says_in_words_what_it_is(function: type[Function]) -> None:
    assert re.fullmatch(r"[A-Z][-A-Za-z/ ,]+", pages.title(function))
    assert pages.text(function).endswith((".", "?"))
    for each in pages.data(function):
        assert each.about
        assert each.about[0].islower() or each.about.startswith("YYYY")


def test_a_data_item_is_declared_once() -> None:
    found: dict[str, Data] = {}
    for function in FUNCTIONS:
        for each in pages.data(function):
            other = found.setdefault(each.name, each)
            # Variants: what may be none, and several alarms.
            is_variant = each.optional or other.optional or each.array
            assert other is each or (is_variant and other.formats == each.formats)
    assert len(found) > 100


# Made and taken apart


def items_of(message: Message) -> list[Any]:
    """The arguments that make a function anew, as items; None for what an empty list lacks."""
    assert isinstance(message, Function)
    arguments: list[Any] = []
    for each in type(message).fields:
        item: Any = message.item
        for index in each._path:
            item = item[index] if item else None
        arguments.append(item)
    kinds = [each.kind for each in inspect.signature(type(message)).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return [*arguments[:-1], *arguments[-1]]
    return arguments


def annotated(part: Field[Any, Any], function: type[Function]) -> Any:
    """What type checkers think that comes out of a part."""
    known = vars(fields) | vars(typing)
    return get_args(eval(inspect.get_annotations(function)[part.name], known))[1]


def conforms(value: object, hint: Any) -> bool:
    """Whether a value is of the type that a type checker thinks."""
    match get_origin(hint):
        case None:
            return hint is Any or type(value) is (type(None) if hint is None else hint)
        case types.UnionType | typing.Union:
            return any(conforms(value, each) for each in get_args(hint))
        case builtins.list:
            (each,) = get_args(hint)
            return isinstance(value, list) and all(conforms(one, each) for one in value)
        case builtins.tuple:
            hints = get_args(hint)
            assert isinstance(value, tuple)
            if hints[-1] is Ellipsis:
                return all(conforms(one, hints[0]) for one in value)
            return len(hints) == len(value) and all(map(conforms, value, hints))
        case _:
            raise AssertionError(hint)


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_what_fits_is_sent_read_back_and_made_of_its_own_parts(function: type[Function]) -> None:
    @settings(max_examples=15)
    @given(messages_of(function))
    def holds(message: Message) -> None:
        assert check(message) == []
        found = read(over_the_wire(message))
        assert type(found) is function
        assert found == message
        assert hash(found) == hash(message)
        assert (found.session_id, found.system_bytes) == (7, 42)
        wait: dict[str, Any] = {"wait": message.wait} if function.reply == "optional" else {}
        again = function(*items_of(found), **wait)
        assert parts(again) == parts(found)
        for each, value in zip(function.fields, parts(found), strict=True):
            assert conforms(value, annotated(each, function)), each.name
        # Its ids are one item: given as numbers, they are a U4.
        assert again == found or function is S5F5

    holds()


@given(st.data())
def test_what_cannot_be_read_is_a_difference(data: st.DataObject) -> None:
    function = data.draw(st.sampled_from(FUNCTIONS))
    message = data.draw(spoiled_messages_of(function))
    told = check(message)
    found = refusal = None
    try:
        found = read(message)
    except LayoutError as error:
        refusal = error
    if refusal is not None:
        assert refusal.differences
        assert set(refusal.differences) <= set(told)
        assert str(refusal).startswith(f"this is no {function.__name__}: ")
    if found is not None:
        assert found == message
        assert len(parts(found)) == len(function.fields)


@pytest.mark.parametrize(
    ("sml", "function", "expected"),
    [
        ("S1F1 W <L>", "S1F1", ()),
        ("S1F2 <L>", "S1F2", (None, None)),
        ("S1F2 <L <A 'M'> <A>>", "S1F2", ("M", "")),
        ("S1F14 <L <B 0> <L>>", "S1F14", (0, None, None)),
        ("S1F14 <L <U1 1> <L <A 'M'> <J 'S'>>>", "S1F14", (1, "M", "S")),
        ("S1F3 W <L <U4 1> <A 'x'>>", "S1F3", ([1, "x"],)),
        ("S1F4 <L <F4 0.5> <U4 1 2> <U4> <L <BOOLEAN T>>>", "S1F4", ([0.5, [1, 2], [], [True]],)),
        ("S1F12 <L <L <U2 7> <A 'Clock'> <A 's'>>>", "S1F12", ([(7, "Clock", "s")],)),
        ("S1F20 <L <L <L <A 'x'> <B 1>>> <L>>", "S1F20", ([["x", b"\1"]], [])),
        ("S2F25 W <B 7>", "S2F25", (b"\7",)),
        ("S2F37 W <L <U1 1> <L <U4 1>>>", "S2F37", (True, [1])),
        ("S2F41 W <L <A 'GO'> <L <L <A 'P'> <U4 1>> <L <A 'P'> <U4 2>>>>", "S2F41",
         ("GO", [("P", 1), ("P", 2)])),
        ("S2F45 W <L <U4 0> <L <L <U4 1> <L <L <B 1> <L>> <L <B 2> <L <U4 9> <U4 5>>>>>>>", "S2F45",
         (0, [(1, [(1, None), (2, (9, 5))])])),
        ("S2F49 W <L <U4 0> <A> <A 'GO'> <L <L <A 'P'> <L <L <A 'Q'> <U4 1>>>>>>", "S2F49",
         (0, "", "GO", [("P", [["Q", 1]])])),
        ("S2F50 <L <B 3> <L <L <A 'P'> <U1 2>> <L <A 'Q'> <L <U1 0>>>>>", "S2F50",
         (3, [("P", 2), ("Q", [0])])),
        ("S5F1 W <L <B 0x81> <U4 7> <A 'hot'>>", "S5F1", (0x81, 7, "hot")),
        ("S5F1 W <L <B 0x81> <BOOLEAN T> <A 'hot'>>", "S5F1", (0x81, 1, "hot")),
        ("S5F3 W <L <B 0x80> <U4 7>>", "S5F3", (True, 7)),
        ("S5F3 W <L <B 0x7F> <U4>>", "S5F3", (False, None)),
        ("S5F3 W <L <BOOLEAN T> <U4>>", "S5F3", (True, None)),
        ("S5F5 W <U4 7>", "S5F5", ([7],)),
        ("S5F5 W <U2>", "S5F5", ([],)),
        ("S5F5 W <L <U2 7> <U4 8>>", "S5F5", ([7, 8],)),
        ("S5F5 W <L>", "S5F5", ([],)),
        ("S5F6 <L <L <B> <U4 7> <A>> <L <B 1> <U4 8> <A 'x'>>>", "S5F6",
         ([(None, 7, ""), (1, 8, "x")],)),
        ("S6F30 <L <U4 1> <L> <I4>>", "S6F30", (1, [], None)),
        ("S6F25 W <L <U4 1> <U4 2> <U4 3> <A 'r'> <U1 1> <L> <L <U1 0> <L <L <U4 5> <A 'e'>>>>>",
         "S6F25", (1, 2, 3, "r", 1, [], (0, [(5, "e")]))),
        ("S7F3 W <L <B 1 2> <A 'x'>>", "S7F3", (b"\1\2", "x")),
        ("S7F6 <L>", "S7F6", (None, None)),
        ("S10F3 W <L <B 0> <U1 104 105>>", "S10F3", (0, [104, 105])),
    ],
)  # fmt: skip
def test_parts_are_plain_python_also_of_unusual_formats(
    sml: str, function: str, expected: tuple[Any, ...]
) -> None:
    found = read(Message.parse(sml))
    assert type(found).__name__ == function
    assert parts(found) == expected
    # 1 is equal to True.
    assert repr(parts(found)) == repr(expected)


def test_match_takes_a_message_apart() -> None:
    match read(Message.parse("S2F41 W <L <A 'START'> <L <L <A 'PPID'> <A 'X'>>>>")):
        case S2F41(rcmd="STOP"):
            raise AssertionError
        case S2F41("START", parameters):
            assert dict(parameters) == {"PPID": "X"}
        case _:
            raise AssertionError


def test_what_the_catalogue_lacks_is_read_as_it_is() -> None:
    for message in (Message(64, 1), Message(1, 0), Message(9, 2), Message(2, 51, True, A("x"))):
        assert read(message) is message


@pytest.mark.parametrize(
    ("make", "sml"),
    [
        (lambda: S2F41(5), "S2F41 W <L <U1 5> <L>>"),
        (lambda: S2F41(rcmd="A", parameters=[(U2(1), True)]),
         'S2F41 W <L <A "A"> <L <L <U2 1> <BOOLEAN T>>>>'),
        (lambda: S2F41(F4(0.5)), "S2F41 W <L <F4 0.5> <L>>"),
        (lambda: S2F33(1, [(2, (3,)), (2, L(U2(4)))]),
         "S2F33 W <L <U4 1> <L <L <U4 2> <L <U4 3>>> <L <U4 2> <L <U2 4>>>>>"),
        (lambda: S2F45(0, LIMITS),
         "S2F45 W <L <U4 0> <L <L <U4 1> <L <L <B 1> <L>> <L <B 2> <L <F8 1.5> <F8 -1.5>>>>>>>"),
        (lambda: S2F45(0, [(1, [(1, ())])]), "S2F45 W <L <U4 0> <L <L <U4 1> <L <L <B 1> <L>>>>>>"),
        (lambda: S2F50(3, FAULTS),
         'S2F50 <L <B 3> <L <L <A "P"> <U1 2>> <L <A "Q"> <L <U1 0>>>>>'),
        (lambda: S5F1(B(1), 7, wait=False), "S5F1 <L <B 1> <U4 7> <A>>"),
        (lambda: S5F3(enable=True), "S5F3 W <L <B 0x80> <U4>>"),
        (lambda: S5F3(B(1), U2()), "S5F3 W <L <B 1> <U2>>"),
        (lambda: S5F5(1, 2), "S5F5 W <U4 1 2>"),
        (S5F5, "S5F5 W <U4>"),
        (lambda: S5F6((None, 7, "")), "S5F6 <L <L <B> <U4 7> <A>>>"),
        (lambda: S7F3(b"x", b"y"), "S7F3 W <L <B 0x78> <B 0x79>>"),
        (S7F6, "S7F6 <L>"),
        (lambda: S7F6("x"), 'S7F6 <L <A "x"> <A>>'),
        (lambda: S7F6("x", 0), 'S7F6 <L <A "x"> <U4 0>>'),
        (lambda: S1F14(1, softrev="2"), 'S1F14 <L <B 1> <L <A> <A "2">>>'),
    ],
)  # fmt: skip
def test_plain_python_becomes_the_format_that_is_allowed(
    make: Callable[[], Message], sml: str
) -> None:
    assert make() == Message.parse(sml)


@pytest.mark.parametrize(
    ("make", "error", "why"),
    [
        (lambda: S1F2(5),  # type: ignore[arg-type]  # that is the point, as in the others
         TypeError, "MDLN (A) is not made of int 5"),
        (lambda: S1F2("x" * 21), ValueError, "MDLN: expected at most 20 bytes, got 21"),
        (lambda: S2F41(1.5), TypeError, "RCMD (A U1 I1) is not made of float 1.5"),
        (lambda: S2F41(True), TypeError, "RCMD (A U1 I1) is not made of bool True"),
        (lambda: S2F41(300), ValueError, "U1 value 300 is not in 0..255"),
        (lambda: S2F41("A", "PPID"),  # type: ignore[arg-type]
         TypeError, "[(CPNAME, CPVAL), ...] is not made of str 'PPID'"),
        (lambda: S2F41("A", ["PPID"]),  # type: ignore[list-item]
         TypeError, "(CPNAME, CPVAL) is not made of str 'PPID'"),
        (lambda: S2F41("A", [("PPID",)]),  # type: ignore[list-item]
         ValueError, "(CPNAME, CPVAL) has 2 values, not 1: ('PPID',)"),
        (lambda: S2F33(1, {2: 3}),  # type: ignore[arg-type]
         TypeError, "[VID, ...] is not made of int 3"),
        (lambda: S2F33(1, None),  # type: ignore[arg-type]
         TypeError, "[(RPTID, [VID, ...]), ...] is not made of NoneType None"),
        (lambda: S1F3(["x", b"y"]),
         TypeError,
         f"{SVID.expected} is not made of list ['x', b'y']; give them one by one: S1F3('x', b'y')"),
        # One value, that is no collection of them.
        (lambda: S1F3(b"x"),
         TypeError, f"{SVID.expected} is not made of bytes b'x'"),
        (lambda: S1F12(((1, "a", "b"), (2, "c", "d"))),  # type: ignore[arg-type]
         TypeError, "(SVID, SVNAME, UNITS) has 3 values, not 2: ((1, 'a', 'b'), (2, 'c', 'd')); "),
        (lambda: S9F1(bytes(9)), ValueError, "MHEAD: expected 10 bytes, got 9"),
        (lambda: S2F41(parameters={}),  # type: ignore[call-arg]
         TypeError, "S2F41: missing a required argument: 'rcmd'"),
        (lambda: S1F1(1),  # type: ignore[arg-type, call-arg]
         TypeError, "S1F1: too many positional arguments"),
        (lambda: S2F41("A", rcmd="B"),  # type: ignore[misc]
         TypeError, "S2F41: multiple values for argument 'rcmd'"),
        (lambda: S2F41("A", (), True),  # type: ignore[call-arg, arg-type]
         TypeError, "S2F41: too many positional arguments"),
        (lambda: S1F13(wait=False),  # type: ignore[call-arg]
         TypeError, "S1F13: got an unexpected keyword argument 'wait'"),
        (lambda: S2F42(0, {1: None}),  # type: ignore[arg-type]
         TypeError, "no SECS-II type for NoneType None: "),
    ],
)  # fmt: skip
def test_what_no_item_can_be_made_of_is_refused(
    make: Callable[[], Message], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(why)}"):
        make()


# A message as any other


def test_a_function_is_a_message_that_keeps_nothing_else() -> None:
    message = S2F41("START", {"PPID": "X"})
    assert message == Message.parse(message.sml())
    assert repr(message) == repr(Message.parse(message.sml()))
    assert not hasattr(message, "__dict__")
    for function in FUNCTIONS:
        assert vars(function)["__slots__"] == ()
    copy: Any = pickle.loads(pickle.dumps(read(over_the_wire(message))))
    assert (type(copy), copy, copy.rcmd, copy.system_bytes) == (S2F41, message, "START", 42)
    for name in ("rcmd", "stream", "wait", "other"):
        with pytest.raises(AttributeError):
            setattr(message, name, 1)
    with pytest.raises(AttributeError, match=r"^rcmd of <Message S2F41 W .*> cannot be changed"):
        message.rcmd = "STOP"  # type: ignore[misc]  # that is the point


def test_a_function_is_made_of_a_message_or_of_sml() -> None:
    assert S1F14.parse("S1F14 <L <B 0> <L>>").commack == 0
    assert type(S1F14.of(S1F14())) is S1F14
    with pytest.raises(ValueError, match=r"^S1F13 is no S1F14$"):
        S1F14.of(S1F13())
    with pytest.raises(LayoutError, match=r"^this is no S1F14: S1F14 \.item: expected L, got A$"):
        S1F14.parse("S1F14 <A>")
    with pytest.raises(LayoutError, match=r"S1F3 \.item: expected L, got A$"):
        S1F3.parse("S1F3 W <A>")
    with pytest.raises(LayoutError, match=r"S1F3 \.item: expected L, got only a header$"):
        S1F3.parse("S1F3 W")
    with pytest.raises(LayoutError, match=r"S1F14 \.item: expected 2 items, got 1$"):
        S1F14.parse("S1F14 <L <B 0>>")
    with pytest.raises(LayoutError, match="expected ALID"):
        S5F5.parse("S5F5 W <L <U4 1> <A 'x'>>")
    with pytest.raises(DecodeError):
        read(Message(1, 14, body=b"\x41\x05"))
    many = Message(1, 3, True, [[], [], [], [], []])
    with pytest.raises(LayoutError) as raised:
        read(many)
    assert len(raised.value.differences) == 3
    assert str(raised.value) == f"this is no S1F3: {'; '.join(check(many)[:3])}"
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (str(copy), copy.differences) == (str(raised.value), raised.value.differences)


def test_a_part_of_an_odd_item_raises_when_it_is_asked_for() -> None:
    odd = S2F41(F4(0.5))
    assert odd.parameters == []
    with pytest.raises(LayoutError, match=r"S2F41 \.item\[0\]: expected RCMD"):
        _ = odd.rcmd
    for body in (None, A("x"), L(), L(A("x"))):
        short = S2F41.received(2, 41, True, b"" if body is None else encode(body), 0, 0)
        with pytest.raises(LayoutError):
            _ = short.parameters
    with pytest.raises(LayoutError):
        _ = S5F1.received(5, 1, True, b"", 0, 0).alcd
    with pytest.raises(LayoutError, match="only a header"):
        _ = S9F1.received(9, 1, False, b"", 0, 0).mhead


def test_a_function_has_the_signature_of_its_constructor() -> None:
    assert str(inspect.signature(S2F42)) == "(hcack=0, faults=(), *, text_encoding=None)"
    signature = "(alcd, alid, altx='', *, wait=True, text_encoding=None)"
    assert str(inspect.signature(S5F1)) == signature
    assert str(inspect.signature(S2F37)).startswith("(enable: ")
    assert S2F41.__match_args__ == ("rcmd", "parameters")
    assert S2F41.rcmd.name == "rcmd"


# Text that is not ASCII


def received(function: type[Function], item: Item, text_encoding: str) -> Message:
    return Message.received(*function.numbers, True, encode(item), 7, 42, text_encoding)


def test_text_is_read_in_the_encoding_of_the_message() -> None:
    gbk = A("温度高", encoding="gbk")
    alarm = L(B(0x81), U4(7), gbk)
    match read(received(S5F1, alarm, "gbk")):
        case S5F1(altx="温度高") as found:
            assert (check(found), found.text_encoding) == ([], "gbk")
        case other:
            raise AssertionError(other)
    assert parts(S5F1(0x81, 7, gbk))[2] == gbk.value
    assert parts(S5F1(0x81, 7, gbk, text_encoding="gbk"))[2] == "温度高"
    # Within free values, as a name, and beside text that says itself what it is.
    command = L(gbk, L(L(gbk, L(gbk, U1(1), L(gbk))), L(gbk, J("ｱ")), L(gbk, C("ö"))))
    assert parts(read(received(S2F41, command, "gbk"))) == (
        "温度高",
        [("温度高", ["温度高", 1, ["温度高"]]), ("温度高", "ｱ"), ("温度高", "ö")],
    )
    parsed = S10F3.parse("S10F3 W <L <B 0> <A '温度'>>", "gbk")
    assert (parsed.text, parsed.item) == ("温度", L(B(0), A("温度", encoding="gbk")))


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_every_function_takes_a_text_encoding(function: type[Function]) -> None:
    @settings(max_examples=5)
    @given(messages_of(function))
    def holds(message: Message) -> None:
        made = function(*items_of(read(message)), text_encoding="gbk")
        assert made.text_encoding == "gbk"
        # Its ids are one item: given as numbers, they are a U4.
        assert made.item == message.item or function is S5F5

    holds()


def test_an_argument_is_written_in_the_text_encoding() -> None:
    gbk = A("温度", encoding="gbk")
    assert S10F3(0, "温度", text_encoding="gbk").item == L(B(0), gbk)
    assert S10F3(0, text="温度", wait=False, text_encoding="gbk").text == "温度"
    assert S10F5(0, ["温度", A("x")], text_encoding="gbk").item == L(B(0), L(gbk, A("x")))
    assert S2F41("温度", {"温度": "温度"}, text_encoding="gbk").item == L(gbk, L(L(gbk, gbk)))
    assert S1F4(["温度"], text_encoding="gbk").item == L(L(gbk))
    assert S1F13("温度", text_encoding="gbk").item == L(gbk, A(""))
    assert S1F3("温度", text_encoding="gbk").svids == ["温度"]
    assert S2F37(True, "温度", text_encoding="gbk").ceids == ["温度"]
    assert S1F1(text_encoding="gbk").text_encoding == "gbk"
    with pytest.raises(ValueError, match=r'give the message, .* one: text_encoding="gbk"$'):
        S10F3(0, "温度")
    with pytest.raises(ValueError, match="is not gbk"):
        S10F3(0, "\U0001f600", text_encoding="gbk")
    with pytest.raises(ValueError, match="no superset of ASCII"):
        S10F3(0, 1, text_encoding="utf-16")


def test_bytes_that_are_not_of_the_encoding_are_shown_and_lose_no_message() -> None:
    cut = A("温度", encoding="gbk").raw[:-1]
    item = L(B(0), A(cut))
    found = read(received(S10F3, item, "gbk"))
    assert parts(found) == (0, "温\\xb6")
    assert found.item == item
    assert check(found) == [
        "S10F3 .item[1]: TEXT: A byte 0xB6 at [2] is not gbk: raw has the bytes"
    ]
    assert check(received(S1F4, L(L(U1(1), A(cut))), "gbk")) == [
        "S1F4: expected no W-bit: it has no reply",
        "S1F4 .item[0][1]: SV: A byte 0xB6 at [2] is not gbk: raw has the bytes",
    ]


@given(st.binary(), st.sampled_from(["gbk", "cp932", "utf-8", "big5hkscs", "euc_kr", "cp1252"]))
def test_any_bytes_are_read_in_any_encoding(data: bytes, encoding: str) -> None:
    item = A(data)
    found = S10F3.of(received(S10F3, L(B(0), item), encoding)).text
    told = check(received(S10F3, L(B(0), item), encoding))
    try:
        text = data.decode(encoding)
    except ValueError:
        assert len(told) == 1
    else:
        assert (found, told) == (text, [])


# Checked


@pytest.mark.parametrize(
    ("sml", "told"),
    [
        ("S6F11 W <L <U4 1> <U4 2> <L <A 'x'>>>", ["S6F11 .item[2][0]: expected L, got A"]),
        ("S6F11 <L <U4 1> <U4 2> <L>>", []),
        ("S1F13 <L>", ["S1F13: expected the W-bit: it has a reply"]),
        ("S9F1 W <B 0 1 2 3 4 5 6 7 8 9>", ["S9F1: expected no W-bit: it has no reply"]),
        ("S9F1 <B 0 1>", ["S9F1 .item: MHEAD: expected 10 bytes, got 2"]),
        ("S1F1 W <L>", ["S1F1 .item: expected only a header, got L"]),
        ("S1F3 W", ["S1F3 .item: expected L, got only a header"]),
        ("S6F15 W", ["S6F15 .item: expected CEID (A I1 I2 I4 I8 U1 U2 U4 U8), got only a header"]),
        ("S1F13 W <L <A>>", ["S1F13 .item: expected 2 items or none, got 1"]),
        ("S2F41 W <L <A> <L> <L>>", ["S2F41 .item: expected 2 items, got 3"]),
        ("S2F41 W <L <F4 1.0>>", [
            "S2F41 .item: expected 2 items, got 1",
            "S2F41 .item[0]: expected RCMD (A U1 I1), got F4",
        ]),
        ("S2F41 <L>", ["S2F41 .item: expected 2 items, got 0"]),
        ("S2F41 W <A>", ["S2F41 .item: expected L, got A"]),
        ("S2F41 W <L <A> <A>>", ["S2F41 .item[1]: expected L, got A"]),
        ("S6F15 W <U4 1 2>", ["S6F15 .item: CEID: expected 1 value, got 2"]),
        ("S6F15 W <U4>", ["S6F15 .item: CEID: expected 1 value, got 0"]),
        ("S1F16 <B>", ["S1F16 .item: OFLACK: expected 1 byte, got 0"]),
        ("S1F16 <B 1>", ["S1F16 .item: expected OFLACK to be 0 or from 64, got 1"]),
        ("S1F16 <B 64>", []),
        ("S6F12 <B 1>", []),
        ("S2F42 <L <B 9> <L <L <A 'P'> <B 0>>>>", [
            "S2F42 .item[0]: expected HCACK to be 0 1 2 3 4 5 6 or from 64, got 9",
            "S2F42 .item[1][0][1]: expected CPACK to be 1 2 3 or from 64, got 0",
        ]),
        ("S5F3 W <L <B 0x80> <U4>>", []),
        ("S5F3 W <L <B 0> <U4>>", []),
        ("S5F3 W <L <B 1> <U4>>", ["S5F3 .item[0]: expected ALED to be 0 128, got 1"]),
        ("S5F3 W <L <B 0x81> <U4>>", ["S5F3 .item[0]: expected ALED to be 0 128, got 129"]),
        ("S5F3 W <L <B 1 2> <U4 1 2>>", [
            "S5F3 .item[0]: ALED: expected 1 byte, got 2",
            "S5F3 .item[1]: ALID: expected 1 value, got 2",
        ]),
        ("S1F0", []),
        ("S1F0 <L>", ["S1F0 .item: expected only a header"]),
        ("S64F1 W", ["S64F1: the catalogue does not have it"]),
        ("S9F2", ["S9F2: the catalogue does not have it"]),
    ],
)  # fmt: skip
def test_a_difference_is_a_sentence_with_a_path(sml: str, told: list[str]) -> None:
    assert check(Message.parse(sml)) == told


def test_long_text_and_unreadable_bodies_are_differences() -> None:
    assert check(Message(1, 2, item=["x" * 21, ""])) == [
        "S1F2 .item[0]: MDLN: expected at most 20 bytes, got 21"
    ]
    unreadable = C(b"\xff", 2)
    (told,) = check(Message(10, 3, True, [B(0), unreadable]))
    assert told.startswith("S10F3 .item[1]: TEXT: 'utf-8' codec can't decode byte 0xff")
    (told,) = check(Message(1, 2, body=b"\x41\x05"))
    assert told.startswith("S1F2 .item: at byte 0: read A of 5 bytes, expected at most")


@pytest.mark.parametrize(("number", "what"), [(1, "only a header"), (3, "L")])
def test_a_second_item_is_a_difference(number: int, what: str) -> None:
    several = Message(1, number, True, body=encode(L()) * 2)
    assert check(several) == [f"S1F{number} .items: expected {what}, got 2 items"]
    with pytest.raises(DecodeError, match="item 2 of 2"):
        read(Message(1, 3, True, body=encode(L()) * 2))


class Heard(Message):
    """A message whose connection hears when the program finds it unreadable."""

    __slots__ = ("found",)
    found: int

    def _found_unreadable(self) -> None:
        self.found += 1


def test_the_peer_is_told_of_a_body_that_is_read_and_not_of_one_that_is_checked() -> None:
    message = Heard.received(1, 14, False, b"\x41\x05", 7, 42)
    message.found = 0
    assert len(check(message)) == 1
    assert message.found == 0
    with pytest.raises(DecodeError):
        read(message)
    assert message.found == 1


# Shown


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_a_page_has_all_that_is_declared(function: type[Function]) -> None:
    page = describe(function.__name__)
    for each in pages.data(function):
        assert f"<{each}" in page
        for code, meaning in (each.codes or {}).items():
            assert re.search(rf" {code}  {re.escape(meaning)}$", page, re.MULTILINE)
    assert pages.text(function) in page
    assert f"make it:       {function.__name__}(" in page
    assert json.loads(json.dumps(pages.facts(function)))["message"] == function.__name__


def test_a_page_shows_layout_codes_and_use() -> None:
    assert (
        describe("S5F3")
        == """\
S5F3, host to equipment, reply S5F4

Enable/Disable Alarm Send: one alarm; without id, all of them.

S5F3 [W]
<L [2]
  <ALED>
  <ALID or none>
>

ALED  whether alarms are enabled: bit 8 (B)
           0  disabled
         128  enabled

ALID  an alarm (I1 I2 I4 I8 U1 U2 U4 U8)

make it:       S5F3(enable, alid=None, *, wait=True)
take it apart: case S5F3(enable, alid):
               enable is ALED
               alid is ALID"""
    )
    assert "<L [2 or 0]\n    <MDLN>" in describe("S1F14")
    assert "<ALID ...>" in describe("S5F5")
    assert describe("S1F14").startswith("S1F14, both ways\n")
    assert "(B, 10 bytes)" in describe("S9F1")
    assert "others  an error, not accepted" in describe("S6F12")
    assert "  64..  of the equipment" in describe("S1F14")
    assert "make it:       S1F3(*svids)" in describe("S1F3")
    assert describe("s1f3") == describe("S1F3")
    with pytest.raises(ValueError, match=r"^'S1F99' is not in the catalogue: NAMES has what is$"):
        describe("S1F99")


def test_a_stream_is_imported_when_one_of_its_functions_is_named() -> None:
    program = (
        "import sys; from hsms_engine.messages import S1F13; S1F13();"
        "print(sorted(name for name in sys.modules if name.startswith('hsms_engine.messages.')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )
    wanted = ["data", "function", "layout", "stream1"]
    assert run.stdout == f"{[f'hsms_engine.messages.{name}' for name in wanted]}\n"


# The documents


def test_the_page_is_as_the_declarations_are_and_its_example_runs() -> None:
    written = messages_page.PAGE.read_text(encoding="utf-8")
    assert written == messages_page.page(), "run make diagrams"
    (example,) = re.findall(r"^```python\n(.*?)^```$", written, re.MULTILINE | re.DOTALL)
    exec(compile(example, "docs/messages.md", "exec"), {})
    count = f"{len(messages.NAMES)} functions"
    for name in ("docs/guide.md", "CHANGELOG.md"):
        root = messages_page.PAGE.parents[1]
        assert count in (root / name).read_text(encoding="utf-8")
