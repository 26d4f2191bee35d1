"""Records of all kinds: some, and hypothesis strategies for any."""

from __future__ import annotations

import math
from typing import Literal

from hypothesis import strategies as st

from hsms_engine.recording import (
    ChartState,
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HopRecord,
    LinkRecord,
    LostRecord,
    OwnerRecord,
    Record,
    SettingsRecord,
    StepRecord,
    head,
)

SELECT_REQ = bytes.fromhex("ffff 0000 0001 0000 0001")

SOME: tuple[Record, ...] = (
    head(1.0, 1e9, "a1b2"),
    LinkRecord(
        1.5,
        1e9 + 0.5,
        1,
        0,
        "tool-7",
        "10.0.0.1:5000",
        "active",
        {"t3": 45.0, "linktest_interval": None, "allowed_networks": ["10.0.0.0/8"]},
        {"breaker": ChartState("breaker_closed", {"failures": 0})},
        {"t5": math.inf, "t6": 12.5},
    ),
    EventRecord(2.0, 1e9 + 1, 1, 0, "Connecting", {"attempt": 1}),
    StepRecord(
        2.0,
        1e9 + 1,
        1,
        1,
        "tcp_opened",
        (HopRecord("breaker", "permit", "breaker_closed", "breaker_closed", {"failures": 0}),),
        ("Send(Select.req)",),
        {"t6": 7.0},
    ),
    FrameRecord(2.0, 1e9 + 1, 1, 1, True, SELECT_REQ, 14),
    FrameRecord(
        2.5, 1e9 + 2, 1, 1, False, bytes(10), 30, "masked", "no room", 0.25, ("w_in_reply",)
    ),
    SettingsRecord(3.0, 1e9 + 2, 1, 1, {"t3": 60.0}),
    ErrorRecord(3.0, 1e9 + 2, 1, 1, "ReplyTimeoutError", "T3: no reply «S1F1»"),
    LostRecord(3.0, 1e9 + 2, 7, 700),
    GoneRecord(4.0, 1e9 + 3, 1, 1),
    EndRecord(5.0, 1e9 + 4, "closed"),
)
"""One of each kind, as a recording."""

_seconds = st.floats(-1e15, 1e15, allow_nan=False)
_counts = st.integers(0, 2**40)
# Surrogates too: a name may come from a file system.
_texts = st.text(st.characters(exclude_categories=()), max_size=20)
_names = st.text("abc_", min_size=1, max_size=8)
_values = st.dictionaries(_names, _counts, max_size=3)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _seconds | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_settings = st.dictionaries(_names, _json, max_size=3)
_timers = st.dictionaries(_names, _seconds | st.just(math.inf), max_size=3)
_times = (_seconds, _seconds)
_of_link = (*_times, _counts, _counts)
_roles: st.SearchStrategy[Literal["active", "passive"]] = st.sampled_from(("active", "passive"))
_bodies: st.SearchStrategy[Literal["masked", "left out", "not kept"] | None] = st.sampled_from(
    (None, "masked", "left out", "not kept")
)

RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(head, *_times, _texts, _counts),
    st.builds(LostRecord, *_times, _counts, _counts),
    st.builds(EndRecord, *_times, _texts),
    st.builds(
        LinkRecord,
        *_of_link,
        _texts,
        _texts,
        _roles,
        _settings,
        st.dictionaries(_names, st.builds(ChartState, _texts, _values), max_size=3),
        _timers,
        st.none() | _texts,
        st.none() | st.builds(OwnerRecord, _texts, _counts),
    ),
    st.builds(SettingsRecord, *_of_link, _settings),
    st.builds(
        FrameRecord,
        *_of_link,
        st.booleans(),
        st.binary(min_size=10, max_size=40),
        _counts,
        _bodies,
        st.none() | _texts,
        st.none() | _seconds,
        st.lists(_texts, max_size=2).map(tuple),
    ),
    st.builds(
        StepRecord,
        *_of_link,
        _names,
        st.lists(st.builds(HopRecord, _names, _names, _texts, _texts, _values), max_size=2).map(
            tuple
        ),
        st.lists(_texts, max_size=2).map(tuple),
        _timers,
    ),
    st.builds(
        EventRecord,
        *_of_link,
        _names,
        st.dictionaries(_names.map("a_{}".format), _json, max_size=3),
    ),
    st.builds(ErrorRecord, *_of_link, _names, _texts),
    st.builds(GoneRecord, *_of_link),
)
