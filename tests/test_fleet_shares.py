"""Tools are shared out so that all find the same, few move, and no limit is passed."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.fleet.shares import shares

NAMES = st.text(st.sampled_from("abcdefgh-12"), min_size=1, max_size=6)
TOOLS = st.sets(NAMES, max_size=30)
LIMITS = st.dictionaries(NAMES, st.none() | st.integers(0, 8), max_size=6)
THOUSAND = [f"TOOL-{number}" for number in range(1_000)]


def order(tool: str, members: Iterable[str]) -> list[str]:
    """The processes, the first to have this tool first: each has it when those before are gone."""
    left, found = set(members), list[str]()
    while left:
        first = shares([tool], dict.fromkeys(left))[tool]
        assert first is not None
        found.append(first)
        left.remove(first)
    return found


def counted(given: dict[str, str | None], member: str) -> int:
    return [*given.values()].count(member)


def test_the_order_of_a_tool_has_each_process_once_and_is_that_of_no_list() -> None:
    one = order("ETCHER-1", ["a", "b", "c"])
    assert sorted(one) == ["a", "b", "c"]
    assert order("ETCHER-1", ["c", "a", "b"]) == one
    # What was reckoned once is reckoned by every release: else two releases would not agree.
    assert one == ["b", "c", "a"]


@given(TOOLS, LIMITS)
def test_no_limit_is_passed_and_no_tool_waits_while_there_is_room(
    tools: set[str], limits: dict[str, int | None]
) -> None:
    given = shares(tools, limits)
    assert given.keys() == tools
    for member, limit in limits.items():
        assert limit is None or counted(given, member) <= limit
    has_room = any(limit is None or counted(given, name) < limit for name, limit in limits.items())
    assert not has_room or None not in given.values()


@given(TOOLS, LIMITS)
def test_no_tool_would_rather_be_elsewhere(tools: set[str], limits: dict[str, int | None]) -> None:
    given = shares(tools, limits)
    for tool, member in given.items():
        ranked = order(tool, limits)
        for better in ranked[: len(ranked) if member is None else ranked.index(member)]:
            limit = limits[better]
            assert limit is not None
            assert counted(given, better) == limit


@given(st.permutations([f"T{number}" for number in range(8)]), st.permutations("abc"))
def test_it_depends_on_no_order(tools: list[str], members: list[str]) -> None:
    limits = dict.fromkeys(members, 3)
    assert shares(tools, limits) == shares(sorted(tools), {"a": 3, "b": 3, "c": 3})


@given(TOOLS, st.sets(NAMES, min_size=1, max_size=6), NAMES)
def test_without_limits_only_the_tools_of_who_comes_or_goes_move(
    tools: set[str], members: set[str], other: str
) -> None:
    less = shares(tools, dict.fromkeys(members - {other}))
    more = shares(tools, dict.fromkeys(members | {other}))
    moved = {tool for tool in tools if less[tool] != more[tool]}
    assert moved == {tool for tool in tools if more[tool] == other}


@given(TOOLS, LIMITS, NAMES, st.none() | st.integers(0, 8))
def test_when_one_comes_each_tool_that_moves_goes_to_one_it_would_rather_have(
    tools: set[str], limits: dict[str, int | None], other: str, limit: int | None
) -> None:
    before = shares(tools, {name: each for name, each in limits.items() if name != other})
    after = shares(tools, limits | {other: limit})
    for tool in tools:
        ranked: list[str | None] = [*order(tool, limits | {other: limit}), None]
        assert ranked.index(after[tool]) <= ranked.index(before[tool])


@pytest.mark.parametrize("count", [2, 3, 10])
def test_about_one_in_n_moves_when_one_comes(count: int) -> None:
    members = [f"host-{number}" for number in range(count)]
    before = shares(THOUSAND, dict.fromkeys(members[:-1]))
    after = shares(THOUSAND, dict.fromkeys(members))
    moved = sum(before[tool] != after[tool] for tool in THOUSAND)
    assert moved == counted(after, members[-1])
    assert 0.7 * 1_000 / count < moved < 1.3 * 1_000 / count


def test_with_room_to_spare_few_more_move_when_limits_are_met() -> None:
    limits: dict[str, int | None] = {f"host-{number}": 120 for number in range(10)}
    before = shares(THOUSAND, limits)
    del limits["host-9"]
    limits |= dict.fromkeys(limits, 125)
    after = shares(THOUSAND, limits)
    moved = sum(before[tool] != after[tool] for tool in THOUSAND)
    gone = counted(before, "host-9")
    assert None not in after.values()
    assert gone <= moved < 2 * gone


def test_what_no_process_has_room_for_has_none() -> None:
    given = shares(["A", "B", "C"], {"a": 1, "b": 1})
    assert [*given.values()].count(None) == 1
    assert shares(["A"], {}) == {"A": None}
    assert shares([], {"a": None}) == {}
