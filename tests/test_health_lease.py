"""What a link that a lease decides about says of its health. Its texts are shown whole here."""

from __future__ import annotations

import json
import math

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import LeaseError
from hsms_engine.errors import DefectError
from hsms_engine.lease import MemoryStore
from hsms_engine.protocol.owned import OwnedEngine
from statecharts.hsms import OWNED_ACTIVE
from tests.support.faulty_lease import away
from tests.support.leaks import leak_check, no_task_left
from tests.support.leased import OTHER, US, leased, taken
from tests.support.raw_peer import separate_req
from tests.support.virtual import virtual_time
from tests.test_faulting_charts import spoil

__all__ = ["leak_check", "no_task_left", "virtual_time"]

BEFORE = "no attempt begins before this process has the lease of the tool"
STANDBY = "the link is idle; standby: host-b:1 has owned TOOL-7 for at least 12.0 s"
AWAY = (
    "the link is idle; standby: host-b:1 has owned TOOL-7 for at least 15.0 s (the store is away)"
)
UNKNOWN = "the link is idle; standby: who owns TOOL-7 is not known yet (the store is away)"
DOUBTFUL = (
    "selected; the lease of the tool is doubtful (the store is away): disabled in 6.3 s unless the "
    "store answers"
)
STANDS_BY = "<HsmsLink tool:5000 idle, standby: 'host-b:1' owns the tool>"


async def test_a_standby_is_ready_and_says_who_owns_the_tool() -> None:
    store = MemoryStore()
    async with taken(store), leased(store) as it:
        await it.until("standby")
        await trio.sleep(12)
        health = it.link.health()
        assert (health.is_ready, health.phase) == (True, "idle")
        assert health.since_seconds == pytest.approx(12, abs=0.1)
        assert health.why == STANDBY
        assert repr(it.link) == STANDS_BY
        assert (health.ownership, health.owner) == ("standby", OTHER)
        assert 0 < health.lease_ends_in <= 10
        assert (health.next_attempt_in, health.recovery_bound) == (math.inf, math.inf)
        assert health.recovery_condition == BEFORE
        json.dumps(health.as_json(), allow_nan=False)


async def test_a_standby_that_would_not_take_over_is_not_ready() -> None:
    store = MemoryStore()
    async with taken(store), leased(store) as it:
        await it.until("standby")
        await trio.sleep(10)
        it.lease.failure = away()
        await trio.sleep(5)
        health = it.link.health()
        assert (health.is_ready, health.ownership, health.owner) == (False, "standby", OTHER)
        assert health.why == AWAY
        # It has noticed it when it asked the next time.
        assert 2.4 < health.since_seconds <= 5
        it.lease.failure = None
        await trio.sleep(30)
        health = it.link.health()
        assert health.is_ready
        assert 27 < health.since_seconds <= 30


async def test_a_standby_that_knows_no_owner_is_not_ready() -> None:
    async with leased() as it:
        # The store is asked for the first time, and nothing is known.
        health = it.link.health()
        assert (health.is_ready, health.ownership, health.owner) == (False, "acquiring", None)
        it.lease.failure = away()
        await it.until("standby")
        await trio.sleep(20)
        health = it.link.health()
        assert (health.is_ready, health.owner, health.lease_ends_in) == (False, None, math.inf)
        assert health.why == UNKNOWN
        assert repr(it.link) == "<HsmsLink tool:5000 idle, standby>"
        assert health.since_seconds == pytest.approx(20, abs=0.1)


async def test_a_standby_that_takes_over_is_not_ready_before_it_is_selected() -> None:
    store = MemoryStore()
    async with leased(store) as it:
        async with taken(store):
            await it.until("standby")
            await trio.sleep(100)
            assert it.link.health().is_ready
        await it.until("owner")
        await trio.sleep(4)
        health = it.link.health()
        assert (health.is_ready, health.phase, health.owner) == (False, "selecting", US)
        assert health.since_seconds == pytest.approx(4, abs=0.1)
        assert health.why == "the link is selecting, not selected"
        assert health.recovery_bound == math.inf
        peer = await it.board.peer()
        await peer.select_by_answering()
        await it.link.wait_selected()
        await trio.sleep(3)
        health = it.link.health()
        assert (health.is_ready, health.why, health.since_seconds) == (True, "selected", 3)


async def test_an_owner_whose_lease_is_doubtful_is_ready_and_says_until_when() -> None:
    async with leased() as it:
        peer = await it.up()
        assert repr(it.link) == "<HsmsLink tool:5000 selected, owner>"
        it.lease.failure = away()
        await it.until("doubtful")
        health = it.link.health()
        assert (health.is_ready, health.ownership, health.owner) == (True, "doubtful", US)
        assert health.why == DOUBTFUL
        assert health.lease_ends_in == pytest.approx(6.3, abs=0.1)
        await it.until("draining")
        health = it.link.health()
        assert (health.is_ready, health.ownership) == (False, "draining")
        assert health.why.startswith("the link is separating; draining: ")
        assert (health.recovery_bound, health.recovery_condition) == (math.inf, BEFORE)
        await peer.stream.aclose()


async def test_a_link_that_is_disabled_by_a_call_is_not_ready() -> None:
    async with leased() as it:
        await it.up()
        it.link.disable()
        await it.until("withdrawn")
        health = it.link.health()
        assert (health.is_ready, health.ownership, health.owner) == (False, "withdrawn", None)
        assert "no attempt will be made until it is enabled" in health.why
        assert health.recovery_condition.startswith("no attempt begins by itself")


async def test_what_is_closed_or_has_a_defect_is_not_ready() -> None:
    store = MemoryStore()
    async with taken(store), leased(store) as it:
        await it.until("standby")
        await it.link.aclose()
        health = it.link.health()
        assert (health.is_ready, health.ownership) == (False, "ended")
    async with leased() as it:
        peer = await it.up()
        spoil(it.link._engine, OWNED_ACTIVE.id, "separate_req_received")
        await peer.send(separate_req(1))
        await wait_all_tasks_blocked()
        health = it.link.health()
        assert (health.is_ready, health.ownership) == (False, "ended")
        with pytest.raises(DefectError):
            await it.link.wait_selected()


async def test_a_lease_that_moves_on_while_it_is_looked_at_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From another thread: the store answers between two looks."""
    async with leased() as it:
        await it.up()
        it.lease.failure = away()
        await it.until("doubtful")
        engine = it.link._engine
        assert isinstance(engine, OwnedEngine)
        looked: list[LeaseError | None] = []
        doubtful = engine._life.snapshot

        def renewed(found: OwnedEngine) -> LeaseError | None:
            looked.append(found._lease.error)
            life = found._life
            for event in ("renewal_retry_expired", "lease_granted"):
                life.snapshot = life.router.step(life.snapshot, event).snapshot
            return found._lease.error

        monkeypatch.setattr(OwnedEngine, "store_error", property(renewed))
        health = it.link.health()
        assert (health.why, health.ownership, len(looked)) == ("selected", "owner", 1)
        monkeypatch.undo()
        engine._life.snapshot = doubtful
        it.lease.failure = None
