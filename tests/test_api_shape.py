"""The three doors take their arguments alike, and a type checker sees what a user gets wrong."""

from __future__ import annotations

import importlib
import pickle
import re
import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import FrozenInstanceError, fields
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import Any, get_args, get_type_hints

import pytest
import trio
from mypy import api as mypy

import hsms_engine
from hsms_engine import (
    AttemptPhase,
    HsmsServer,
    Phase,
    Settings,
    SettingsChanges,
    SettingsError,
    open_hsms,
    open_link,
    serve_hsms,
)
from hsms_engine.protocol.phases import PHASES
from hsms_engine.secs2 import U4, A, Item, L
from tests.support.leaks import leak_check
from tests.support.pair import MemoryListener, nothing
from tests.support.raw_peer import RawPeer
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "virtual_time"]

ROOT = Path(__file__).parent.parent

# What is given by position and by name, and the settings that this means.
BASE = Settings(host="base", port=1, t3=7)
GIVEN: list[tuple[tuple[Any, ...], SettingsChanges, Settings]] = [
    ((), {}, Settings()),
    ((), {"host": "h", "t3": 9}, Settings(host="h", t3=9)),
    ((BASE,), {}, BASE),
    ((BASE,), {"port": 2, "t3": 9}, Settings(host="base", port=2, t3=9)),
    (("h", 2), {}, Settings(host="h", port=2)),
    (("h", 2), {"t3": 9}, Settings(host="h", port=2, t3=9)),
    (("h", 2, BASE), {}, Settings(host="h", port=2, t3=7)),
    (("h", 2, BASE), {"t3": 9}, Settings(host="h", port=2, t3=9)),
]
# What cannot be meant.
REFUSED: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    (("h",), {}, TypeError, r"^by position: settings, or host and port, .* not \('h',\); all else"),
    (("h", 1, 2), {}, TypeError, r"^by position: .* not \('h', 1, 2\)"),
    ((BASE, "h", 1), {}, TypeError, "^by position: "),
    (("h", 1, BASE, 4), {}, TypeError, "^by position: "),
    ((None,), {}, TypeError, r"^by position: .* not \(None,\)"),
    (("h", 1), {"port": 2, "host": "x"}, TypeError, "^by position and by name: host, port$"),
    (("h", 1, BASE), {"port": 1}, TypeError, "^by position and by name: port$"),
    (("h", "1"), {}, SettingsError, "^port='1' is text, not a whole number"),
    ((BASE,), {"t3": "9"}, SettingsError, "^t3='9' is text, not a number in "),
    ((), {"nosuch": 3}, SettingsError, "^unknown setting nosuch; there are "),
    ((), {"sessionid": 3}, SettingsError, "^unknown setting sessionid; did you mean 'session_id'"),
]


async def chosen_by_dialling(
    door: Callable[..., AbstractAsyncContextManager[Any]], *given: Any, **changes: Any
) -> Settings:
    """The settings with which a dialling end that is opened like this runs."""
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            stream, _ = await listener.accept()
            await RawPeer(stream).select_by_answering()

        nursery.start_soon(answer)
        async with door(*given, dial=listener.dial, **changes) as opened:
            assert opened.peer == f"{opened.settings.host}:{opened.settings.port}"
            settings: Settings = opened.settings
        nursery.cancel_scope.cancel()
    return settings


async def chosen_by_listening(*given: Any, **changes: Any) -> Settings:
    """The settings with which a listening end that is opened like this runs."""
    async with trio.open_nursery() as nursery:
        serve = partial(serve_hsms, nothing, *given, listener=MemoryListener(), **changes)
        server: HsmsServer = await nursery.start(serve)
        settings = server.settings
        nursery.cancel_scope.cancel()
    return settings


DOORS = pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(partial(chosen_by_dialling, open_hsms), id="open_hsms"),
        pytest.param(partial(chosen_by_dialling, open_link), id="open_link"),
        pytest.param(chosen_by_listening, id="serve_hsms"),
    ],
)


@DOORS
@pytest.mark.parametrize(("given", "changes", "meant"), GIVEN)
async def test_each_door_takes_settings_and_an_address_alike(
    chosen: Callable[..., Any], given: tuple[Any, ...], changes: SettingsChanges, meant: Settings
) -> None:
    assert await chosen(*given, **changes) == meant


