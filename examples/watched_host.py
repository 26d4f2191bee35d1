"""A host with several links, which tells whoever looks after it whether they are ready.

    python watched_host.py /run/hsms-host/health links.toml [etcher-1 stepper-2 ...]

Without names it opens all links of the file. It ends on Ctrl-C and on SIGTERM, with Separate.
"""

import logging
import signal
import sys

import trio

from hsms_engine import HsmsError, HsmsLink, Message, Settings, open_link, serve_health
from hsms_engine.events import Unreachable
from hsms_engine.messages import S5F2, S6F12

LOG = logging.getLogger("host")
REPLIES = {"S5F1": S5F2(), "S6F11": S6F12()}


async def answer(link: HsmsLink) -> None:
    async for primary in link:
        if primary.wait:
            try:
                await link.reply(primary, REPLIES.get(primary.name, Message(primary.stream, 0)))
            except HsmsError as error:
                LOG.warning("%s stays without reply: %s", primary.name, error)


async def run(settings: Settings, links: list[HsmsLink]) -> None:
    async with open_link(settings) as link, trio.open_nursery() as nursery:
        links.append(link)
        nursery.start_soon(answer, link)
        async for event in link.events():
            match event:
                case Unreachable(seconds=seconds, error=error):
                    # The place to call a person: it comes once for each time that it is away.
                    LOG.error("%s is away for %.0f s: %s", link.peer, seconds, error)


async def main(where: str, file: str, names: list[str]) -> None:
    chosen = Settings.links_from_toml(file)
    # It may grow: for each answer it is looked through anew.
    links: list[HsmsLink] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            told = await nursery.start(serve_health, links, where)
            for name in names or chosen:
                nursery.start_soon(run, chosen[name].replace(unreachable_after=300), links)
            LOG.info("%s links, health is told on %s", len(names or chosen), told.where)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
