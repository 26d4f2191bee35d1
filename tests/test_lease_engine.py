"""The engine of a link that a lease decides about, driven without I/O."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any, NoReturn

import pytest

from hsms_engine import (
    ClosedError,
    ConnectionLostError,
    DefectError,
    HsmsError,
    LinkDownError,
    Message,
    Settings,
    SettingsError,
)
from hsms_engine.driver.driver import Driver
from hsms_engine.errors import LeaseError
from hsms_engine.events import (
    BreakerIsolated,
    BreakerOpened,
    Doubtful,
    Draining,
    Happened,
    LinkEvent,
    Owning,
    Separating,
    Standby,
    Waiting,
)
from hsms_engine.protocol import (
    AskStore,
    Engine,
    Kept,
    LeaseTimes,
    OpenTcp,
    Output,
    OwnedEngine,
    Ownership,
    Primary,
    Step,
    StopAsking,
    StoreCall,
    Transaction,
)
from hsms_engine.protocol.leasing import LONGEST, OWNERSHIP, SHORTEST
from hsms_engine.protocol.saving import RESTORED, read, write
from hsms_engine.traffic.logs import write_logs
from hsms_engine.wire import SType
from statecharts import Machine, Router
from statecharts.hsms import LEASE, OWNED_LINK
from statecharts.hsms.timers import (
    LEASE_END,
    LEASE_POLL,
    OWN_DEADLINE,
    RENEWAL,
    RENEWAL_RETRY,
    STORE_TIMEOUT,
)
from tests.support.engines import End, outcome_of
from tests.support.engines import selected as unowned
from tests.support.owned import (
    LEAVES,
    SILENT,
    TIMES,
    OwnedEnd,
    acquiring,
    asking_again,
    draining,
    lost,
    owner,
    owner_selected,
    pausing,
    renewing,
    standby,
    withdrawn,
)
from tests.support.raw_peer import data, select_rsp
from tests.support.replay import conforms
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

S1F1, S1F2, S6F11 = Message(1, 1, wait=True), Message(1, 2), Message(6, 11)
TIMERS = (LEASE_POLL, STORE_TIMEOUT, RENEWAL, RENEWAL_RETRY, OWN_DEADLINE, LEASE_END)
# What an owner may hear when its clock is past its own deadline.
OVERSLEPT = 9.0
PAST_THE_END = 11.0


def near(seconds: float) -> Any:
    """So many seconds, but for the rounding of floats."""
    return pytest.approx(seconds)


def events_of(found: Iterable[Output]) -> list[LinkEvent]:
    return [each for each in found if isinstance(each, Happened)]


def kinds_of(found: Iterable[Output]) -> list[str]:
    """What came out, but for bytes and steps."""
    return [str(each) if isinstance(each, AskStore) else type(each).__name__
            for each in found if not isinstance(each, bytes)]  # fmt: skip


# The times of a lease

NO_LENGTH = "duration=0 of a lease is not from 1 to 600 seconds"


def test_the_times_of_a_lease_of_ten_seconds_are_those_that_the_charts_show() -> None:
    assert {each.id: TIMES.seconds(each.id) for each in TIMERS} == {
        each.id: near(each.seconds) for each in TIMERS
    }
    assert TIMES.end - TIMES.own_deadline == near(1)


def test_the_ranges_that_the_charts_show_are_those_of_the_shortest_and_the_longest_lease() -> None:
    lowest, highest = LeaseTimes(SHORTEST), LeaseTimes(LONGEST)
    assert {each.id: (lowest.seconds(each.id), highest.seconds(each.id)) for each in TIMERS} == {
        each.id: (near(each.lowest), near(each.highest)) for each in TIMERS
    }


@pytest.mark.parametrize("duration", [1, 1.0, 2.5, 600])
def test_every_length_of_a_lease_leaves_time_for_what_follows(duration: float) -> None:
    times = LeaseTimes(duration)
    for timer in TIMERS:
        assert timer.lowest <= times.seconds(timer.id) <= timer.highest
    # Two clocks are each wrong by 1 % at most: the owner is out before the store gives it away.
    assert times.end / 0.99 < duration / 1.01
    # A second and a third question fit before the own deadline, if each is not answered at all.
    tries = times.seconds(RENEWAL.id) + 3 * times.store_timeout + 2 * times.seconds("renewal_retry")
    assert times.store_timeout + tries > times.own_deadline > tries - times.store_timeout


@pytest.mark.parametrize(
    "duration", [0, 0.999, 600.001, -10, math.nan, math.inf, True, "10", None, 10j, [10]]
)
def test_a_lease_of_another_length_is_refused(duration: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        LeaseTimes(duration)
    if duration == 0:
        assert str(caught.value) == NO_LENGTH
    assert str(caught.value) == (f"duration={duration!r} of a lease is not from 1 to 600 seconds")


def test_a_timer_that_no_lease_has_is_no_part_of_one() -> None:
    with pytest.raises(KeyError, match="t5"):
        TIMES.seconds("t5")


def test_every_state_of_the_chart_is_a_state_of_an_ownership() -> None:
    leaves = {each.id for each in LEASE.walk() if not each.children}
    assert OWNERSHIP.keys() == leaves
    for leaf, make in LEAVES.items():
        end = make()
        assert end.state == leaf
        assert end.engine.ownership.state == OWNERSHIP[leaf]


# A life


def test_the_link_is_enabled_when_the_lease_is_granted_and_follows_it_from_then_on() -> None:
    end = OwnedEnd()
    end.engine.enable()
    assert kinds_of(end.out()) == ["AskStore(acquire)", "Standby"]
    end.now = 1
    found = end.grant()
    assert kinds_of(found) == ["StopAsking", "OpenTcp", "Owning", "Connecting"]
    assert events_of(found)[0] == Owning(1, 0, 4)
    end.engine.tcp_opened()
    end.out()
    end.take(select_rsp(end.last))
    assert end.engine.is_selected
    assert kinds_of(end.at(3.5)) == ["AskStore(renew)"]
    assert kinds_of(end.grant()) == ["StopAsking"], "a renewal is no news"
    assert end.engine.timers()["own_deadline"] == near(3.5 + 8.8)
    end.engine.disable()
    assert kinds_of(end.out()) == ["Draining", "Separating", "FinishTcp"]
    end.engine.tcp_closed()
    found = end.out()
    assert kinds_of(found) == ["CloseTcp", "ReleaseLease", "Idle", "Withdrawn"]
    assert end.engine.ownership == Ownership("withdrawn", 3.5, "", 4, math.inf)
    end.engine.enable()
    assert kinds_of(end.out()) == ["AskStore(acquire)", "Standby"]


def test_a_standby_asks_again_when_it_is_told_to_and_when_nobody_tells() -> None:
    end = standby()
    assert end.asked is StoreCall.WATCH
    assert kinds_of(end.at(2.5)) == ["StopAsking", "AskStore(acquire)"]
    end.refuse(epoch=3)
    assert end.asked is StoreCall.WATCH
    end.engine.lease_freed(3)
    found = end.out()
    assert kinds_of(found) == ["StopAsking", "AskStore(acquire)", "Standby"]
    assert events_of(found) == [Standby(2.5, 0, "", 3, None)]
    assert "Owning" in kinds_of(end.grant())


def test_what_a_standby_knows_is_told_again_only_when_it_is_something_else() -> None:
    end = acquiring()
    told = [*events_of(end.refuse("b", 3))]
    for happens in (
        lambda: end.engine.lease_news("b", 3, 9),
        lambda: end.engine.lease_news("b", 4, 9),
        lambda: end.engine.store_failed(LeaseError("x")),
        lambda: end.engine.store_failed(LeaseError("x")),
        lambda: end.engine.store_failed(LeaseError("y")),
        lambda: end.engine.lease_news("c", 5, 9),
        lambda: end.at(2.5),
        lambda: end.engine.store_failed(LeaseError("z")),
        lambda: end.engine.lease_news("c", 5, 9),
        lambda: end.engine.lease_news("", 5, 0),
    ):
        end.now += 0.125
        happens()
        told += events_of(end.out())
    assert [(each.owner, each.lease_epoch, each.error and str(each.error)) for each in told
            if isinstance(each, Standby)] == [
        ("b", 3, None), ("b", 4, "x"), ("b", 4, "y"), ("c", 5, None), ("c", 5, "z"),
        ("c", 5, None), ("", 5, None),
    ]  # fmt: skip
    assert len(told) == 7


def test_a_standby_has_stood_by_since_it_began_and_has_known_the_owner_since_it_heard() -> None:
    end = acquiring()
    end.now = 1
    assert end.engine.ownership == Ownership("acquiring", 0, "", 0, math.inf)
    end.refuse("b", 3)
    assert end.engine.ownership == Ownership("standby", 1, "b", 3, 5)
    end.now = 2
    end.engine.lease_news("b", 3, 9)
    assert end.engine.ownership == Ownership("standby", 1, "b", 3, 9)
    end.now = 3.5
    end.engine.tick()
    assert end.engine.ownership == Ownership("acquiring", 1, "b", 3, 7.5)
    end.asleep = 100
    assert end.engine.ownership.ends_in == 0
    end.refuse("c", 4)
    assert end.engine.ownership == Ownership("standby", 3.5, "c", 4, 5)


def test_news_of_a_watch_are_nothing_where_nobody_watches() -> None:
    for make in (withdrawn, acquiring, owner_selected, draining):
        end = make()
        before = end.engine.ownership
        end.engine.lease_news("c", 9, 9)
        assert end.out() == []
        assert end.engine.ownership == before


def test_a_store_that_fails_leaves_a_selected_link_alone_until_the_own_deadline() -> None:
    end = renewing()
    found = end.at(4.5)
    (told,) = events_of(found)
    assert isinstance(told, Doubtful)
    assert (told.at, str(told.error), told.ends_in) == (4.5, NO_ANSWER, near(4.3))
    assert end.counts()["store_failures"] == 1
    assert kinds_of(end.at(5)) == ["AskStore(renew)"]
    assert kinds_of(end.fail()) == ["StopAsking"]
    assert end.counts()["store_failures"] == 2
    assert end.engine.is_selected
    assert end.engine.ownership.ends_in == near(3.8)
    assert kinds_of(end.at(5.5)) == ["AskStore(renew)"]
    assert kinds_of(end.grant()) == ["StopAsking", "Owning"], "the doubt is over"
    assert end.engine.ownership == Ownership("owner", 5.5, "host-a:1", 4, near(8.8))


def test_the_own_deadline_counts_from_the_request_and_not_from_its_answer() -> None:
    end = acquiring()
    end.now = 1.5
    end.engine.lease_granted(4, 0.25)
    end.out()
    assert end.engine.timers()["own_deadline"] == near(0.25 + 8.8)
    assert end.engine.ownership.ends_in == near(0.25 + 8.8 - 1.5)
    # A request that has not been made yet would make a lease longer.
    end = acquiring()
    end.engine.lease_granted(4, 1_000)
    end.out()
    assert end.engine.timers()["own_deadline"] == near(8.8)


@pytest.mark.parametrize("asked_at", [-0.2, -5, -math.inf, math.nan])
@pytest.mark.parametrize("make", [acquiring, renewing])
def test_a_grant_after_its_own_deadline_is_a_store_that_has_failed(
    make: Callable[[], OwnedEnd], asked_at: float
) -> None:
    end = make()
    end.asleep = 8.7 - end.now
    end.engine.lease_granted(4, asked_at)
    (told,) = events_of(end.out())
    assert isinstance(told, Standby if make is acquiring else Doubtful)
    assert str(told.error) == TOO_LATE
    assert end.engine.may_send() is (make is renewing)


def test_a_grant_right_before_its_own_deadline_is_one() -> None:
    end = acquiring()
    end.asleep = 8.7
    end.engine.lease_granted(4, 0)
    assert "OpenTcp" in kinds_of(end.out())
    assert end.engine.next_due() == near(0.1)
    assert kinds_of(end.at(0.2))[:2] == ["AbandonTcp", "ReleaseLease"]


ANSWERS: dict[str, Callable[[OwnedEngine], None]] = {
    "lease_granted": lambda engine: engine.lease_granted(9, 4),
    "lease_refused": lambda engine: engine.lease_refused("host-c", 9, 5),
    "lease_freed": lambda engine: engine.lease_freed(9),
    "store_failed": lambda engine: engine.store_failed(SILENT),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("leaf", LEAVES)
def test_an_answer_that_comes_when_nothing_is_asked_is_ignored(leaf: str, answer: str) -> None:
    end = LEAVES[leaf]()
    before, known = end.engine.states, end.engine.ownership
    takes = end.engine._life.takes(answer)
    ANSWERS[answer](end.engine)
    found = end.out()
    if takes:
        assert found or answer == "store_failed"
    else:
        assert found == []
        assert (end.engine.states, end.engine.ownership) == (before, known)
    # Nothing is asked where nothing is heard.
    assert not (takes and leaf in ("withdrawn", "settled", "pausing", "draining", "ended"))


# Before anything is read or run


def primaries_of(end: OwnedEnd) -> list[Primary]:
    """The primary that it gets from its peer, where it gets one."""
    return [each for each in end.take(data(1, 1, 8, wait=True)) if isinstance(each, Primary)]


def foreign_primary() -> Primary:
    """One that came over another connection."""
    (primary,) = primaries_of(owner_selected())
    return primary


# Each call, and whether it raises when the link is disabled in it.
CALLS: dict[str, Callable[[OwnedEnd], object]] = {
    "dial_began": lambda end: end.engine.dial_began(),
    "tcp_opened": lambda end: end.engine.tcp_opened(),
    "tcp_failed": lambda end: end.engine.tcp_failed(OSError("x")),
    "tcp_closed": lambda end: end.engine.tcp_closed(),
    "wrote": lambda end: end.engine.wrote(0),
    "receive": lambda end: end.engine.receive(data(1, 1, 9, wait=True)),
    "tick": lambda end: end.engine.tick(),
    "judge_lease": lambda end: end.engine.judge_lease(),
    "enable": lambda end: end.engine.enable(),
    "disable": lambda end: end.engine.disable(),
    "close": lambda end: end.engine.close(),
    "stop": lambda end: end.engine.stop(),
    "fail": lambda end: end.engine.fail("why"),
    "isolate": lambda end: end.engine.isolate(),
    "release": lambda end: end.engine.release(),
    "reset_breaker": lambda end: end.engine.reset_breaker(),
    "linktest": lambda end: end.engine.linktest(),
    "deselect": lambda end: end.engine.deselect(),
    "select": lambda end: end.engine.select(),
    "configure": lambda end: end.engine.configure(Settings(t3=3)),
    "request": lambda end: end.engine.request(S1F1),
    "send": lambda end: end.engine.send(S6F11),
    "reply": lambda end: end.engine.reply(end.primaries[0], S1F2),
    "report_unreadable": lambda end: end.engine.report_unreadable(),
    "lease_granted": lambda end: end.engine.lease_granted(4, 2.5),
    "lease_refused": lambda end: end.engine.lease_refused("b", 5, 5),
    "lease_freed": lambda end: end.engine.lease_freed(5),
    "lease_news": lambda end: end.engine.lease_news("b", 5, 5),
    "store_failed": lambda end: end.engine.store_failed(SILENT),
}
# What changes nothing, and sends nothing; what a listening end alone has.
READS = {
    "acknowledged", "abandon", "allow", "drop", "dropped", "expect_open", "filled", "has_space",
    "is_due", "judges", "begins", "kept", "may_overflow", "may_send", "on_unreadable", "refused",
    "room", "space", "statistics", "timers", "transfers", "unusable", "watch",
    "serving", "session_wanted", "tcp_accepted",
}  # fmt: skip


def test_every_call_of_the_engine_is_judged_or_only_reads() -> None:
    calls = {
        name
        for name, found in (vars(Engine) | vars(OwnedEngine)).items()
        if callable(found) and not name.startswith("_")
    }
    assert calls - READS == CALLS.keys()
    judged = {name for name, found in vars(OwnedEngine).items() if hasattr(found, "__wrapped__")}
    # These two are made of the others.
    assert judged == CALLS.keys() - {"judge_lease", "stop"}


def woken(make: Callable[[], OwnedEnd], at: float, *, suspended: bool) -> OwnedEnd:
    """It has slept until ``at`` on the clock of the lease, and a primary waits unanswered."""
    end = make()
    end.primaries = primaries_of(end)
    if suspended:
        end.asleep = at - end.now
    else:
        end.now = at
    return end


@pytest.mark.parametrize("suspended", [False, True], ids=["stopped", "suspended"])
@pytest.mark.parametrize("make", [owner_selected, pausing, renewing])
@pytest.mark.parametrize("name", CALLS)
def test_whatever_is_given_to_an_engine_past_its_own_deadline_the_link_is_disabled_first(
    name: str, make: Callable[[], OwnedEnd], suspended: bool
) -> None:
    end = woken(make, OVERSLEPT, suspended=suspended)
    with suppress(HsmsError):
        CALLS[name](end)
    found = [each for each in end.out() if not isinstance(each, (StopAsking, Transaction))]
    separate, *others = found
    assert isinstance(separate, bytes)
    assert end.frames[-1].stype == SType.SEPARATE_REQ, "nothing else is sent"
    assert len(separate) == 14
    events = events_of(others)
    assert isinstance(events[0], Draining)
    assert events[0].why == "deadline"
    assert not [each for each in found if isinstance(each, Primary)], "nothing is read"
    assert not end.engine.is_selected
    is_over = name in ("tcp_closed", "fail", "stop")
    assert end.engine.may_send() is not is_over, "there is time to separate"


@pytest.mark.parametrize("make", [owner_selected, pausing, renewing, draining, lost])
@pytest.mark.parametrize("name", CALLS)
def test_whatever_is_given_to_an_engine_past_the_end_the_link_is_cut_first(
    name: str, make: Callable[[], OwnedEnd]
) -> None:
    end = make()
    end.primaries = [foreign_primary()]
    if make in (owner_selected, pausing, renewing):
        end = woken(make, PAST_THE_END, suspended=True)
    else:
        end.asleep = PAST_THE_END - end.now
    assert not end.engine.may_send()
    with suppress(HsmsError):
        CALLS[name](end)
    kinds = kinds_of(end.out())
    assert "CloseTcp" in kinds
    assert "ResetTcp" in kinds
    assert kinds.index("ResetTcp") < kinds.index("ReleaseLease")
    assert "Primary" not in kinds
    assert end.engine.phase in ("idle", "closed")
    assert not end.engine.may_send()


@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize("make", [owner, owner_selected, pausing, renewing, draining, lost])
def test_a_deadline_that_passes_at_any_moment_within_a_call_is_no_defect(
    name: str, make: Callable[..., OwnedEnd]
) -> None:
    """Each reading of a clock may be the first one after the deadline, or after the end."""
    for late in (8.9, 9.9):
        for crossing in range(60):
            end = make()
            end.primaries = primaries_of(end) or [foreign_primary()]
            readings, began = count(), end.now
            end.clock = lambda: late if next(readings) >= crossing else began  # noqa: B023
            with suppress(HsmsError):
                CALLS[name](end)
            end.out()
            has_crossed = next(readings) > crossing
            end.clock = lambda: late  # noqa: B023
            end.engine.tick()
            end.out()
            assert end.engine._life.defect is None
            # A grant that was heard in time holds.
            assert name == "lease_granted" or not end.engine.is_selected
            if not has_crossed:
                break
        else:
            raise AssertionError("a call that reads the clock so often is no call")


def test_a_grant_that_comes_after_the_own_deadline_does_not_undo_it() -> None:
    end = renewing()
    end.asleep = 6.5
    end.engine.lease_granted(4, 2.5)
    assert [type(each) for each in events_of(end.out())] == [Draining, Separating]
    assert end.state == "draining"


def test_who_wakes_late_judges_the_lease_and_then_reads_before_it_judges_the_peer() -> None:
    end = owner_selected(t3=5)
    request = end.engine.request(S1F1)
    end.out()
    end.now = 9
    assert end.engine.is_due()
    end.engine.judge_lease()
    assert isinstance(outcome_of(request), ConnectionLostError), "the lease has ended it, not T3"
    end.out()
    end = standby()
    end.now = 3
    assert end.engine.begins()
    assert not end.engine.judges()
    end = acquiring()
    end.now = 2
    assert end.engine.judges(), "an answer may have come"
    assert not end.engine.begins()


def test_the_deadlines_of_a_lease_are_due_on_the_engine_s_clock() -> None:
    end = owner_selected()
    assert end.engine.timers()["own_deadline"] == near(8.8)
    end.asleep = 3
    assert end.engine.timers()["own_deadline"] == near(5.8)
    assert end.engine.is_due() is False
    end.asleep = 9
    assert end.engine.is_due()
    end.engine.judge_lease()
    assert end.engine.timers()["lease_end"] == near(0.8)


def test_an_engine_without_a_lease_may_always_send_and_judges_none() -> None:
    end = unowned()
    end.engine.judge_lease()
    assert end.engine.may_send()
    assert end.engine.ownership is None
    assert end.engine.store_error is None
    assert end.out() == []


def test_a_timer_that_nobody_knows_is_refused() -> None:
    with pytest.raises(KeyError, match="no duration is known for timer 'own_deadline'"):
        End().engine._life.timers.due_from("own_deadline", 0)


# What a user may call


def refusal_of(end: OwnedEnd, call: Callable[[OwnedEngine], object]) -> str:
    with pytest.raises(HsmsError) as caught:
        call(end.engine)
    return str(caught.value)


ENABLE_TWICE = "tool: enable is not possible while {}"
DISABLE_TWICE = "tool: disable is not possible while withdrawn"
AFTER_CLOSE = "tool: {} after close; open another one"


@pytest.mark.parametrize("leaf", LEAVES)
def test_enable_and_disable_are_calls_for_the_lease_in_every_state(leaf: str) -> None:
    state = OWNERSHIP[leaf]
    match leaf:
        case "withdrawn":
            assert refusal_of(LEAVES[leaf](), OwnedEngine.disable) == DISABLE_TWICE
            LEAVES[leaf]().engine.enable()
        case "draining":
            end = draining()
            text = "tool: disable is not possible while draining"
            assert refusal_of(end, OwnedEngine.disable) == text
            end.engine.enable()
            text = ENABLE_TWICE.format("draining")
            assert refusal_of(end, OwnedEngine.enable) == text
            end.engine.tcp_closed()
            assert kinds_of(end.out())[-2:] == ["Idle", "Standby"]
            end = lost()
            end.engine.disable()
            end.engine.tcp_closed()
            assert kinds_of(end.out())[-2:] == ["Idle", "Withdrawn"]
        case "ended":
            end = LEAVES[leaf]()
            for name in ("enable", "disable"):
                call = getattr(OwnedEngine, name)
                assert refusal_of(end, call) == AFTER_CLOSE.format(name)
        case _:
            assert refusal_of(LEAVES[leaf](), OwnedEngine.enable) == ENABLE_TWICE.format(state)
            LEAVES[leaf]().engine.disable()


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("call", [Engine.close, Engine.stop], ids=["close", "stop"])
def test_a_link_that_is_closed_gives_the_lease_back_when_its_connection_is_over(
    leaf: str, call: Callable[[Engine], None]
) -> None:
    end = LEAVES[leaf]()
    was_asked, before = end.asked, end.released
    getattr(end.engine, call.__name__)()
    found = end.out()
    if call is Engine.close:
        assert end.engine.phase in ("separating", "closed")
        end.engine.tcp_closed()
        found += end.out()
    kinds = kinds_of(found)
    assert end.engine.is_closed
    assert end.state == "ended"
    assert end.asked is None
    assert ("StopAsking" in kinds) is (was_asked is not None)
    may_have_it = leaf not in ("withdrawn", "standby", "ended")
    assert end.released - before == may_have_it
    if "ReleaseLease" in kinds and "CloseTcp" in kinds:
        assert kinds.index("CloseTcp") < kinds.index("ReleaseLease")
    assert end.engine.next_due() == math.inf
    assert not end.engine.may_send()
    with pytest.raises(ClosedError):
        end.engine.request(S1F1)


def test_a_lease_that_is_over_while_the_user_closes_the_link_changes_nothing_but_the_end() -> None:
    end = owner_selected(linger=10)
    end.is_read = False
    end.engine.send(S6F11)
    end.engine.close()
    end.out()
    assert kinds_of(end.at(9)) == ["Draining"]
    assert kinds_of(end.at(9.9)) == ["Unsent", "CloseTcp", "ResetTcp", "ReleaseLease", "Closed"]
    assert end.state == "ended"
    assert str(end.engine.unsent) == CUT_SHORT
    with pytest.raises(ClosedError):
        end.engine.enable()


@pytest.mark.parametrize("leaf", ["withdrawn", "standby", "acquiring", "draining"])
def test_the_breaker_can_be_isolated_without_the_lease(leaf: str) -> None:
    end = LEAVES[leaf]()
    end.engine.isolate()
    assert "BreakerIsolated" in kinds_of(end.out())
    end.engine.release()
    assert "BreakerClosed" in kinds_of(end.out())


STANDS_BY = "tool: the link is idle; standby: host-b:2 has owned TOOL-7 for at least 1.5 s"
KNOWS_NOBODY = "tool: the link is idle; standby: who owns TOOL-7 is not known yet"
HEARS_NOTHING = f"{KNOWS_NOBODY} (the store is away)"
LOST = "tool: the link is separating; draining: host-b:2 has got the lease of TOOL-7"
GIVES_BACK = "tool: the link is separating; draining: the lease of TOOL-7 is given back"
OVERDUE = (
    "tool: the link is separating; draining: the lease of TOOL-7 is given back (the store is away)"
)


def overdue() -> OwnedEnd:
    end = pausing(linger=10)
    end.is_read = False
    end.at(8.9)
    return end


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (standby, STANDS_BY),
        (acquiring, KNOWS_NOBODY),
        (draining, GIVES_BACK),
        (lost, LOST),
        (overdue, OVERDUE),
    ],
)
def test_who_cannot_send_is_told_what_the_lease_has_to_do_with_it(
    make: Callable[[], OwnedEnd], text: str
) -> None:
    end = make()
    if make is standby:
        end.now = 1.5
    with pytest.raises(LinkDownError) as caught:
        end.engine.request(S1F1)
    assert str(caught.value) == text
    assert caught.value.retry_after == math.inf
    assert end.engine.statistics().retry_after == math.inf


def test_a_standby_whose_store_is_away_says_so() -> None:
    end = acquiring()
    end.fail()
    assert str(end.engine.unusable()) == HEARS_NOTHING


def test_who_is_disabled_or_not_connected_yet_hears_what_everybody_hears() -> None:
    end = withdrawn()
    assert str(end.engine.unusable()) == (
        "tool: the link is idle, not selected; no attempt will be made until it is enabled or "
        "released"
    )
    end = owner()
    assert str(end.engine.unusable()) == "tool: the link is connecting, not selected"
    assert end.engine.statistics().retry_after == 0


UNNAMED = "tool: the link is idle; standby: who owns the tool is not known yet"
NAMELESS = "this process"


def test_people_can_read_also_what_has_no_names() -> None:
    times = LeaseTimes(10)
    assert str(acquiring(times=times).engine.unusable()) == UNNAMED
    assert owner(times=times).engine.ownership.owner == NAMELESS


def test_a_standby_is_not_down() -> None:
    end = standby(unreachable_after=1)
    assert end.at(2) == []
    assert end.engine.down_for == 0


# Why a connection is over

DEADLINE = "the lease of TOOL-7 was not renewed by its own deadline, 8.8 s after it was asked for"
THE_END = "the lease of TOOL-7 is over, 9.8 s after it was asked for"
GONE = "by the store, the lease of TOOL-7 is not ours any more"
CUT_SHORT = f"tool: closed, but 14 bytes accepted for sending were not written: {THE_END}"
TAKEN = "host-b:2 has got the lease of TOOL-7"
TOO_LATE = "the store of leases has given the lease, but its answer came too late"
NO_ANSWER = "the store of leases has not answered for 2 s"


@pytest.mark.parametrize(
    ("make", "happens", "why"),
    [
        (owner_selected, lambda end: end.at(8.9), DEADLINE),
        (pausing, lambda end: end.at(8.9), f"{DEADLINE}: the store is away"),
        (renewing, lambda end: end.refuse(), TAKEN),
        (asking_again, lambda end: end.refuse("", 5), GONE),
        (renewing, lambda end: end.engine.lease_freed(4), GONE),
        (owner_selected, lambda end: end.engine.disable(), "it was ended by a call"),
    ],
    ids=["deadline", "deadline in doubt", "taken", "refused", "freed", "disabled"],
)
def test_a_request_that_is_open_is_told_why_its_lease_is_over(
    make: Callable[[], OwnedEnd], happens: Callable[[OwnedEnd], object], why: str
) -> None:
    end = make()
    request = end.engine.request(S1F1)
    end.out()
    happens(end)
    error = outcome_of(request)
    assert isinstance(error, ConnectionLostError)
    assert str(error) == f"S1F1 got no reply: tool: connection closed: {why}"
    assert error.reason == why
    assert isinstance(error.__cause__, LeaseError) is (why != "it was ended by a call")


def test_a_connection_that_is_cut_was_lost_and_the_link_says_why() -> None:
    end = pausing(linger=10)
    end.is_read = False
    end.at(8.9)
    kinds = kinds_of(end.at(9.8))
    assert kinds[:4] == ["CloseTcp", "ResetTcp", "ReleaseLease", "AskStore(watch)"]
    assert end.counts()["bytes_unsent"] == 14
    end = owner()
    end.engine.tcp_opened()
    end.out()
    end.at(8.9)
    assert str(end.engine.last_error) == f"tool: connection closed: {DEADLINE}"


def test_an_attempt_that_the_lease_ends_is_no_failure() -> None:
    end = owner(breaker_threshold=1)
    end.at(8.9)
    assert end.engine.failed_attempts == 0
    assert end.engine.statistics().breaker_failures == 0


# What the latest owner has left

LONG = LeaseTimes(600)


def kept_by(**state: Any) -> Kept:
    """What an owner has kept: its breaker, and when it has dialled last."""
    failures, isolated = state.pop("failures", 0), state.pop("isolated", False)
    ago, threshold = state.pop("ago", None), state.pop("threshold", 3)
    other = End(breaker_threshold=threshold, t5=10)
    other.now = 0
    if ago is not None:
        other.engine.enable()
        other.out()
        for _ in range(failures):
            other.engine.tcp_failed(OSError("refused"))
            other.out()
            if "waiting" in other.engine.states:
                other.at(other.engine.next_due())
        if other.engine.phase == "waiting":
            other.engine.disable()
    if isolated:
        other.engine.isolate()
    found = other.engine.kept()
    return replace(found, attempt_age=ago)


def test_an_owner_goes_on_with_the_breaker_and_t5_of_the_latest_one() -> None:
    end = acquiring(breaker_threshold=3, t5=10)
    end.now = 100
    found = end.grant(kept=kept_by(failures=2, ago=4.0))
    assert end.engine.statistics().breaker_failures == 2
    assert kinds_of(found) == ["StopAsking", "Owning", "Waiting"]
    assert events_of(found)[-1] == Waiting(100, 0, near(6), None)
    assert "OpenTcp" in kinds_of(end.at(106.1))


def test_an_owner_does_not_dial_a_tool_whose_breaker_the_latest_one_has_opened() -> None:
    end = acquiring(times=LONG, breaker_threshold=3, t5=10, breaker_open_time=60)
    found = end.grant(kept=replace(kept_by(failures=3, ago=40.0), open_age=20.0))
    told = [type(each) for each in events_of(found)]
    assert told == [BreakerOpened, Owning, Waiting]
    assert events_of(found)[0].retry_after == near(40)  # type: ignore[union-attr]
    end.at(0.1)
    assert end.engine.phase == "blocked"
    assert "OpenTcp" in kinds_of(end.at(40.1))


def test_t5_counts_from_the_later_of_both_attempts_and_the_breaker_with_it() -> None:
    for theirs, failures in ((3.0, 1), (8.0, 2), (None, 2)):
        end = owner(times=LONG, breaker_threshold=3, t5=10)
        end.engine.tcp_failed(OSError("refused"))
        end.out()
        end.at(10)
        end.engine.tcp_failed(OSError("refused"))
        end.engine.disable()
        end.now = 15
        end.engine.enable()
        end.out()
        # Ours was 5 s ago.
        found = end.grant(kept=replace(kept_by(failures=1, ago=3.0), attempt_age=theirs))
        assert end.engine.statistics().breaker_failures == failures
        waits = 7 if theirs == 3.0 else 5
        assert events_of(found)[-1] == Waiting(15, 0, near(waits), None)


def test_a_breaker_that_somebody_has_isolated_stays_so() -> None:
    end = acquiring()
    end.engine.isolate()
    end.out()
    found = end.grant(kept=kept_by(ago=3.0))
    assert "BreakerClosed" not in kinds_of(found)
    assert end.engine.statistics().breaker_state == "isolated"
    end = owner()
    end.engine.disable()
    end.engine.enable()
    end.out()
    found = end.grant(kept=kept_by(isolated=True, ago=99.0))
    assert "BreakerIsolated" in kinds_of(found)
    assert end.engine.statistics().breaker_state == "isolated"
    # The later attempt is ours still.
    assert end.engine._life.timers.attempt_age() == 0


def test_a_breaker_that_is_open_here_is_closed_when_the_latest_owner_was_connected() -> None:
    end = owner(breaker_threshold=1, t5=1, breaker_open_time=60)
    end.engine.tcp_failed(OSError("refused"))
    end.out()
    assert end.engine.statistics().breaker_state == "breaker_open"
    end.engine.disable()
    end.engine.enable()
    end.now = 30
    end.out()
    found = end.grant(kept=kept_by(ago=20.0))
    assert "BreakerClosed" in kinds_of(found)
    assert "open_time" not in end.engine.timers()
    assert "OpenTcp" in kinds_of(end.at(30.1))


def test_the_first_of_all_attempts_is_not_waited_for() -> None:
    end = acquiring()
    assert "OpenTcp" in kinds_of(end.grant(kept=kept_by()))


def test_a_threshold_that_is_lower_here_opens_the_breaker() -> None:
    end = acquiring(breaker_threshold=2)
    found = end.grant(kept=kept_by(failures=3, ago=40.0, threshold=5))
    assert "BreakerOpened" in kinds_of(found)


def test_what_was_left_is_no_news_to_who_renews() -> None:
    end = renewing()
    assert kinds_of(end.grant(kept=kept_by(isolated=True))) == ["StopAsking"]
    assert end.engine.is_selected


def test_the_steps_of_an_owner_are_those_of_the_charts() -> None:
    steps: list[Step] = []

    class Watched(OwnedEnd):
        def out(self) -> list[Output]:
            found: list[Output] = []
            while (output := self.engine.next_output()) is not None:
                match output:
                    case Step():
                        steps.append(output)
                    case bytes():
                        self.frames += self._written.feed(output)
                        self.engine.wrote(len(output))
                    case OpenTcp():
                        self.engine.dial_began()
                    case _:
                        found.append(output)
            return found

    end = Watched(breaker_threshold=3, t5=10)
    end.engine.enable()
    end.out()
    end.grant(kept=kept_by(failures=2, ago=4.0))
    end.at(6.1)
    end.engine.tcp_opened()
    end.out()
    end.take(select_rsp(end.last))
    end.at(9)
    end.engine.tcp_closed()
    end.out()
    end.grant(epoch=6, kept=kept_by(failures=1, ago=1.0))
    end.engine.stop()
    end.out()
    conforms(OWNED_LINK, steps)
    assert [each.event for each in steps].count(RESTORED) == 1


@pytest.mark.parametrize("leaf", LEAVES)
def test_what_is_kept_says_whether_the_user_wants_the_tool(leaf: str) -> None:
    end = LEAVES[leaf]()
    wanted = leaf not in ("withdrawn", "draining")
    kept = end.engine.kept()
    assert kept.is_enabled is wanted
    saved = read(write(kept, 1000.0), 1000.0, peer="tool", threshold=5)
    assert saved.is_enabled is wanted
    back = OwnedEnd(kept=kept)
    assert kinds_of(back.out()) == ([] if wanted else ["Idle", "Withdrawn"])
    assert back.state == "withdrawn"
    back.engine.enable()
    back.out()
    assert back.asked is StoreCall.ACQUIRE


# Defects


def spoil(end: OwnedEnd, event: str) -> None:
    """The lease chart does not take ``event`` any more."""
    life = end.engine._life
    machines = dict(life.router.machines)
    faulty = machines["lease"] = Machine(LEASE)
    for snapshot in faulty.reachable():
        snapshot.moves[event] = None
    life.router = Router(life.router.system, machines)
    parts = zip(machines.values(), life.snapshot.parts, strict=True)
    life.snapshot = life.router.snapshot(
        tuple(machine.snapshot(part.states, part.values) for machine, part in parts)
    )


@pytest.mark.parametrize(
    ("make", "event", "at", "follows"),
    [
        (standby, "lease_poll_expired", 2.5, ["StopAsking", "Closed"]),
        (acquiring, "store_timeout_expired", 2, ["StopAsking", "ReleaseLease", "Closed"]),
        (owner, "own_deadline_expired", 8.9, ["AbandonTcp", "ReleaseLease", "Closed"]),
        (
            renewing,
            "store_timeout_expired",
            4.5,
            ["StopAsking", "CloseTcp", "ResetTcp", "ReleaseLease", "Closed"],
        ),
        (draining, "lease_end_expired", 9.8, ["CloseTcp", "ResetTcp", "ReleaseLease", "Closed"]),
    ],
)
def test_a_lease_chart_that_fails_closes_the_link_and_gives_the_lease_back(
    make: Callable[..., OwnedEnd], event: str, at: float, follows: list[str]
) -> None:
    end = make(linger=10)
    spoil(end, event)
    if event == "own_deadline_expired":
        end.asleep = at
        end.engine.judge_lease()
    else:
        end.now = at
        end.engine.tick()
    kinds = [each for each in kinds_of(end.out()) if each != "Unsent"]
    assert kinds == follows
    assert end.engine.ownership.state == "ended"
    assert not end.engine.may_send()
    for answer in ANSWERS.values():
        answer(end.engine)
    assert end.out() == []
    with pytest.raises(DefectError):
        end.engine.enable()


# What a driver tells of it


async def test_a_reader_that_comes_later_begins_with_the_lease_too() -> None:
    end = owner_selected()
    driver = Driver(end.engine, None)
    first = driver.events()
    end.now = 2.5
    end.engine.tick()
    end.engine.store_failed(SILENT)
    driver.turn()
    end.engine.isolate()
    driver.turn()
    told = await first.receive()
    assert isinstance(told, Doubtful)
    late = driver.events()
    assert [type(await late.receive()) for _ in range(2)] == [Doubtful, BreakerIsolated]
    end.engine.release()
    driver.turn()
    late = driver.events()
    assert type(await late.receive()) is Doubtful


LINES = [
    "INFO tool active: standby: no owner is known",
    "INFO tool active: standby: host-b:2 owns the tool, epoch 3",
    "WARNING tool active: standby: host-b:2 owns the tool, epoch 3; the store is away",
    "INFO tool active: standby: host-c owns the tool, epoch 5",
    "INFO tool active: standby: no owner is known",
    "INFO tool active: owner of the tool: the lease is granted, epoch 6",
    "INFO tool active: connecting, attempt 1",
    "WARNING tool active: the lease of the tool is doubtful: the store is away; disabled in 6.3 s",
    "WARNING tool active: draining: the lease of the tool was not renewed by its own deadline",
    "INFO tool active: disabled",
    "WARNING tool active: standby: no owner is known; the store is away",
    "INFO tool active: standby: no owner is known",
    "INFO tool active: owner of the tool: the lease is granted, epoch 8",
    "INFO tool active: connecting, attempt 2",
    "WARNING tool active: draining: the lease of the tool is lost",
    "INFO tool active: disabled",
    "INFO tool active: standby: host-b:2 owns the tool, epoch 9",
    "INFO tool active: standby: no owner is known",
    "INFO tool active: owner of the tool: the lease is granted, epoch 10",
    "INFO tool active: waiting: the next attempt begins in 0.0 s",
    "INFO tool active: draining: the lease of the tool is given back",
    "INFO tool active: disabled",
    "INFO tool active: withdrawn: the lease of the tool is not wanted",
]


async def never(_: object) -> NoReturn:
    """A dial that nobody waits for."""
    raise AssertionError


async def test_the_log_of_a_link_tells_what_its_lease_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    end = OwnedEnd(t5=1)
    engine = end.engine
    driver = Driver(engine, never)
    write_logs(driver)

    def at(now: float) -> None:
        end.now = now
        engine.tick()

    happened: list[Callable[[], None]] = [
        engine.enable,
        lambda: engine.lease_refused("host-b:2", 3, 5),
        lambda: engine.store_failed(SILENT),
        lambda: engine.lease_news("host-c", 5, 5),
        lambda: engine.lease_freed(5),
        lambda: engine.lease_granted(6, 0),
        lambda: at(2.5),
        lambda: engine.store_failed(SILENT),
        lambda: at(8.9),
        lambda: engine.lease_news("", 6, 0),
        lambda: engine.lease_freed(6),
        lambda: engine.lease_granted(8, 8.9),
        lambda: at(11.5),
        lambda: engine.lease_refused("host-b:2", 9, 5),
        lambda: engine.lease_freed(9),
        lambda: engine.lease_granted(10, 11.5),
        engine.disable,
    ]
    for happens in happened:
        happens()
        driver.turn()
    assert [f"{each.levelname} {each.getMessage()}" for each in caplog.records] == LINES