@DOORS
@pytest.mark.parametrize(("given", "changes", "kind", "words"), REFUSED)
async def test_each_door_refuses_alike_what_cannot_be_meant(
    chosen: Callable[..., Any],
    given: tuple[Any, ...],
    changes: dict[str, Any],
    kind: type[Exception],
    words: str,
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(kind, match=words)):
        await chosen(*given, **changes)


# What type checkers are told


def test_the_changes_are_the_settings_name_by_name_and_type_by_type() -> None:
    assert list(get_type_hints(SettingsChanges).items()) == list(get_type_hints(Settings).items())
    assert SettingsChanges.__required_keys__ == frozenset()


def test_a_phase_is_one_of_those_that_the_charts_can_have() -> None:
    assert set(get_args(Phase)) == set(PHASES.values())
    assert get_args(AttemptPhase) == ("tcp connect", "select")


def test_the_events_are_a_module_of_their_own() -> None:
    assert importlib.import_module("hsms_engine.events") is hsms_engine.events
    for event in get_args(hsms_engine.events.LinkEvent):
        assert getattr(hsms_engine.events, event.__name__) is event


@pytest.mark.parametrize(
    "event",
    sorted(
        {*get_args(hsms_engine.events.LinkEvent), *get_args(hsms_engine.events.ServerEvent)},
        key=str,
    ),
)
def test_an_event_is_a_record_that_cannot_change(event: Any) -> None:
    values = range(len(fields(event)))
    made = event(*values)
    assert made == event(*values) == pickle.loads(pickle.dumps(made))
    assert hash(made) == hash(event(*values))
    assert repr(made).startswith(f"{event.__name__}(at=0, epoch=1")
    assert not hasattr(made, "__dict__")
    with pytest.raises(FrozenInstanceError):
        made.at = 1.0


def test_events_of_two_kinds_are_never_equal() -> None:
    events: Any = hsms_engine.events
    assert events.Idle(1.0, 1) != events.Selected(1.0, 1)
    assert events.PeerAccepted(1.0, 1, "p") != events.PeerSelected(1.0, 1, "p")


