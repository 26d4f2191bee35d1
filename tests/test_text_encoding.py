"""The text encoding of a link: received messages have it, the log shows text in it."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import Message, Settings, open_hsms
from hsms_engine.answers import AnswerBook
from hsms_engine.fake import serve_fake
from hsms_engine.protocol import Traffic, Transaction
from hsms_engine.secs2 import A, DecodeError, SeveralItemsError, encode
from tests.support.engines import End, selected, serving
from tests.support.pair import passive_end
from tests.support.raw_peer import data

QUIET: dict[str, Any] = {"linktest_interval": None}
NAME = A("温度", encoding="gbk")
NAMED = encode(NAME)
SHOWN = '<A "温度">'


def sml_of(message: Message) -> str:
    return message.sml().partition("\n")[2].removesuffix(" .")


@pytest.mark.parametrize("start", [selected, serving])
def test_what_is_received_has_the_encoding_of_its_link(start: Any) -> None:
    end: End = start(text_encoding="gbk")
    primary = end.primary(data(10, 3, 5, body=NAMED))
    assert (primary.text_encoding, sml_of(primary)) == ("gbk", SHOWN)
    transaction = end.engine.request(Message(10, 5, True))
    end.out()
    (settled,) = end.take(data(10, 6, end.last, body=NAMED))
    assert settled is transaction
    assert isinstance(settled, Transaction)
    reply = settled.reply()
    assert (reply.text_encoding, sml_of(reply)) == ("gbk", SHOWN)
    assert sml_of(pickle.loads(pickle.dumps(reply))) == SHOWN


def test_without_one_there_is_none_and_a_change_holds_for_the_next_message() -> None:
    end = selected()
    before = end.primary(data(10, 3, 5, body=NAMED))
    assert (before.text_encoding, sml_of(before)) == (None, "<A 0xCE 0xC2 0xB6 0xC8>")
    end.engine.configure(end.engine.settings.replace(text_encoding="gbk"))
    assert end.primary(data(10, 3, 6, body=NAMED)).text_encoding == "gbk"
    assert before.text_encoding is None
    assert before == end.primary(data(10, 3, 7, body=NAMED))


def test_what_is_passed_over_has_it_too() -> None:
    end = selected(text_encoding="gbk")
    end.engine.watch(lambda: True)
    found = end.take(data(10, 3, 5, body=NAMED, session=9), data(10, 4, 6, body=NAMED))
    messages = [each.message for each in found if isinstance(each, Traffic)]
    assert [each and sml_of(each) for each in messages] == [SHOWN, SHOWN]


async def test_the_log_shows_text_in_the_encoding_of_the_link(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with passive_end(text_encoding="gbk", **QUIET) as (connection, peer):
        caplog.set_level(logging.DEBUG, "hsms_engine.traffic")
        await peer.send(data(10, 3, 1, body=NAMED))
        await peer.ping()
        await connection.send(Message(10, 5, body=NAMED))
    bodies = [vars(each)["body"] for each in caplog.records if "body" in vars(each)]
    assert bodies == [SHOWN, SHOWN]


async def test_a_fake_equipment_reads_and_answers_in_it() -> None:
    told: list[Mapping[str, object]] = []
    settings = Settings(port=0, text_encoding="gbk")
    book = AnswerBook.parse(f"S10F4 {SHOWN} .", text_encoding="gbk")
    serve = partial(
        serve_fake, settings, answers=book, report=lambda _, details: told.append(details)
    )
    async with trio.open_nursery() as nursery:
        equipment = await nursery.start(serve)
        async with open_hsms("127.0.0.1", equipment.port) as connection:
            reply = await connection.request(Message(10, 3, True, NAME))
        await equipment.aclose()
    assert (reply.item, reply.text_encoding) == (NAME, None)
    assert {f"S10F3 W\n{SHOWN} .", f"S10F4\n{SHOWN} ."} <= {each.get("sml") for each in told}


def test_an_answer_book_says_where_its_text_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "book.sml"
    file.write_text("S1F2\n<A 'ö'> .", encoding="utf-8")
    assert AnswerBook.load(file, "latin-1").answer(Message(1, 1, True)) == Message(
        1, 2, item=A(b"\xf6")
    )
    for encoding, why in (("gbk", "is not gbk"), (None, "is not ASCII")):
        with pytest.raises(ValueError, match=rf"book\.sml:2:4: A character 'ö' .* {why}"):
            AnswerBook.load(file, encoding)
    with pytest.raises(ValueError, match=r"^'utf-16' is no superset of ASCII"):
        AnswerBook.load(file, "utf-16")


@pytest.mark.parametrize("body", [NAMED * 2, NAMED * 1_000], ids=["two", "many"])
def test_several_items_are_no_fault_of_the_peer(body: bytes) -> None:
    end = selected(is_equipment=True)
    primary = end.primary(data(10, 3, 5, body=body))
    with pytest.raises(SeveralItemsError):
        _ = primary.item
    assert primary.items[-1] == NAME
    end.engine.report_unreadable()
    assert end.out() == []
    assert end.counts()["unreadable_bodies"] == 0
    broken = end.primary(data(10, 3, 6, body=body + b"\xff"))
    with pytest.raises(DecodeError):
        _ = broken.items
    end.engine.report_unreadable()
    end.out()
    assert end.counts()["unreadable_bodies"] == 1
    assert (end.frames[-1].stream, end.frames[-1].function) == (9, 7)
