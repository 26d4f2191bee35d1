"""What a collector shows of a link that a lease decides about: in virtual time."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine.lease import MemoryStore
from tests.support.faulty_lease import away
from tests.support.leaks import leak_check, no_task_left
from tests.support.leased import leased, taken
from tests.support.metrics import fallen, number, numbers, one, shown
from tests.support.pair import Switchboard, link_end
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

STATE, DRAINS = "hsms_lease_state", "hsms_lease_drains_total"
EPOCH, ENDS = "hsms_lease_epoch", "hsms_lease_ends_seconds"
TAKEOVERS, FAILURES = "hsms_lease_takeovers_total", "hsms_store_failures_total"
# A lease lasts 10 s, and is renewed after 2.5 s.
OWN_DEADLINE = 8.8


async def test_a_standby_shows_the_lease_of_the_owner_and_takes_over() -> None:
    store = MemoryStore()
    async with leased(store) as it:
        collector = one(it.link)
        assert numbers(collector, STATE, "state") == {"acquiring": 1}
        assert number(collector, ENDS) == math.inf
    async with taken(store), leased(store) as it:
        collector = one(it.link)
        await it.until("standby")
        assert numbers(collector, STATE, "state") == {"standby": 1}
        assert number(collector, EPOCH) == 1
        assert 0 < number(collector, ENDS) <= 10
        assert number(collector, TAKEOVERS) == 0
        # It is not down: it need not be selected.
        await trio.sleep(100)
        assert number(collector, "hsms_down_seconds") == 0
        assert number(collector, FAILURES) == 0


async def test_an_owner_shows_when_it_will_have_left_and_how_often_it_took_over() -> None:
    store = MemoryStore()
    async with leased(store) as it:
        collector = one(it.link)
        await it.up()
        assert numbers(collector, STATE, "state") == {"owner": 1}
        assert number(collector, ENDS) == pytest.approx(OWN_DEADLINE)
        await trio.sleep(100)
        # To renew it is not to take it over.
        assert (number(collector, TAKEOVERS), number(collector, EPOCH)) == (1, 1)
        it.link.disable()
        await it.until("withdrawn")
        assert numbers(collector, DRAINS, "why") == {"withdrawn": 1}
        assert numbers(collector, "hsms_disconnects_total", "reason") == {"disable_requested": 1}
        it.link.enable()
        await it.up()
        assert (number(collector, TAKEOVERS), number(collector, EPOCH)) == (2, 2)


async def test_a_collector_that_comes_later_counts_no_grant_from_before() -> None:
    async with leased() as it:
        await it.up()
        collector = one(it.link)
        it.lease.failure = away()
        await it.until("doubtful")
        it.lease.failure = None
        await it.until("owner")
        assert number(collector, TAKEOVERS) == 0


async def test_a_store_that_is_away_is_counted_and_the_end_that_it_makes() -> None:
    async with leased() as it:
        collector = one(it.link)
        peer = await it.up()
        it.lease.failure = away()
        await it.until("doubtful")
        assert number(collector, FAILURES) == 1
        assert number(collector, ENDS) == pytest.approx(OWN_DEADLINE - 2.5, abs=0.1)
        it.lease.failure = None
        await it.until("owner")
        assert number(collector, TAKEOVERS) == 1
        before = shown(collector)
        it.lease.failure = away()
        await it.until("draining")
        await peer.stream.aclose()
        await it.until("standby")
        assert numbers(collector, DRAINS, "why") == {"deadline": 1}
        reasons = numbers(collector, "hsms_disconnects_total", "reason")
        assert reasons == {"own_deadline_expired": 1}
        assert number(collector, FAILURES) > 2
        assert fallen(before, shown(collector)) == []
        it.lease.failure = None
        await it.up()
        # That another process could have had it is no recovery of a link.
        assert number(collector, "hsms_recovery_seconds_count") == 0


async def test_a_lease_that_another_process_got_ends_a_session_and_an_attempt() -> None:
    for is_selected in (True, False):
        store = MemoryStore()
        async with leased(store) as it:
            collector = one(it.link)
            if is_selected:
                await it.up()
            else:
                it.board.hang()
            await it.until("owner")
            # As a store that has lost its data.
            store._entries.clear()
            async with taken(store):
                await it.until("draining" if is_selected else "standby")
                await wait_all_tasks_blocked()
                assert numbers(collector, DRAINS, "why") == {"lost": 1}
                ends = numbers(collector, "hsms_disconnects_total", "reason")
                assert ends == ({"lease_refused": 1} if is_selected else {})
                outcome = "selected" if is_selected else "abandoned"
                assert numbers(collector, "hsms_attempts_total", "outcome") == {outcome: 1}


async def test_a_link_without_a_lease_has_no_numbers_of_one() -> None:
    board = Switchboard()
    async with link_end(board) as link:
        assert not [name for name, _ in shown(one(link)) if name.startswith("hsms_lease_")]


async def test_the_labels_of_a_lease_are_there_from_the_start() -> None:
    async with leased() as it:
        now = shown(one(it.link))
        states = [labels for name, labels in now if name == STATE]
        drains = [value for (name, _), value in now.items() if name == DRAINS]
        assert (len(states), drains) == (7, [0, 0, 0])
