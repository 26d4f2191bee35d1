"""A host on asyncio: it asks a tool for its clock every minute, and answers what it reports.

    python asyncio_host.py 10.1.2.3 5000

It ends on Ctrl-C, with Separate.
"""

import asyncio
import sys
from contextlib import suppress

from hsms_engine import HsmsError, Message
from hsms_engine.aio import HsmsLink, open_link
from hsms_engine.messages import S1F13, S2F17, S5F2, S6F12

REPLIES = {"S5F1": S5F2(), "S6F11": S6F12()}


async def set_up(link: HsmsLink) -> None:
    """A task for each session, cancelled with it."""
    reply = await link.request(S1F13())
    print("set up:", reply.name, flush=True)


async def answer(link: HsmsLink) -> None:
    """Ends when the link is closed."""
    async for primary in link:
        print("received:", primary.name, flush=True)
        if primary.wait:
            # The connection over which it came may be over.
            with suppress(HsmsError):
                reply = REPLIES.get(primary.name, Message(primary.stream, 0))
                await link.reply(primary, reply)


async def main(host: str, port: int) -> None:
    async with asyncio.TaskGroup() as tasks, open_link(host, port) as link:
        await link.on_selected(set_up)
        tasks.create_task(answer(link))
        while True:
            try:
                async with asyncio.timeout(20):
                    await link.wait_selected()
                    print("its clock:", (await link.request(S2F17())).item, flush=True)
            except TimeoutError:
                print("no clock within 20 s", flush=True)
            except HsmsError as error:
                print("no clock:", error, flush=True)
            await asyncio.sleep(60)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
