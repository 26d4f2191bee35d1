"""A lease through the doors for threads and for asyncio: one link owns, the other stands by."""

from __future__ import annotations

import asyncio

import pytest

from hsms_engine import HsmsError, Ownership, aio, blocking, events
from hsms_engine.lease import MemoryStore

# Nobody listens there.
NOWHERE = ("127.0.0.1", 1)


def told(ownership: Ownership | None) -> tuple[str, str]:
    assert ownership is not None
    return ownership.state, ownership.owner


def test_threads_take_turns_with_a_lease() -> None:
    # Made here, and used in the thread behind the door.
    store = MemoryStore()
    ours, others = store.lease("TOOL-7", "one"), store.lease("TOOL-7", "two")
    with blocking.open_link(*NOWHERE, lease=ours) as one:
        next(each for each in one.events() if isinstance(each, events.Owning))
        assert told(one.ownership) == ("owner", "one")
        with blocking.open_link(*NOWHERE, lease=others) as two:
            reader = two.events()
            next(each for each in reader if isinstance(each, events.Standby) and each.owner)
            assert told(two.ownership) == ("standby", "one")
            with pytest.raises(HsmsError, match="standby: one"):
                two.connect(timeout=60)
            one.disable()
            next(each for each in reader if isinstance(each, events.Owning))
            assert told(two.ownership) == ("owner", "two")
    assert told(two.ownership)[0] == "ended"
    with blocking.open_link(*NOWHERE) as plain:
        assert plain.ownership is None


def test_asyncio_takes_turns_with_a_lease() -> None:
    store = MemoryStore()

    async def main() -> None:
        async with aio.open_link(*NOWHERE, lease=store.lease("TOOL-7", "one")) as one:
            async for event in one.events():
                if isinstance(event, events.Owning):
                    break
            async with aio.open_link(*NOWHERE, lease=store.lease("TOOL-7", "two")) as two:
                reader = two.events()
                async for event in reader:
                    if isinstance(event, events.Standby) and event.owner:
                        break
                assert told(one.ownership) == ("owner", "one")
                assert told(two.ownership) == ("standby", "one")
                await one.disable()
                async for event in reader:
                    if isinstance(event, events.Owning):
                        break
                assert told(two.ownership) == ("owner", "two")

    asyncio.run(main())
