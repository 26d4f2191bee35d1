"""A peer in a process of its own: ``python -m tests.support.unix_server PATH``.

It listens on a Unix socket, echoes, and answers S2F41 with 100 S6F11, numbered, before the reply.
It says ``ready`` when it listens and ends when its standard input does.
"""

from __future__ import annotations

import sys

import trio

from hsms_engine import HsmsConnection, Message, Settings, serve_hsms
from hsms_engine.driver.tcp import listen_unix

EVENTS = 100


async def talk(connection: HsmsConnection) -> None:
    async for primary in connection:
        if primary.name == "S2F41":
            for number in range(EVENTS):
                await connection.send(Message(6, 11, body=bytes([0xA5, 1, number])))
        if primary.wait:
            reply = Message(primary.stream, primary.function + 1, body=primary.body)
            await connection.reply(primary, reply)


async def main(path: str) -> None:
    async with trio.open_nursery() as nursery:
        listener = await listen_unix(path)
        server = await nursery.start(_serve, listener)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        await server.aclose()


async def _serve(
    listener: object, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    settings = Settings(max_sessions=100)
    await serve_hsms(talk, settings, listener=listener, task_status=task_status)  # type: ignore[call-overload]  # nursery.start knows no types


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
