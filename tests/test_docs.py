"""What docs/protocol.md says of where a rule stands is so: every name in it exists there."""

import importlib
import re
from pathlib import Path

import pytest

from hsms_engine.driver.driver import Driver
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.exchange import Exchange
from statecharts.hsms import CHARTS, connection, vocabulary
from statecharts.hsms.connection import ACTIVE, PASSIVE

ROOT = Path(__file__).parent.parent
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
NAMES = sorted(set(re.findall(r"`([^`]+)`", PROTOCOL)))

STATES = {state.id for chart in CHARTS for state in chart.walk()}
EVENTS = {*ACTIVE.events, *PASSIVE.events}
OWNERS = {"Driver": Driver, "engine": Engine, "exchange": Exchange}
# Words the page explains itself, settings, and commands.
WORDS = {"connection", "classify", "engine", "exchange", "make prove"}
SETTINGS = {"max_frame", "linktest_threshold"}
ELSEWHERE = {"UnexpectedSecondary": "hsms_engine.events"}


def exists(name: str) -> bool:
    if name in WORDS | SETTINGS | STATES | EVENTS:
        return True
    if name in ELSEWHERE:
        return hasattr(importlib.import_module(ELSEWHERE[name]), name)
    owner, _, member = name.partition(".")
    if owner in OWNERS:
        return hasattr(OWNERS[owner], member)
    if owner == "wire":
        found: object = importlib.import_module("hsms_engine.wire")
        for part in member.split("."):
            found = getattr(found, part, None)
        return found is not None
    if "/" in name:
        return any(
            (ROOT / base / name).exists() for base in ("", "hsms_engine", "statecharts")
        ) or (
            name == "protocol/frames.stream_nine"
            and hasattr(importlib.import_module("hsms_engine.protocol.frames"), "stream_nine")
        )
    return hasattr(vocabulary, name) or hasattr(connection, name)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_protocol_page_exists(name: str) -> None:
    assert exists(name)


def test_every_event_that_a_peer_may_cause_is_on_the_protocol_page() -> None:
    of_requests = {"deselect_rsp_ended", "deselect_rsp_busy", "deselect_rejected"}
    of_linktest = {"linktest_rsp_received", "linktest_rejected"}
    received = {*ACTIVE.received, *PASSIVE.received} - of_requests - of_linktest
    assert received <= set(NAMES)