HEAD = """
from functools import partial
from random import Random
from typing import Literal, assert_never

import hsms_engine.events
import trio
from hsms_engine import (
    AttemptPhase, ConnectError, HsmsConnection, HsmsLink, Message, Phase, Settings, aio,
    open_hsms, open_link, serve_hsms,
)
from hsms_engine.driver.tcp import connect_unix
from hsms_engine.events import Selected, Waiting
from hsms_engine.fake import serve_fake
from hsms_engine.fake.threaded import ThreadedEquipment
from hsms_engine.proxy import DropFrame, Fault, Latency, ProxyEvent, open_proxy
from hsms_engine.proxy.threaded import ThreadedProxy
from hsms_engine.pytest_plugin import FakeEquipments, FaultProxies
from hsms_engine.secs2 import A, B, Item, L, Leaf, U4

settings = Settings()
async def handler(connection: HsmsConnection) -> None: ...
async def aio_handler(connection: aio.HsmsConnection) -> None: ...
async def dial() -> trio.abc.Stream: return await connect_unix("/run/tool")
"""
OPENINGS = {
    "{door}()": "",
    "{door}(settings)": "",
    '{door}("h", 5000)': "",
    '{door}("h", 5000, settings)': "",
    '{door}(settings, t3=10, host="h", linktest_interval=None)': "",
    '{door}("h", 5000, t3=10.5, is_equipment=True)': "",
    '{door}("h", 5000, settings, random=Random(1), t3=3)': "",
    '{door}(t3="x")': "call-overload",
    "{door}(nosuch=3)": "call-overload",
    '{door}(settings, t3="x")': "call-overload",
    "{door}(settings, nosuch=3)": "call-overload",
    '{door}("h", 5000, t3="x")': "call-overload",
    '{door}("h", 5000, nosuch=3)': "call-overload",
    '{door}("h")': "call-overload",
    '{door}("h", "5000")': "call-overload",
    "{door}(settings, 5000)": "call-overload",
    "{door}(None)": "call-overload",
    "{door}(linktest_threshold=None)": "call-overload",
}
SNIPPETS = {
    **{
        f"async with {call.format(door=door)} as it: it.phase": code
        for door in ("open_hsms", "open_link", "aio.open_hsms", "aio.open_link")
        for call, code in OPENINGS.items()
    },
    **{
        f"await {call.format(door='serve_hsms').replace('(', '(handler, ', 1)}": code
        for call, code in OPENINGS.items()
    },
    **{
        "async with {} as server: server.port".format(
            call.format(door="aio.serve_hsms").replace("(", "(aio_handler, ", 1)
        ): code
        for call, code in OPENINGS.items()
    },
    "async with aio.serve_hsms(handler): pass": "arg-type",
    "async with open_hsms('h', 1) as it: c: HsmsConnection = it": "",
    "async with aio.open_hsms('h', 1) as it: c: aio.HsmsConnection = it": "",
    "async with aio.open_link('h', 1, restore='{}') as it: c: aio.HsmsLink = it": "",
    "async with aio.open_link('h', 1) as it: await it.configure(t3=3)": "",
    "async with aio.open_link('h', 1) as it: await it.configure(t3='x')": "arg-type",
    """
async with aio.open_link('h', 1) as it:
    async for event in it.events():
        match event:
            case Waiting(error=error):
                print(error)
    async for primary in it:
        await it.reply(primary, await it.request(primary))
""": "",
    "async def task(link: aio.HsmsLink) -> None: (await link.on_selected(task)).cancel()": "",
    "async with open_link('h', 1) as it: c: HsmsLink = it": "",
    "async with open_link(dial=dial, t3=1) as it: await it.connect()": "",
    "async with open_link(dial=3) as it: pass": "call-overload",
    "async with open_link('h', 1) as it, open_link(restore=it.save()): pass": "",
    "async with open_link(settings, restore='{}', wall_clock=lambda: 0.0): pass": "",
    "async with open_link(restore=3): pass": "call-overload",
    "await serve_hsms(handler, settings, task_status=trio.TASK_STATUS_IGNORED)": "",
    "async with trio.open_nursery() as n: await n.start(serve_hsms, handler, settings)": "",
    "partial(serve_hsms, handler, settings, t3=3)": "",
    "settings.replace(t3=3, linktest_interval=None)": "",
    "settings.replace(t3='x')": "arg-type",
    "settings.replace(nosuch=3)": "call-arg",
    "def f(link: HsmsLink) -> None: link.configure(t3=3)": "",
    "def f(link: HsmsLink) -> None: link.configure(settings, t3=3)": "",
    "def f(link: HsmsLink) -> None: link.configure(t3='x')": "arg-type",
    "def f(link: HsmsLink) -> None: link.configure(nosuch=3)": "call-arg",
    "def f(link: HsmsLink) -> bool: return link.phase == 'selected'": "",
    "def f(link: HsmsLink) -> bool: return link.phase == 'selectd'": "comparison-overlap",
    "def f(link: HsmsLink) -> Phase: return link.statistics().phase": "",
    "def f(error: ConnectError) -> bool: return error.phase == 'select'": "",
    "def f(error: ConnectError) -> bool: return error.phase == 'selecting'": "comparison-overlap",
    "def f(error: ConnectError) -> AttemptPhase: return error.phase": "",
    "ConnectError('m', 'c', 'elsewhere')": "arg-type",
    "hsms_engine.events.Idle(at=0.0, epoch=0)": "",
    "Settings(t3=3, linktest_interval=None)": "",
    "Settings(t3='x')": "arg-type",
    "Settings(nosuch=3)": "call-arg",
    "Settings('h')": "call-arg",
    "partial(serve_fake, session_id=7)": "",
    "partial(serve_fake, session_id='x')": "arg-type",
    "partial(serve_fake, nosuch=3)": "call-arg",
    "async with trio.open_nursery() as n: (await n.start(serve_fake)).port": "",
    "def f(fakes: FakeEquipments) -> ThreadedEquipment: return fakes()": "",
    "def f(fakes: FakeEquipments) -> int: return fakes('drop-replies=3', session_id=7).port": "",
    "def f(fakes: FakeEquipments) -> None: fakes(settings=settings, alarms=1.5, t3=3)": "",
    "def f(fakes: FakeEquipments) -> None: fakes(settings)": "arg-type",
    "def f(fakes: FakeEquipments) -> None: fakes(session_id='x')": "arg-type",
    "def f(fakes: FakeEquipments) -> None: fakes(nosuch=3)": "call-arg",
    "def f(fake: ThreadedEquipment) -> Message: return fake.request(Message(5, 1, True))": "",
    "def f(fake: ThreadedEquipment) -> Message: return fake.received[0]": "",
    "def f(fake: ThreadedEquipment) -> int: return fake.counts['selected']": "",
    "def f(fake: ThreadedEquipment) -> None: fake.until(lambda: fake.port > 0, timeout=1)": "",
    "def f(fake: ThreadedEquipment) -> None: fake.until('selected')": "arg-type",
    "def f(fake: ThreadedEquipment) -> None: fake.answer(lambda primary: None)": "",
    "def f(fake: ThreadedEquipment) -> None: fake.answer(3)": "arg-type",
    """
def f(fake: ThreadedEquipment) -> None:
    @fake.answer
    async def answer(primary: Message) -> Message | None:
        return None
""": "",
    "async with open_proxy('h', 1, faults=['stall', Latency(0.2)], seed=3) as it: it.port": "",
    "async with open_proxy('h', 1, nosuch=3): pass": "call-arg",
    "async with open_proxy('h', 1) as it: it.set('stall', DropFrame('S6F11', nth=2))": "",
    "async with open_proxy('h', 1) as it: it.set(3)": "arg-type",
    "async with open_proxy('h', 1) as it: f: tuple[Fault, ...] = it.faults": "",
    """
async with open_proxy('h', 1) as it:
    async for event in it.events():
        told: ProxyEvent = event
""": "",
    "Latency(0.2, direction='to-host', after=1, connections=(3, None))": "",
    "Latency(0.2, direction='up')": "arg-type",
    "Latency(nosuch=3)": "call-arg",
    "def f(make: FaultProxies) -> ThreadedProxy: return make('h', 1, faults=['stall'])": "",
    "def f(proxy: ThreadedProxy) -> list[ProxyEvent]: return proxy.events()": "",
    """
def f(item: Item | None) -> str:
    match item:
        case [A(model), A(version)]:
            return model + version
        case [A(model), [A(version), *_]]:
            return model + version
        case _:
            return ""
""": "",
    """
def f(item: Item) -> int:
    match item:
        case [A(model), A()]:
            return model
        case _:
            return 0
""": "return-value",
    """
def f(item: Item) -> int:
    match item:
        case L():
            return 1
        case Leaf():
            return 2
        case _:
            assert_never(item)
""": "",
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each snippet, and the code of what mypy finds wrong in it: all in one run."""
    lines = HEAD.splitlines()
    owner: dict[int, str] = {}
    for number, snippet in enumerate(SNIPPETS):
        body = [f"async def _{number}() -> None:", *indent(snippet.strip(), "    ").splitlines()]
        owner |= {len(lines) + 1 + at: snippet for at in range(len(body))}
        lines += body
    file = tmp_path_factory.mktemp("typed") / "snippets.py"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    # The settings, and so the cache, of `make check`.
    options = [f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={ROOT / '.mypy_cache'}"]
    with warnings.catch_warnings():
        # mypy opens its own files so, which are ASCII.
        warnings.simplefilter("ignore", EncodingWarning)
        out, trouble, _ = mypy.run([*options, str(file)])
    assert not trouble
    found: dict[str, set[str]] = {}
    for line, code in re.findall(r"snippets\.py:(\d+): error: .*\[([a-z-]+)\]$", out, re.MULTILINE):
        found.setdefault(owner[int(line)], set()).add(code)
    return {snippet: " ".join(sorted(found.get(snippet, ()))) for snippet in SNIPPETS}


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_type_checker_finds_what_is_wrong_and_nothing_else(
    snippet: str, judged: dict[str, str]
) -> None:
    assert judged[snippet] == SNIPPETS[snippet]


def test_an_item_is_taken_apart_by_a_sequence_pattern() -> None:
    def seen(item: Item | None) -> str:
        match item:
            case [A(model), A(version)]:
                return f"{model} {version}"
            case [A(model), [U4(revision), *_]]:
                return f"{model} {revision}"
            case L():
                return "another list"
            case _:
                return "no list"

    assert seen(L("MDLN", "1.0")) == "MDLN 1.0"
    assert seen(L("MDLN", [U4(7), True])) == "MDLN 7"
    assert seen(L("MDLN")) == "another list"
    # As sequences of characters and of numbers these would match.
    for leaf in (A("ab"), U4(1, 2), None):
        assert seen(leaf) == "no list"
