"""A pattern that matches nothing of the catalogue is told of, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.messages import Function
from hsms_engine.messages.patterns import misfit
from hsms_engine.sml import parse_pattern
from tests.support.cuts import cuts
from tests.support.functions import every, fitting


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("S9F1 W", "S9F1: E5 has no reply to it, the pattern W"),
        ("S1F1 <L _>", "S1F1: E5 has no body, the pattern <L _>"),
        ("S2F41 <A _>", "S2F41: E5 has L, the pattern <A _>"),
        ("S2F41 <L 'START'>", 'S2F41: E5 has 2 items, the pattern <L [1] "START">'),
        ("S2F41 <L [3..] _ ...>", "S2F41: E5 has 2 items, the pattern <L [3..] _ ...>"),
        ("S2F41 <L <F4 _> _>", "S2F41[1]: E5 has RCMD (A "),
        ("S2F41 <L _ <A _>>", "S2F41[2]: E5 has L, the pattern <A _>"),
        ("S2F41 <L _ ... <A _>>", "S2F41[2]: E5 has L, the pattern <A _>"),
        ("S2F41 <L _ <L [1] <L [1] _>>>", "S2F41[2][1]: E5 has 2 items, the pattern"),
        ("S2F41 <L _ <L _ <L _ <L 1 2>>>>", "S2F41[2][2][2]: E5 has CPVAL (A "),
        ("S2F41 <L _ <L _ ... <L [3] _ _ _>>>", "S2F41[2][n]: E5 has 2 items, the pattern"),
        ("S2F41 <L _ <L <A _> _ ... <L _> _ ...>>", "S2F41[2][1]: E5 has L, the pattern <A _>"),
        ("S6F11 <L _ 101 <L <L 1 <L 7>> 3>>", "S6F11[3][2]: E5 has L, the pattern 3"),
    ],
)
def test_a_pattern_that_the_layout_excludes_says_where(pattern: str, why: str) -> None:
    found = misfit(parse_pattern(pattern))
    assert found is not None
    assert found.startswith(why)


@pytest.mark.parametrize(
    "pattern",
    [
        "S99F1 <A _>",
        "S2F41",
        "S2F41 W _",
        "S2F41 <L $x>",
        "S2F41 <L 'START' <L _ ... <L 'PPID' $x> _ ...>>",
        "S2F41 <L [2] _ ...>",
        "S6F11 <L _ 101 <L>>",
        "S6F11 <L _ 101 <L <L 1 <L <L <A>>>>>>",
        "S1F4 <L <L 1 2> ...>",
        "S1F2 <L>",
        "S1F2 <L <A> <A>>",
        "S1F2 <L _ ...>",
    ],
)
def test_a_pattern_that_a_layout_allows_is_not_told_of(pattern: str) -> None:
    assert misfit(parse_pattern(pattern)) is None


@given(st.data(), st.sampled_from([each for each in every() if each.layout is not None]))
def test_a_pattern_that_a_message_of_the_catalogue_matches_is_not_told_of(
    data: st.DataObject, function: type[Function]
) -> None:
    assert function.layout is not None
    item = data.draw(fitting(function.layout))
    cut = data.draw(cuts(item))
    assert misfit(parse_pattern(f"{function.__name__} {cut.text}")) is None


@pytest.mark.parametrize("function", every())
def test_a_header_is_not_told_of(function: type[Function]) -> None:
    assert misfit(parse_pattern(function.__name__)) is None
    if function.reply != "none":
        assert misfit(parse_pattern(f"{function.__name__} W")) is None
