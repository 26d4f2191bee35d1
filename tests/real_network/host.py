"""``python -m tests.real_network.host CONFIGURATION``: a host that asks, and tells what happens.

The configuration is JSON: ``settings`` of the link, ``ask`` (seconds between two S1F1, or null) and
``message`` (bytes in each of the S2F25 that follow each other, or 0).
"""

from __future__ import annotations

import sys
from typing import Any

import trio

from hsms_engine import HsmsError, HsmsLink, LinkDownError, Message, open_link
from hsms_engine.messages import S1F1, S2F25
from hsms_engine.process import Process
from tests.real_network.telling import Tell, program, tell_event

# Seconds between an answer and the next large message: the ends share their CPUs with others.
_PAUSE = 0.05


async def main(this: Process, configuration: Any, tell: Tell) -> int:
    tell("begun")
    async with open_link(**configuration["settings"]) as link:
        with this.until_stopped():
            async with trio.open_nursery() as nursery:
                if (pause := configuration["ask"]) is not None:
                    nursery.start_soon(ask, link, pause, tell)
                if size := configuration["message"]:
                    nursery.start_soon(send_large, link, size, tell)
                async for event in link.events():
                    tell_event(tell, event)
    tell("over")
    return 0


async def ask(link: HsmsLink, pause: float, tell: Tell) -> None:
    """S1F1 every ``pause`` seconds while selected, whether or not the one before is answered."""
    async with trio.open_nursery() as nursery:
        while True:
            await link.wait_selected()
            nursery.start_soon(request, link, S1F1(), tell)
            await trio.sleep(pause)


async def send_large(link: HsmsLink, size: int, tell: Tell) -> None:
    """One large message after the other while selected."""
    message = S2F25(bytes(size))
    while True:
        await link.wait_selected()
        await request(link, message, tell)
        await trio.sleep(_PAUSE)


async def request(link: HsmsLink, message: Message, tell: Tell) -> None:
    try:
        reply = await link.request(message)
    except LinkDownError:
        # It was not sent: between the check and the call the link was lost.
        return
    except HsmsError as error:
        tell("failed", why=str(error), error=type(error).__name__)
    else:
        tell("answered" if reply.body == message.body or not message.body else "damaged")


if __name__ == "__main__":
    sys.exit(program(main))
