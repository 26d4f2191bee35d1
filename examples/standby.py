"""One machine has the tool, another one stands by: start the same program on both.

    HSMS_STORE_PASSWORD=... python standby.py links.toml etcher-1 rediss://store.fab:6379

It ends on Ctrl-C and on SIGTERM, with Separate; then the other one has the tool at once.
"""

import signal
import sys

import trio

from hsms_engine import HsmsLink, Settings, events, open_link
from hsms_engine.lease import RedisLease
from hsms_engine.messages import S1F13


async def set_up(link: HsmsLink) -> None:
    print("the tool says", (await link.request(S1F13())).item, flush=True)


async def tell(link: HsmsLink) -> None:
    async for event in link.events():
        match event:
            case events.Standby(owner=owner, error=error):
                print("standing by:", error or f"{owner or 'nobody yet'} has it", flush=True)
            case events.Owning() | events.Doubtful() | events.Draining():
                print("the lease:", event, flush=True)
            case _:
                pass


async def main(file: str, name: str, store: str) -> None:
    settings = Settings.from_toml(file, name)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        lease = RedisLease(store, name)
        async with open_link(settings, lease=lease) as link, trio.open_nursery() as nursery:
            link.on_selected(set_up)
            nursery.start_soon(tell, link)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    _, file, name, store = sys.argv
    trio.run(main, file, name, store)
