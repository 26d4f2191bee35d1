"""Each line that the page of troubleshooting shows is made here by what the page says causes it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from hsms_engine import HsmsError
from hsms_engine.messages import S1F1
from tests.support.pair import Switchboard, active_end, link_end, nothing, server_end
from tests.support.raw_peer import SELECT_REQ, Got, data, select_req, select_rsp, separate_req
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

PAGE = (Path(__file__).parent.parent / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def shown() -> set[str]:
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return {line for block in blocks for line in block.splitlines()}


class Told:
    """What errors and the log have said."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "hsms_engine.link")
        self._caplog = caplog
        self._errors: list[str] = []

    def by(self, error: HsmsError) -> None:
        self._errors.append(str(error))

    def lines(self) -> set[str]:
        """With the peer's names of the page."""
        said = [*self._errors, *(each.getMessage() for each in self._caplog.records)]
        named = (each.replace("tool:5000", "10.1.2.3:5000") for each in said)
        return {re.sub(r"memory peer \d", "10.1.2.7:49321", each) for each in named}


async def attempt(told: Told, board: Switchboard) -> None:
    """One attempt of a link, and a call after it."""
    async with link_end(board, linktest_interval=None) as link:
        for call in (link.connect, lambda: link.request(S1F1())):
            with pytest.raises(HsmsError) as caught:
                await call()
            told.by(caught.value)


async def answered(told: Told, *frames: Callable[[int], bytes]) -> None:
    """An attempt whose Select.req is answered so; each is made of its system bytes."""
    board = Switchboard()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, told, board)
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        await peer.send(*(each(system) for each in frames))


async def never_selected(told: Told) -> None:
    board = Switchboard()
    board.refuse()
    await attempt(told, board)
    board = Switchboard()
    board.hang()
    await attempt(told, board)
    await answered(told)
    await answered(told, lambda _: b"HTTP/1.1 400 Bad Request\r\n")


async def the_breaker(told: Told) -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=2, linktest_interval=None) as link:
        await trio.sleep(25)
        with pytest.raises(HsmsError) as caught:
            await link.connect()
        told.by(caught.value)


async def statuses(told: Told) -> None:
    for status in (1, 2, 3):
        await answered(told, partial(select_rsp, status=status))


async def second_host(_told: Told) -> None:
    async with server_end(nothing) as (_, listener):
        await (await listener.raw()).select()
        second = await listener.raw()
        await second.send(select_req(5))
        assert (await second.frame()).byte3 == 3


async def no_reply(told: Told) -> None:
    answers: list[Callable[[Got], bytes]] = [
        lambda asked: data(1, 2, asked.system, session=3),
        lambda asked: data(1, 4, asked.system),
        lambda asked: data(1, 2, asked.system + 1),
        lambda _: b"",
    ]
    for answer in answers:
        async with active_end(linktest_interval=None) as (connection, peer):

            async def reply(answer: Callable[[Got], bytes] = answer) -> None:
                await peer.send(answer(await peer.frame()))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(reply)
                with pytest.raises(HsmsError) as caught:
                    await connection.request(S1F1())
        told.by(caught.value)


async def lost(_told: Told) -> None:
    board = Switchboard()
    async with link_end(board):
        peer = await board.peer()
        await peer.select_by_answering()
        await trio.sleep(36)
    board = Switchboard()
    async with link_end(board, linktest_interval=None):
        peer = await board.peer()
        await peer.select_by_answering()
        await peer.send(separate_req(1), data(6, 11, 2))
        await trio.sleep(1)


async def foreign(_told: Told) -> None:
    async with active_end(linktest_interval=None) as (_, peer):
        await peer.send(data(6, 11, 1, session=3))
        await peer.settle()


async def deaf(_told: Told) -> None:
    async with server_end(nothing, allowed_networks=("10.1.0.0/16",)) as (_, listener):
        await listener.raw("192.0.2.7:4000")
        await trio.sleep(1)
    async with server_end(nothing, max_connections=1) as (_, listener):
        await (await listener.raw()).select()
        await listener.raw()
        await trio.sleep(1)
    async with server_end(nothing) as (_, listener):
        await listener.raw()
        await trio.sleep(11)


async def test_each_line_of_the_page_is_said(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    for cause in (never_selected, the_breaker, statuses, second_host, no_reply, lost, foreign):
        await cause(told)
    await deaf(told)
    lines = told.lines()
    lines |= {line.partition(": ")[2] for line in lines if "turned away" in line}
    assert shown()
    assert shown() - lines == set()


def test_each_symptom_that_people_name_has_its_place() -> None:
    titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert {"Never selected", "T3 though the tool answers", "Status 3", "The port is deaf"} <= {
        *titles
    }
