"""A host that runs for months: it sets the tool up after each reconnect and logs what happens.

    python host.py links.toml etcher-1

It writes host.log and traffic.log, and ends on Ctrl-C and on SIGTERM, with Separate.
"""

import logging
import signal
import sys
from logging.handlers import RotatingFileHandler

import trio

from hsms_engine import HsmsError, HsmsLink, Message, Settings, TransactionError, open_link
from hsms_engine.messages import S1F13, S2F37, S5F2, S5F3, S6F12

LOG = logging.getLogger("host")
# Seconds until a tool that has not taken all of it is asked again.
PAUSE = 30


async def set_up(link: HsmsLink) -> None:
    """Say again what a tool forgets when it is switched off, until it has answered all of it."""
    while True:
        try:
            for message in (S1F13(), S2F37(True), S5F3(True)):
                reply = await link.request(message)
                LOG.info("%s was answered with %s", message.name, reply.name)
            return
        except TransactionError as error:
            # The session stays, and only the next one runs this task again: so try it here.
            LOG.warning("the tool is not set up, once more in %s s: %s", PAUSE, error)
        await trio.sleep(PAUSE)


async def answer(link: HsmsLink) -> None:
    """Take the alarms and events of the tool, over all of its connections."""
    async for primary in link:
        LOG.info("received %s", primary.name)
        replies = {"S5F1": S5F2(), "S6F11": S6F12()}
        if primary.wait:
            try:
                await link.reply(primary, replies.get(primary.name, Message(primary.stream, 0)))
            except HsmsError as error:
                # The tool has rebooted meanwhile, and knows nothing of this primary any more.
                LOG.warning("%s stays without reply: %s", primary.name, error)


async def main(settings: Settings) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_link(settings) as link, trio.open_nursery() as nursery:
            link.on_selected(set_up)
            nursery.start_soon(answer, link)
            await anext(signals)
            nursery.cancel_scope.cancel()
    LOG.info("separated")


def log_file(name: str) -> logging.Handler:
    """Ten files of at most 10 MB: months of logs that never fill a disk."""
    file = RotatingFileHandler(name, maxBytes=10_000_000, backupCount=9, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return file


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, handlers=[log_file("host.log")])
    traffic = logging.getLogger("hsms_engine.traffic")
    traffic.addHandler(log_file("traffic.log"))
    traffic.propagate = False
    trio.run(main, Settings.from_toml(*sys.argv[1:]))
