"""``python -m tests.real_network.equipment CONFIGURATION``: an equipment that tells what happens.

The configuration is JSON: ``settings`` of the server and ``behaviours``. Without behaviours it
echoes each primary; with some it is the equipment of ``hsms-engine fake`` (its names and counts).
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import trio

from hsms_engine import HsmsConnection, HsmsServer, Message, Settings, serve_hsms
from hsms_engine.fake.program import Beside, run_fake
from hsms_engine.process import Process
from tests.real_network.telling import Tell, program, tell_event


async def main(this: Process, configuration: Any, tell: Tell) -> int:
    settings = Settings(**configuration["settings"])
    if behaviours := configuration["behaviours"]:

        def report(event: str, details: Any) -> None:
            if "message" not in details:
                tell(_NAMES.get(event, event), why=details.get("why", ""), error="selected")

        beside = Beside(behaviours=tuple(behaviours))
        return await run_fake(this, settings, beside, report=report)
    async with trio.open_nursery() as nursery:
        server: HsmsServer = await nursery.start(_serve, settings)
        tell("listening")
        with this.until_stopped():
            async for event in server.events():
                tell_event(tell, event)
        await server.aclose()
    tell("over")
    return 0


# What the fake equipment says, in the words of a server's events.
_NAMES = {"selected": "PeerSelected", "ended": "PeerEnded", "accepted": "PeerAccepted"}


async def _serve(settings: Settings, *, task_status: trio.TaskStatus[HsmsServer]) -> None:
    await serve_hsms(echo, settings, task_status=task_status)


async def echo(connection: HsmsConnection) -> None:
    async for primary in connection:
        if primary.wait:
            reply = Message(primary.stream, primary.function + 1, body=primary.body)
            await connection.reply(primary, reply)


if __name__ == "__main__":
    # Nobody else is in its namespaces.
    warnings.filterwarnings("ignore", message="a listening end that other machines reach")
    sys.exit(program(main))
