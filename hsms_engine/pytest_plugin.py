"""The pytest plugin: a fake equipment and a fault proxy in a test, be it plain, asyncio or trio.

``def test_x(fake_equipment)`` has one that listens on ``fake_equipment.port``. The test says what
it answers, kills it, and waits for what happens to it (``hsms_engine.fake.threaded``).
``def test_x(fault_proxy)`` has a proxy in front of it (``hsms_engine.proxy.threaded``). pytest
loads this module in every run of an environment that has the package, so what a fixture needs is
imported when it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Protocol, Unpack

import pytest

if TYPE_CHECKING:
    from hsms_engine.answers import AnswerBook
    from hsms_engine.fake.chart import AnyChart, Bindings
    from hsms_engine.fake.given import AnyTool
    from hsms_engine.fake.plan import Unknown
    from hsms_engine.fake.threaded import ThreadedEquipment
    from hsms_engine.fake.tool import Answer
    from hsms_engine.proxy.faults import Fault
    from hsms_engine.proxy.threaded import ThreadedProxy
    from hsms_engine.settings import Settings, SettingsChanges


class FakeEquipments(Protocol):
    """Makes a fake equipment that lives until the end of the test.

    The arguments are those of ``hsms_engine.fake.serve_fake``, and raise what it raises.
    """

    def __call__(
        self,
        *behaviours: str,
        settings: Settings | None = None,
        tool: AnyTool = None,
        chart: AnyChart | None = None,
        bindings: Bindings | None = None,
        answers: AnswerBook | None = None,
        answer: Answer | None = None,
        alarms: float | None = None,
        events: float | None = None,
        unknown: Unknown | None = None,
        **changes: Unpack[SettingsChanges],
    ) -> ThreadedEquipment: ...


@pytest.fixture
def fake_equipments() -> Iterator[FakeEquipments]:
    """A function that makes fake equipments, each with a port of its own."""
    from hsms_engine.fake.equipment import serve_fake
    from hsms_engine.fake.threaded import run_in_thread

    with ExitStack() as running:

        def make(
            *behaviours: str,
            settings: Settings | None = None,
            tool: AnyTool = None,
            chart: AnyChart | None = None,
            bindings: Bindings | None = None,
            answers: AnswerBook | None = None,
            answer: Answer | None = None,
            alarms: float | None = None,
            events: float | None = None,
            unknown: Unknown | None = None,
            **changes: Unpack[SettingsChanges],
        ) -> ThreadedEquipment:
            serve = partial(
                serve_fake,
                settings,
                behaviours,
                tool=tool,
                chart=chart,
                bindings=bindings,
                answers=answers,
                answer=answer,
                alarms=alarms,
                events=events,
                unknown=unknown,
                **changes,
            )
            __tracebackhide__ = True
            try:
                return running.enter_context(run_in_thread(serve))
            except (ValueError, OSError) as error:
                # A file, a setting or an address: where it was found out says nothing of it.
                raise error.with_traceback(None) from None

        yield make


@pytest.fixture
def fake_equipment(fake_equipments: FakeEquipments) -> ThreadedEquipment:
    """A fake equipment that answers everything, on a port that the system has chosen."""
    return fake_equipments()


class FaultProxies(Protocol):
    """Makes a fault proxy that lives until the end of the test.

    The arguments are those of ``hsms_engine.proxy.open_proxy``, and raise what it raises.
    """

    def __call__(
        self,
        to_host: str,
        to_port: int,
        *,
        faults: Iterable[Fault | str] = (),
        seed: int = 0,
    ) -> ThreadedProxy: ...


@pytest.fixture
def fault_proxies() -> Iterator[FaultProxies]:
    """A function that makes fault proxies, each with a port of its own."""
    from hsms_engine.proxy.proxy import open_proxy
    from hsms_engine.proxy.threaded import proxy_in_thread

    with ExitStack() as running:

        def make(
            to_host: str,
            to_port: int,
            *,
            faults: Iterable[Fault | str] = (),
            seed: int = 0,
        ) -> ThreadedProxy:
            opening = open_proxy(to_host, to_port, faults=faults, seed=seed)
            return running.enter_context(proxy_in_thread(opening))

        yield make


@pytest.fixture
def fault_proxy(fault_proxies: FaultProxies, fake_equipment: ThreadedEquipment) -> ThreadedProxy:
    """A fault proxy without faults in front of ``fake_equipment``, on a port of its own."""
    return fault_proxies(fake_equipment.host, fake_equipment.port)
