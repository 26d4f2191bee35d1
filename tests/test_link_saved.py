"""A link whose program was started again keeps its breaker and T5, or refuses what it is given."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import CircuitOpenError, HsmsLink, RestoreError, events
from hsms_engine.protocol.saving import LONGEST_TEXT, OLDEST
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, first, link_end
from tests.support.raw_peer import RawPeer
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

SETTINGS: dict[str, Any] = {"linktest_interval": None, "t5": 10, "breaker_open_time": 60}
# A moment of the wall clock, in seconds since 1970.
THEN = 1.7e9
Saved = dict[str, Any]


def at(moment: float) -> Callable[[], float]:
    return lambda: moment


async def saved_after(seconds: float, *, refused: bool = True, **changes: Any) -> Saved:
    """What a link saves that many seconds after it was opened, by a program that then ends."""
    board = Switchboard()
    if refused:
        board.refuse()
    async with link_end(board, wall_clock=at(THEN), **{**SETTINGS, **changes}) as link:
        if not refused:
            await (await board.peer()).select_by_answering()
            await link.wait_selected()
        await trio.sleep(seconds)
        saved = link.save()
    text = json.dumps(saved, allow_nan=False)
    assert len(text) < LONGEST_TEXT / 4
    parsed: Saved = json.loads(text)
    assert parsed == saved
    return parsed


class Restored:
    """A link that begins with ``saved``, ``down`` seconds of the wall clock later."""

    def __init__(self, saved: Saved | str | bytes, down: float = 0.0, **changes: Any) -> None:
        self.board = Switchboard()
        self.board.refuse()
        given = {**SETTINGS, "restore": saved, "wall_clock": at(THEN + down), **changes}
        self.opened = link_end(self.board, **given)
        self.began = trio.current_time()

    def dialled(self) -> list[float]:
        """When it has dialled, in seconds since it was opened."""
        return [moment - self.began for moment in self.board.dialled_at]


# What is kept

# For how long the program was down by the wall clock, and how much of 20 s is then over.
DOWN = [(0, 0), (5, 5), (20, 20), (25, 20), (1e12, 20), (-1, 0), (-1e12, 0)]


@pytest.mark.parametrize(("down", "over"), DOWN)
async def test_a_tool_whose_breaker_was_open_is_not_dialled_earlier(
    down: float, over: float
) -> None:
    saved = await saved_after(40, breaker_threshold=1)
    restored = Restored(saved, down, breaker_threshold=1)
    async with restored.opened as link:
        opened = await first(link.events(), events.BreakerOpened)
        assert (opened.failures, opened.threshold) == (1, 1)
        assert opened.retry_after == 20 - over
        await wait_all_tasks_blocked()
        if over < 20:
            with pytest.raises(CircuitOpenError) as caught:
                await link.connect()
            assert caught.value.retry_after == 20 - over
        await trio.sleep(79)
    assert restored.dialled() == [20 - over, 80 - over][: 1 + (over > 1)]


@pytest.mark.parametrize(("down", "over"), [(0, 0), (3, 3), (7, 7), (1e9, 7), (-5, 0)])
@pytest.mark.parametrize("refused", [True, False], ids=["failed", "selected"])
async def test_t5_is_kept(down: float, over: float, *, refused: bool) -> None:
    saved = await saved_after(3, refused=refused)
    restored = Restored(saved, down)
    async with restored.opened as link:
        assert link.phase == "waiting"
        assert link.statistics().retry_after == 7 - over
        await trio.sleep(15)
    assert restored.dialled() == [7 - over, 17 - over][: 1 + (over > 2)]


async def test_a_connection_is_not_kept_and_a_link_up_for_long_dials_at_once() -> None:
    restored = Restored(await saved_after(500, refused=False))
    restored.board.refusal = None
    async with restored.opened as link:
        assert link.phase == "waiting"
        await (await restored.board.peer()).select_by_answering()
        await link.wait_selected()
    assert restored.dialled() == [0]


async def test_a_link_that_never_dialled_dials_at_once() -> None:
    board = Switchboard()
    async with link_end(board, wall_clock=at(THEN), **SETTINGS) as link:
        link.isolate()
        saved = link.save()
    saved |= {"attempt_age": None}
    restored = Restored(saved)
    async with restored.opened as link:
        assert link.phase == "blocked"
        assert link.save() == saved
        link.release()
        await wait_all_tasks_blocked()
    assert restored.dialled() == [0]


async def test_failures_in_a_row_are_kept() -> None:
    restored = Restored(await saved_after(25))
    async with restored.opened as link:
        assert link.statistics().breaker_failures == 3
        opened = await first(link.events(), events.BreakerOpened)
        assert (opened.at - restored.began, opened.failures) == (15, 5)


async def test_what_is_saved_again_before_it_dials_is_the_same() -> None:
    saved = await saved_after(25)
    restored = Restored(saved)
    async with restored.opened as link:
        assert link.save() == saved


async def test_a_breaker_that_was_isolated_stays_so_until_it_is_released() -> None:
    board = Switchboard()
    async with link_end(board, wall_clock=at(THEN), **SETTINGS) as link:
        link.isolate()
        saved = link.save()
    restored = Restored(saved, 1e6)
    async with restored.opened as link:
        await first(link.events(), events.BreakerIsolated)
        await trio.sleep(1_000)
        assert link.phase == "blocked"
        assert restored.dialled() == []
        link.release()
        await wait_all_tasks_blocked()
        assert restored.dialled() == [1_000]


async def test_a_probe_that_ran_gives_its_permit_back() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=1, wall_clock=at(THEN), **SETTINGS) as link:
        await trio.sleep(59)
        board.refusal = None
        board.hang()
        await trio.sleep(3)
        assert link.statistics().breaker_state == "probing"
        saved = link.save()
        board.answers.set()
    restored = Restored(saved, breaker_threshold=1)
    async with restored.opened as link:
        reader = link.events()
        half_open = await first(reader, events.BreakerHalfOpen)
        assert half_open.at == restored.began
        assert (await first(reader, events.BreakerProbing)).at - restored.began == 8
        await trio.sleep(70)
    assert restored.dialled() == [8, 68]


@pytest.mark.parametrize("phase", ["selecting", "connecting"])
async def test_an_attempt_that_ran_is_no_failure(phase: str) -> None:
    board = Switchboard()
    if phase == "connecting":
        board.hang()
    async with link_end(board, breaker_threshold=1, wall_clock=at(THEN), **SETTINGS) as link:
        await trio.sleep(2)
        assert link.phase == phase
        saved = link.save()
        board.answers.set()
    restored = Restored(saved, breaker_threshold=1)
    async with restored.opened as link:
        statistics = link.statistics()
        assert (statistics.breaker_state, statistics.breaker_failures) == ("breaker_closed", 0)
        await trio.sleep(9)
    assert restored.dialled() == [8]


async def test_a_link_that_was_disabled_stays_so_and_keeps_t5() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, wall_clock=at(THEN), **SETTINGS) as link:
        await trio.sleep(2)
        link.disable()
        saved = link.save()
    restored = Restored(saved)
    async with restored.opened as link:
        await trio.sleep(3)
        assert link.phase == "idle"
        link.enable()
        await trio.sleep(6)
    assert restored.dialled() == [8]


async def test_a_link_that_was_closed_comes_back_enabled_and_keeps_t5() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, wall_clock=at(THEN), **SETTINGS) as link:
        await trio.sleep(2)
        link.disable()
    assert link.phase == "closed"
    restored = Restored(link.save())
    async with restored.opened:
        await trio.sleep(9)
    assert restored.dialled() == [8]


async def test_a_link_that_is_closing_comes_back_enabled() -> None:
    board = Switchboard()
    saved = []
    async with trio.open_nursery() as nursery:

        async def silent() -> None:
            peer: RawPeer = await board.peer()
            await peer.select_by_answering()
            await trio.sleep_forever()

        nursery.start_soon(silent)
        async with link_end(board, wall_clock=at(THEN), linger=5, **SETTINGS) as link:
            await link.wait_selected()
            nursery.start_soon(link.aclose)
            await wait_all_tasks_blocked()
            assert link.phase == "separating"
            saved.append(link.save())
        nursery.cancel_scope.cancel()
    assert saved[0]["is_enabled"] is True


# Settings that were changed between the two programs


async def test_a_lowered_threshold_opens_the_breaker_at_once() -> None:
    restored = Restored(await saved_after(25), breaker_threshold=2)
    async with restored.opened as link:
        opened = await first(link.events(), events.BreakerOpened)
        assert (opened.at, opened.failures, opened.retry_after) == (restored.began, 2, 60)
        await trio.sleep(61)
    assert restored.dialled() == [60]


async def test_a_raised_threshold_keeps_the_count_and_an_open_breaker() -> None:
    restored = Restored(await saved_after(25), breaker_threshold=6)
    async with restored.opened as link:
        assert (await first(link.events(), events.BreakerOpened)).at - restored.began == 25
    restored = Restored(await saved_after(55), breaker_threshold=1_000)
    async with restored.opened as link:
        assert (await first(link.events(), events.BreakerOpened)).retry_after == 45
        assert link.statistics().breaker_failures == 5


async def test_a_running_period_has_the_length_that_is_set_now() -> None:
    saved = await saved_after(40, breaker_threshold=1)
    for open_time, left in ((100, 60), (50, 10), (30, 0)):
        restored = Restored(saved, breaker_threshold=1, breaker_open_time=open_time)
        async with restored.opened as link:
            assert (await first(link.events(), events.BreakerOpened)).retry_after == left
            await trio.sleep(left + 1)
        assert restored.dialled() == [left]


async def test_each_restored_link_has_jitter_of_its_own() -> None:
    breaker, t5 = await saved_after(40, breaker_threshold=1), await saved_after(3)
    for saved, threshold, left, whole in ((breaker, 1, 20, 60), (t5, 5, 7, 10)):
        moments = set()
        for seed in range(5):
            given = {"breaker_threshold": threshold, "backoff_jitter": 0.5, "seed": seed}
            restored = Restored(saved, **given)
            async with restored.opened:
                await trio.sleep(left + 0.5 * whole)
            moments.add(restored.dialled()[0])
        assert len(moments) == 5
        assert left < min(moments) < max(moments) < left + 0.5 * whole


async def test_a_link_up_for_years_can_be_saved_and_comes_back() -> None:
    saved = await saved_after(1e9, refused=False)
    assert saved["attempt_age"] == OLDEST
    restored = Restored(saved, 1e11 - THEN)
    async with restored.opened as link:
        assert link.save()["attempt_age"] == OLDEST


# What is refused


WHOLE = "layout, saved_at, is_enabled, attempt_age, open_age, breaker"
REFUSED: list[tuple[Callable[[Saved], object], str]] = [
    (lambda _: 7, f"link is 7, not an object with {WHOLE}"),
    (lambda _: "", "it is no JSON that is saved: Expecting value: line 1 column 1 (char 0)"),
    (lambda _: "null", f"link is None, not an object with {WHOLE}"),
    (lambda _: b"\xff{", "it is no JSON that is saved: 'utf-8' codec can't decode byte 0xff"),
    (lambda _: "[" * 4_000, "it is no JSON that is saved: "),
    (lambda _: '{"layout": 1, "layout": 1}', "the key 'layout' is there twice"),
    (lambda _: '{"a": {"b": 1, "b": 2}}', "the key 'b' is there twice"),
    (lambda s: json.dumps(s) + " " * 4_096, " characters or bytes are more than 4096"),
    (lambda s: json.dumps({**s, "saved_at": math.nan}), "link.saved_at=nan is not a number in"),
    (lambda s: json.dumps(s).replace("3.0", "1e999"), "link.attempt_age=inf is not a number in"),
    (
        lambda s: json.dumps(s).replace("3.0", "9" * 3_000),
        "link.attempt_age=a number of 9966 bits is not a number in 0..1e+06",
    ),
    (lambda s: {**s, "attempt_age": -0.1}, "link.attempt_age=-0.1 is not a number in 0..1e+06"),
    (lambda s: {**s, "attempt_age": True}, "link.attempt_age=True is not a number in 0..1e+06"),
    (lambda s: {**s, "attempt_age": "3"}, "link.attempt_age='3' is not a number in 0..1e+06"),
    (lambda s: {**s, "saved_at": 1e12}, "link.saved_at=1000000000000.0 is not a number in -1e+11"),
    (lambda s: {**s, "saved_at": None}, "link.saved_at=None is not a number in -1e+11..1e+11"),
    (lambda s: {**s, "is_enabled": 1}, "link.is_enabled=1 is not true or false"),
    (lambda s: {**s, "layout": 2}, "link.layout=2 is not 1: another version has saved it"),
    (lambda s: {**s, "more": 2}, f"link has the unknown key 'more'; its keys are {WHOLE}"),
    (
        lambda s: {key: s[key] for key in s if key != "open_age"},
        f"link has no open_age; its keys are {WHOLE}",
    ),
    (lambda s: {**s, "breaker": {}}, "breaker has no layout; its keys are layout, chart, "),
    (
        lambda s: {**s, "breaker": {**s["breaker"], "values": {"failures": 9}}},
        "breaker.values.failures=9 is not a whole number in 0..5",
    ),
    (
        lambda s: {**s, "open_age": 1},
        "link.open_age=1.0 does not fit a breaker in breaker_closed: it is a number",
    ),
    (
        lambda s: {**s, "breaker": {**s["breaker"], "states": ["breaker_open"]}},
        "link.open_age=None does not fit a breaker in breaker_open: it is a number",
    ),
]


@pytest.mark.parametrize(("change", "text"), REFUSED)
async def test_what_is_refused_opens_nothing_and_is_named(
    change: Callable[[Saved], object], text: str
) -> None:
    saved = await saved_after(3)
    board = Switchboard()
    opened: Any = link_end(board, restore=change(copy.deepcopy(saved)), **SETTINGS)
    with pytest.raises(RestoreError) as caught:
        await opened.__aenter__()

    words = str(caught.value)
    assert words.startswith("tool:5000: this cannot be restored: ")
    assert text in words
    assert len(words) < 300
    assert board.dialled == 0


@pytest.mark.parametrize("written", [json.dumps, lambda saved: json.dumps(saved).encode()])
async def test_text_and_bytes_are_read_as_the_object_is(
    written: Callable[[Saved], str | bytes],
) -> None:
    saved = await saved_after(25)
    restored = Restored(written(saved), 2)
    async with restored.opened as link:
        assert link.statistics().breaker_failures == 3
        await trio.sleep(4)
    assert restored.dialled() == [3]


# The guide


async def test_the_program_of_the_guide_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "guide.md").read_text(encoding="utf-8")
    section = page.partition("## A program that is started again")[2].partition("\n## ")[0]
    (program,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    file = tmp_path / "tool.json"
    board = Switchboard()
    board.refuse()
    seen: list[tuple[int, int]] = []

    async def use(link: HsmsLink) -> None:
        await trio.sleep(1)
        seen.append((link.statistics().breaker_failures, board.dialled))

    for _ in range(2):
        await names["run_link"](file, use, dial=board.dial)
    assert json.loads(file.read_text(encoding="utf-8"))["breaker"]["values"] == {"failures": 1}
    file.write_text("{}", encoding="utf-8")
    await names["run_link"](file, use, dial=board.dial)

    # The second begins with the failure of the first and waits for T5; the third begins anew.
    assert seen == [(1, 1), (1, 1), (1, 2)]
    assert re.fullmatch(
        r"It begins anew: 127.0.0.1:5000: this cannot be restored: link has no layout; .*\n",
        capsys.readouterr().out,
    )
