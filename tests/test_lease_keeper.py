"""What a link asks its store, and what becomes of it when the store does what no store should."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import memory_stream_pair

from hsms_engine import (
    ClosedError,
    DefectError,
    HsmsLink,
    LeaseError,
    LeaseSetupError,
    LocalProtocolError,
    SettingsError,
    events,
    open_link,
)
from hsms_engine.lease import Granted, Held, MemoryStore, Vacant
from hsms_engine.lease.memory import MemoryLease
from tests.support.faulty_lease import FaultyLease, away
from tests.support.leaks import leak_check, no_task_left
from tests.support.one_way import OneWay
from tests.support.pair import Switchboard
from tests.support.virtual import virtual_time
from tests.test_defects import spoil

__all__ = ["leak_check", "no_task_left", "virtual_time"]

TIMEOUT = 2.0


class Odd:
    """A lease that somebody has written; each call does what ``answers`` has for it, in order.

    An exception is raised. When no more is there, a call never ends.
    """

    name, owner, duration = "TOOL-7", "here", 10.0

    def __init__(self, **answers: list[object]) -> None:
        self.answers = answers
        self.calls: list[tuple[Any, ...]] = []

    def connected(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def acquire(self) -> Any:
        return await self._next("acquire")

    async def renew(self, epoch: int, saved: bytes) -> Any:
        return await self._next("renew", epoch, saved)

    async def release(self, epoch: int, saved: bytes | None) -> None:
        await self._next("release", epoch, saved)

    async def watch(self) -> AsyncIterator[Any]:
        while True:
            yield await self._next("watch")

    async def _next(self, call: str, *about: object) -> object:
        self.calls.append((call, *about))
        await trio.lowlevel.checkpoint()
        if not self.answers.get(call):
            await trio.sleep_forever()
        match self.answers[call].pop(0):
            case BaseException() as error:
                raise error
            case answer:
                return answer


@asynccontextmanager
async def link_with(lease: Any, **changes: Any) -> AsyncIterator[HsmsLink]:
    """A link whose tool never answers."""
    board = Switchboard()
    board.hang()
    async with open_link("tool", 5000, dial=board.dial, lease=lease, **changes) as link:
        yield link


def state(link: HsmsLink) -> str:
    assert link.ownership is not None
    return link.ownership.state


async def standbys(link: HsmsLink) -> list[events.Standby]:
    """All that was told by now."""
    told = []
    with trio.move_on_after(0.01):
        async for event in link.events():
            told += [event] if isinstance(event, events.Standby) else []
    return told


# What is no lease


@pytest.mark.parametrize(
    ("lease", "why"),
    [
        (
            "TOOL-7",
            r"lease='TOOL-7' is no lease: it needs connected, acquire",
        ),
        (MemoryStore(), r"is no lease"),
        (MemoryLease, r"the lease has the name <property"),
    ],
)
async def test_what_is_no_lease_is_refused_before_anything_is_opened(lease: Any, why: str) -> None:
    with pytest.raises(LeaseSetupError, match=why):
        async with link_with(lease):
            raise AssertionError


@pytest.mark.parametrize("what", ["name", "owner"])
@pytest.mark.parametrize("value", ["", None, 7])
async def test_a_lease_without_a_name_or_an_owner_is_refused(what: str, value: object) -> None:
    lease = Odd()
    setattr(lease, what, value)
    with pytest.raises(LeaseSetupError, match=f"the lease has the {what} {value!r}"):
        async with link_with(lease):
            raise AssertionError


async def test_a_lease_without_a_length_is_refused() -> None:
    class Endless(Odd):
        @property
        def duration(self) -> float:  # type: ignore[override]  # it is none
            raise AttributeError

    with pytest.raises(LeaseSetupError, match="has no duration: it needs seconds"):
        async with link_with(Endless()):
            raise AssertionError


@pytest.mark.parametrize("length", [0, 0.5, -1, math.nan, math.inf, 1_000, "10", True])
async def test_a_lease_of_a_length_that_cannot_be_is_refused(length: Any) -> None:
    lease = Odd()
    lease.duration = length
    with pytest.raises(SettingsError, match="of a lease is not from 1 to 600 s"):
        async with link_with(lease):
            raise AssertionError


async def test_a_lease_is_for_one_link_at_a_time() -> None:
    lease = Odd(acquire=[Granted(1), Granted(2)], release=[None, None])
    async with link_with(lease) as link:
        await trio.lowlevel.checkpoint()
        with pytest.raises(LocalProtocolError, match="TOOL-7: another link of this process has"):
            async with link_with(lease):
                raise AssertionError
        assert state(link) in ("acquiring", "owner")
    # And after it for the next one.
    async with link_with(lease) as link:
        await trio.sleep(1)
        assert state(link) == "owner"
    assert state(link) == "ended"


async def test_a_lease_is_not_for_a_link_in_another_thread_meanwhile() -> None:
    lease = MemoryStore().lease("TOOL-7")

    async def another_run() -> None:
        async with link_with(lease):
            raise AssertionError

    async with link_with(lease):
        with pytest.raises(LocalProtocolError, match="TOOL-7: another link of this process has"):
            await trio.to_thread.run_sync(trio.run, another_run)


# Stores that do what they should not


ODD: dict[str, object] = {
    "an error of the system": OSError(5, "Input/output error"),
    "a defect": KeyError("owner"),
    "a group": ExceptionGroup("two", [ValueError("one"), TypeError("other")]),
    "nothing": None,
    "a text": "granted",
    "no epoch": Granted(epoch="1"),  # type: ignore[arg-type]  # as an odd store gives it
    "a text that is left": Granted(1, saved="{}"),  # type: ignore[arg-type]  # the same
    "no age": Granted(1, saved_age="old"),  # type: ignore[arg-type]  # the same
    "no owner": Held(None, 1, 1.0),  # type: ignore[arg-type]  # the same
    "no time": Held("there", 1, None),  # type: ignore[arg-type]  # the same
    "a flag for an epoch": Granted(True),
    "an epoch below all": Granted(-1),
    "an epoch that has no end": Held("there", 10**5000, 1.0),
    "a free lease of such an epoch": Vacant(10**5000),
}


@pytest.mark.parametrize("answer", ODD.values(), ids=list(ODD))
async def test_while_it_is_asked_for_the_lease_it_is_a_call_that_has_failed(
    answer: object,
) -> None:
    lease = Odd(acquire=[answer, Granted(1)])
    async with link_with(lease) as link:
        await trio.sleep(1)
        assert state(link) == "standby"
        told = (await standbys(link))[-1]
        assert isinstance(told.error, LeaseError)
        text = str(told.error)
        assert text.startswith("TOOL-7: ")
        assert "has raised" in text or "has answered" in text
        await trio.sleep(3)
        assert state(link) == "owner"


async def test_nobody_has_it_is_no_answer_to_who_asks_for_it() -> None:
    async with link_with(Odd(acquire=[Vacant(3)])) as link:
        await trio.sleep(1)
        assert "acquire of the store has answered Vacant" in str((await standbys(link))[-1].error)


@pytest.mark.parametrize("answer", ODD.values(), ids=list(ODD))
async def test_in_a_renewal_it_is_doubt_and_the_link_goes_on(answer: object) -> None:
    lease = Odd(acquire=[Granted(1)], renew=[answer, Granted(1)], release=[None])
    async with link_with(lease) as link:
        await trio.sleep(2.75)
        assert state(link) == "doubtful"
        await trio.sleep(0.5)
        assert state(link) == "owner"


@pytest.mark.parametrize("answer", [*ODD.values(), Granted(1)], ids=[*ODD, "a grant"])
async def test_in_a_watch_it_ends_the_watch_and_the_poll_goes_on(answer: object) -> None:
    lease = Odd(acquire=[Held("there", 1, 5.0), Granted(2)], watch=[answer])
    async with link_with(lease) as link:
        await trio.sleep(1)
        assert state(link) == "standby"
        assert (await standbys(link))[-1].error is not None
        await trio.sleep(2)
        assert state(link) == "owner"
        assert [call for call, *_ in lease.calls].count("watch") == 1


async def test_what_a_store_raises_is_logged_once_with_where_it_was_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lease = Odd(acquire=[KeyError("owner") for _ in range(10)])
    async with link_with(lease):
        await trio.sleep(20)
    logged = [each for each in caplog.records if each.levelno == logging.ERROR]
    (text,) = (each.getMessage() for each in logged)
    assert text.startswith("tool:5000 active: TOOL-7: the store has raised KeyError('owner'):\n")
    assert "in _next" in text


async def test_errors_that_are_the_causes_of_each_other_are_a_call_that_has_failed() -> None:
    first, second = LeaseError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    async with link_with(Odd(acquire=[first])) as link:
        await trio.sleep(1)
        assert (await standbys(link))[-1].error is first


@pytest.mark.parametrize("remaining", [10**400, math.inf, math.nan, -1])
async def test_no_lease_of_another_one_lasts_longer_than_a_lease(remaining: float) -> None:
    lease = Odd(acquire=[Held("there", 1, remaining)], watch=[Held("elsewhere", 2, remaining)])
    async with link_with(lease) as link:
        await trio.sleep(1)
        assert link.ownership is not None
        assert (link.ownership.owner, state(link)) == ("elsewhere", "standby")
        assert 0 <= link.ownership.ends_in <= 10


@pytest.mark.parametrize("refusal", [Held("", 3, 1.0), Held("there", 3, 1.0), away()])
async def test_a_store_that_says_free_and_refuses_is_asked_with_a_pause(refusal: object) -> None:
    lease = Odd(acquire=[refusal] * 100, watch=[Vacant(3)] * 100)
    async with link_with(lease):
        await trio.sleep(9.9)
    asked = [call for call, *_ in lease.calls]
    # Twenty times in the length of a lease, and the first time at once.
    assert asked.count("acquire") == asked.count("watch") + 1 == 21


async def test_a_failure_that_goes_on_is_told_once_though_the_lease_is_free() -> None:
    lease = Odd(acquire=[away() for _ in range(9)], watch=[Vacant(3)] * 9)
    async with link_with(lease) as link:
        await trio.sleep(3)
        assert [str(each.error) for each in await standbys(link)] == ["None", "the store is away"]


async def test_who_leaves_during_that_pause_asks_no_more() -> None:
    lease = Odd(acquire=[away()] * 2, watch=[Vacant(3)] * 2)
    async with link_with(lease) as link:
        await trio.sleep(0.1)
        link.disable()
        await trio.sleep(1)
        assert [call for call, *_ in lease.calls] == ["acquire", "watch", "acquire"]


async def test_a_lease_that_was_granted_is_watched_at_once_again() -> None:
    lease = Odd(
        acquire=[Held("there", 1, 1.0), Granted(2), Held("there", 3, 1.0)],
        watch=[Vacant(1)],
        release=[None],
    )
    async with link_with(lease) as link:
        await trio.sleep(0.1)
        link.disable()
        await trio.sleep(0.1)
        link.enable()
        await trio.sleep(0.1)
        assert [call for call, *_ in lease.calls].count("watch") == 2


async def test_a_watch_that_ends_has_failed() -> None:
    class Ending(Odd):
        async def watch(self) -> AsyncIterator[Any]:
            yield Held("there", 1, 1.0)

    async with link_with(Ending(acquire=[Held("there", 1, 5.0)])) as link:
        await trio.sleep(1)
        assert "the watch has ended" in str((await standbys(link))[-1].error)


class Flood:
    """A watch that never waits, and is no generator."""

    def __aiter__(self) -> Flood:
        return self

    async def __anext__(self) -> Held:
        return Held("there", 1, 1.0)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_watch_that_never_waits_holds_up_nobody() -> None:
    lease = Odd(acquire=[Held("there", 1, 5.0)])
    lease.watch = Flood  # type: ignore[method-assign]  # it is called as it is
    async with link_with(lease) as link:
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert [each.owner for each in await standbys_now(link)] == ["", "there"]


async def standbys_now(link: HsmsLink) -> list[events.Standby]:
    """Like ``standbys``, where time stands still."""
    reader, told = link.events(), []
    for _ in range(2):
        event = await anext(reader)
        assert isinstance(event, events.Standby)
        told.append(event)
    return told


async def test_news_that_come_when_nobody_watches_any_more_are_not_heard() -> None:
    class Late(Flood):
        """It does not notice that it is cancelled."""

        async def __anext__(self) -> Held:
            link.disable()
            return Held("elsewhere", 2, 1.0)

    lease = Odd(acquire=[Held("there", 1, 5.0)])
    lease.watch = Late  # type: ignore[method-assign]  # it is called as it is
    async with link_with(lease) as link:
        await trio.sleep(1)
        assert state(link) == "withdrawn"
        assert [each.owner for each in await standbys(link)] == ["", "there"]


# Grants and their ends


async def test_the_lease_is_over_by_the_time_of_the_request_and_not_of_the_answer() -> None:
    lease = FaultyLease(MemoryStore().lease("TOOL-7"))
    lease.back = 1.5
    async with link_with(lease) as link:
        await trio.sleep(1.6)
        assert link.ownership is not None
        assert link.ownership.ends_in == pytest.approx(8.8 - 1.6)


async def test_a_grant_that_nobody_waits_for_any_more_is_given_back() -> None:
    lease = FaultyLease(MemoryStore().lease("TOOL-7"))
    lease.back = 1.0
    async with link_with(lease) as link:
        await trio.sleep(0.5)
        link.disable()
        await trio.sleep(0.4)
        assert lease.calls == ["acquire"]
        lease.back = 0
        await trio.sleep(0.2)
        assert lease.calls == ["acquire", "release"]
        assert state(link) == "withdrawn"


async def test_who_wants_it_again_meanwhile_gets_what_was_granted() -> None:
    lease = FaultyLease(MemoryStore().lease("TOOL-7"))
    lease.back = 1.0
    async with link_with(lease) as link:
        await trio.sleep(0.5)
        link.disable()
        link.enable()
        await trio.sleep(0.6)
        assert state(link) == "owner"
        assert link.ownership is not None
        assert link.ownership.ends_in == pytest.approx(8.8 - 1.1)
        assert lease.calls == ["acquire"]
        await trio.sleep(30)
        assert state(link) == "owner"


async def test_a_call_is_asked_for_as_long_as_the_chart_waits_and_then_cancelled() -> None:
    lease = Odd()
    async with link_with(lease) as link:
        await trio.sleep(TIMEOUT + 0.1)
        assert state(link) == "standby"
        assert [call for call, *_ in lease.calls] == ["acquire", "watch"]


async def test_a_lease_that_another_one_has_got_is_not_given_back() -> None:
    lease = Odd(acquire=[Granted(1), Held("there", 2, 9.0)], renew=[Held("there", 2, 9.0)])
    async with link_with(lease) as link:
        await trio.sleep(2.6)
        assert state(link) == "standby"
    assert "release" not in [call for call, *_ in lease.calls]


async def test_a_lease_that_nobody_has_any_more_is_asked_for_again() -> None:
    """As a store says it that has forgotten, or an operator has removed it."""
    lease = Odd(acquire=[Granted(1), Granted(2)], renew=[Vacant(1)], watch=[Vacant(1)])
    async with link_with(lease) as link:
        await trio.sleep(2.6)
        assert state(link) == "owner"
        assert link.ownership is not None
        assert link.ownership.lease_epoch == 2


# What is left for the next owner


async def test_an_owner_leaves_what_save_gives_with_each_renewal_and_at_its_end() -> None:
    lease = Odd(acquire=[Granted(1)], renew=[Granted(1)], release=[None])
    async with link_with(lease) as link:
        await trio.sleep(3)
        link.isolate()
        isolated = link.save()["breaker"]
    left = [each for each in lease.calls if each[0] in ("renew", "release")]
    assert [each[:2] for each in left] == [("renew", 1), ("release", 1)]
    first, last = (json.loads(each[2]) for each in left)
    assert first["breaker"]["states"] == ["breaker_closed"]
    assert last["breaker"] == isolated
    assert last["is_enabled"] is True


@pytest.mark.parametrize("saved", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"layout": 2}'])
async def test_what_cannot_be_read_of_it_is_logged_and_the_lease_is_used(
    saved: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    lease = Odd(acquire=[Granted(4, saved, 3.0)])
    async with link_with(lease) as link:
        await trio.sleep(1)
        assert state(link) == "owner"
    assert any("what the latest owner has left is not used" in each for each in caplog.messages)


@pytest.mark.parametrize("age", [0.0, 3, 1e300, 10**400, math.inf, -5.0, math.nan])
async def test_its_age_is_what_the_store_says(age: float) -> None:
    async with link_with(Odd(acquire=[Granted(1)]), t5=200, backoff_jitter=0) as link:
        await trio.sleep(1)
        # An attempt began one second ago.
        saved = json.dumps(link.save() | {"saved_at": 0.0}).encode()
    lease = Odd(acquire=[Granted(2, saved, age)])
    async with link_with(lease, t5=200, backoff_jitter=0) as link:
        await trio.sleep(0.001)
        expected = max(199 - min(age, 1e6), 0) if age > 0 else 199
        assert link.statistics().retry_after == pytest.approx(expected, abs=0.01)


# The end of the block


async def test_the_exit_gives_it_back_when_every_stream_is_closed() -> None:
    order: list[str] = []

    class Slow(Odd):
        async def release(self, *_: object) -> None:
            order.append("released")

    class Stream(OneWay):
        async def aclose(self) -> None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            order.append("closed")

    ours, _ = memory_stream_pair()

    async def dial() -> trio.abc.Stream:
        return Stream(ours)

    lease: Any = Slow(acquire=[Granted(1)])
    async with open_link("tool", 5000, dial=dial, lease=lease):
        await trio.sleep(1)
    assert order == ["closed", "released"]


async def test_while_a_stream_does_not_close_it_is_not_given_back_and_the_store_is_not_blamed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stuck(OneWay):
        async def aclose(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    ours, _ = memory_stream_pair()

    async def dial() -> trio.abc.Stream:
        return Stuck(ours)

    lease: Any = Odd(acquire=[Granted(7)])
    async with open_link("tool", 5000, dial=dial, lease=lease, t7=1) as link:
        await trio.sleep(0.1)
        link.disable()
        await trio.sleep(4)
        assert [call for call, *_ in lease.calls] == ["acquire"]
    (text,) = (each for each in caplog.messages if "not given back" in each)
    assert text.endswith("the connection of the link was not closed in time")


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_exit_waits_for_the_store_no_longer_than_a_call_may_take(
    is_cancelled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    lease = Odd(acquire=[Granted(7)])
    began = 0.0
    with trio.CancelScope() as scope:
        async with link_with(lease) as link:
            await trio.sleep(1)
            began = trio.current_time()
            if is_cancelled:
                scope.cancel()
    assert trio.current_time() - began == pytest.approx(TIMEOUT)
    assert lease.calls[-1][:2] == ("release", 7)
    (logged,) = (each for each in caplog.messages if "not given back" in each)
    assert logged == (
        "tool:5000 active: the lease TOOL-7 (epoch 7) is not given back, and nobody gets it before "
        "it is over: the store did not answer in time"
    )
    with pytest.raises(ClosedError):
        link.enable()


@pytest.mark.parametrize("error", [away(), OSError("broken")])
async def test_a_release_that_fails_is_logged_and_does_not_end_the_block_with_an_error(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with link_with(Odd(acquire=[Granted(7)], release=[error])):
        await trio.sleep(1)
    assert any("(epoch 7) is not given back" in each for each in caplog.messages)


async def test_what_waits_to_be_given_back_when_the_time_is_over_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lease = Odd(acquire=[Granted(1), Granted(2)])
    async with link_with(lease) as link:
        await trio.sleep(0.1)
        link.disable()
        link.enable()
        # The store does not answer the release; by then the next call waits for it.
        await trio.sleep(TIMEOUT / 2)
    assert [each for each in caplog.messages if "not given back" in each] != []


async def test_a_grant_that_comes_while_the_block_ends_is_given_back() -> None:
    lease = FaultyLease(MemoryStore().lease("TOOL-7"))
    lease.back = 1.0
    async with link_with(lease):
        await trio.sleep(0.5)
        lease.back = 0.0
    assert lease.calls == ["acquire", "release"]


async def test_an_error_of_the_block_comes_out_as_it_is_and_the_lease_is_given_back() -> None:
    lease = FaultyLease(MemoryStore().lease("TOOL-7"))
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  # it is the block
        async with link_with(lease):
            await trio.sleep(1)
            raise ZeroDivisionError
    assert lease.calls == ["acquire", "release"]


async def test_after_a_defect_of_the_charts_it_is_given_back_at_the_end() -> None:
    lease = FaultyLease(MemoryStore().lease("TOOL-7"))
    async with link_with(lease) as link:
        await trio.sleep(1)
        spoil(link._engine, "connect_timeout_expired")
        with pytest.raises(DefectError):
            await link.connect()
    assert lease.calls[-1] == "release"


# What keeps the connections of a store


class Kept(Odd):
    """Its connections end as ``ends`` says, one after the other: at once, or when it is told."""

    def __init__(self, ends: list[Exception], **answers: list[object]) -> None:
        super().__init__(**answers)
        self.ends = ends
        self.fails = trio.Event()
        self.times = 0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        self.times += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)
            yield
            nursery.cancel_scope.cancel()

    async def _fail(self) -> None:
        await self.fails.wait()
        self.fails = trio.Event()
        raise self.ends.pop(0)


async def test_what_fails_there_is_a_failed_call_and_it_is_connected_again() -> None:
    lease = Kept([OSError("broken")], acquire=[Granted(1)], renew=[Granted(1)], release=[None])
    async with link_with(lease) as link:
        await trio.sleep(1)
        lease.fails.set()
        await trio.sleep(0.1)
        assert lease.times == 1
        assert state(link) == "owner"
        await trio.sleep(2)
        assert lease.times == 2
        assert [call for call, *_ in lease.calls] == ["acquire", "renew"]
    assert lease.calls[-1][0] == "release"


async def test_what_a_call_raises_ends_no_connection() -> None:
    lease = Kept([], acquire=[KeyError("owner"), Granted(1)], release=[None])
    async with link_with(lease) as link:
        await trio.sleep(5)
        assert state(link) == "owner"
    assert lease.times == 1


async def test_a_call_that_it_ends_has_failed() -> None:
    lease = Kept([OSError("broken")], acquire=[])
    async with link_with(lease) as link:
        await trio.sleep(1)
        lease.fails.set()
        await trio.sleep(0.1)
        assert state(link) == "standby"
        assert "has raised" in str((await standbys(link))[-1].error)


async def test_what_fails_there_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Odd):
        @asynccontextmanager
        async def connected(self) -> AsyncIterator[None]:
            yield
            raise OSError("broken")

    async with link_with(Failing(acquire=[Granted(1)], release=[None])):
        await trio.sleep(1)
    assert any("has raised" in each for each in caplog.messages)


async def test_one_that_cannot_be_connected_opens_no_link() -> None:
    class Refusing(Odd):
        @asynccontextmanager
        async def connected(self) -> AsyncIterator[None]:
            if self.calls == []:
                raise LeaseSetupError("no such store")
            yield

    with pytest.raises(LeaseSetupError, match="no such store"):
        async with link_with(Refusing()):
            raise AssertionError
