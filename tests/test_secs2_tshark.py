"""tshark's dissector of SECS-II, which owes us nothing, reads the values that we meant."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hsms_engine.message import Message
from hsms_engine.secs2 import BOOLEAN, F4, F8, A, B, Item, L, Numeric
from hsms_engine.wire import data_frame
from hsms_engine.wire import encode as encode_frame
from tests.support import items as ours
from tests.support import tshark
from tests.support.pcap import write_pcap

# tshark 4.0 shows no value of J and C, cuts text at a zero, and does not take stream 0 for HSMS.
_leaves = st.one_of(
    ours.booleans,
    ours.integers,
    ours.reals,
    st.builds(A, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300)),
    st.binary(max_size=300).map(B),
)
known: st.SearchStrategy[Item] = st.recursive(
    _leaves, lambda children: st.lists(children, max_size=5).map(lambda some: L(*some))
)
messages = st.builds(
    lambda stream, function, item: Message(stream, function, function % 2 == 1, item),
    st.integers(1, 127),
    st.integers(0, 255),
    known,
)


def shown(item: Item) -> tuple[str, ...]:
    """The values as tshark writes them, with the six digits that it gives a float."""
    match item:
        case L():
            return ()
        case A(text):
            return (text,)
        case B(data):
            return (data.hex(":"),)
        case BOOLEAN():
            return tuple(str(int(value)) for value in item)
        case F4() | F8():
            return tuple("nan" if math.isnan(value) else f"{value:g}" for value in item)
        case _:
            assert isinstance(item, Numeric)
            return tuple(map(str, item))


def rounded(values: Sequence[str], item: Item) -> tuple[str, ...]:
    """tshark's values, with as many digits of a float as we compare."""
    if not isinstance(item, F4 | F8):
        return tuple(values)
    return tuple("nan" if "nan" in value else f"{float(value):g}" for value in values)


def agrees(seen: tshark.Item, item: Item) -> bool:
    return (
        seen.format == item.code
        and rounded(seen.values, item) == shown(item)
        and (not isinstance(item, L) or len(seen.children) == len(item))
        and all(map(agrees, seen.children, item if isinstance(item, L) else ()))
    )


# Without shrinking: every try is a run of tshark.
@settings(
    max_examples=5,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(messages, min_size=60, max_size=60))
def test_tshark_reads_our_items(
    tmp_path_factory: pytest.TempPathFactory, sent: list[Message]
) -> None:
    path = tmp_path_factory.mktemp("items") / "items.pcap"
    write_pcap(
        path,
        [
            (
                "active",
                encode_frame(data_frame(0, one.stream, one.function, one.wait, number, one.body)),
            )
            for number, one in enumerate(sent)
        ],
    )
    dissections = tshark.dissect(path)
    assert [seen.title for seen in dissections] == [
        f"S{one.stream:02}F{one.function:02}" for one in sent
    ]
    for seen, one in zip(dissections, sent, strict=True):
        [item] = seen.items
        assert one.item is not None
        assert agrees(item, one.item), (item, one)
