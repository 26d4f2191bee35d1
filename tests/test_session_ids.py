"""The session id of what is sent: that of the settings, or with ``check_session_id`` off any."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hsms_engine import LocalProtocolError, Message
from hsms_engine.protocol import Primary
from hsms_engine.tolerances import DIRECTION
from tests.support.engines import End, outcome_of, selected, serving
from tests.support.raw_peer import data

BOTH = pytest.mark.parametrize("start", [selected, serving], ids=["dials", "listens"])
Start = Callable[..., End]


@BOTH
def test_a_reply_goes_to_where_its_primary_came_for(start: Start) -> None:
    end = start(check_session_id=False, session_id=5)
    for session_id in (5, 7, 0):
        primary = end.primary(data(1, 1, 3, session=session_id, wait=True))
        end.engine.reply(primary, Message(1, 2, session_id=9))
        end.out()
        assert end.frames[-1].session_id == session_id


@BOTH
def test_a_primary_has_the_session_id_of_its_message(start: Start) -> None:
    end = start(check_session_id=False, session_id=5)
    for message, session_id in (
        (Message(6, 1), 5),
        (Message(6, 1, session_id=0), 0),
        (Message(6, 1, session_id=0xFFFF), 0xFFFF),
    ):
        end.engine.send(message)
        end.out()
        assert end.frames[-1].session_id == session_id
    transaction = end.engine.request(Message(1, 1, True, session_id=7))
    end.out()
    assert end.frames[-1].session_id == 7
    assert transaction.session_id == 7
    end.take(data(1, 2, end.last, session=7))
    reply = outcome_of(transaction)
    assert isinstance(reply, Message)
    assert reply.session_id == 7


@BOTH
def test_with_the_check_each_message_has_the_session_id_of_the_settings(start: Start) -> None:
    # A message that was received on another link may be sent on.
    end = start(session_id=5)
    end.engine.send(Message(6, 1, session_id=7))
    end.out()
    assert end.frames[-1].session_id == 5


@pytest.mark.parametrize("session_id", [-1, 0x1_0000])
def test_a_session_id_that_is_none_is_refused_before_anything_is_sent(session_id: int) -> None:
    end = selected(check_session_id=False)
    sent = len(end.frames)
    with pytest.raises(LocalProtocolError, match=f"S6F1: session_id={session_id} is not in"):
        end.engine.send(Message(6, 1, session_id=session_id))
    with pytest.raises(LocalProtocolError, match=f"S6F1: session_id={session_id} is not in"):
        end.engine.request(Message(6, 1, True, session_id=session_id))
    end.out()
    assert len(end.frames) == sent
    assert end.engine.statistics().open_transactions == 0


def test_an_equipment_sets_the_direction_bit_in_each_of_them() -> None:
    end = serving(check_session_id=False, is_equipment=True, write_direction_bit=True)
    primary = end.primary(data(1, 1, 3, session=7, wait=True))
    end.engine.reply(primary, Message(1, 2))
    end.engine.send(Message(6, 1, session_id=8))
    end.out()
    assert [each.session_id for each in end.frames[-2:]] == [DIRECTION | 7, DIRECTION | 8]


def test_a_report_comes_from_the_device_that_the_message_was_for() -> None:
    end = serving(check_session_id=False, is_equipment=True, session_id=5)
    primary = end.primary(data(1, 3, 3, session=DIRECTION | 7, wait=True, body=b"\xff\xff"))
    assert isinstance(primary, Primary)
    with pytest.raises(ValueError, match="format code"):
        print(primary.item)
    end.engine.report_unreadable()
    end.out()
    assert (end.frames[-1].session_id, end.frames[-1].byte3) == (7, 7)
    assert end.frames[-1].body[2:4] == b"\x80\x07"
