"""An equipment with a lamp that shows its link: green while a host is selected, else red.

    python lamp.py 5000

The lamp is a line in the terminal. Put ``Lamp.show`` on a wire, or into a window.
"""

import sys

import trio

from hsms_engine import HsmsConnection, HsmsServer, Message, Settings, serve_hsms
from hsms_engine.messages import S1F2, S1F14


class Lamp:
    """Green while at least one host is selected."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()

    def show(self) -> None:
        print(" ".join(["green:", *sorted(self.hosts)]) if self.hosts else "red", flush=True)


def reply_to(primary: Message) -> Message:
    """What this equipment answers; SxF0 to what it does not know."""
    match primary.name:
        case "S1F1":
            return S1F2("LAMP", "1.0")
        case "S1F13":
            return S1F14(0, "LAMP", "1.0")
        case _:
            return Message(primary.stream, 0)


async def main(port: int) -> None:
    lamp = Lamp()

    async def talk(host: HsmsConnection) -> None:
        """One host, from SELECTED until it is over."""
        lamp.hosts.add(host.peer)
        lamp.show()
        try:
            async for primary in host:
                if primary.wait:
                    await host.reply(primary, reply_to(primary))
        finally:
            # However it has ended: separated, or broken.
            lamp.hosts.remove(host.peer)
            lamp.show()

    settings = Settings(port=port, is_equipment=True)
    async with trio.open_nursery() as nursery:
        server: HsmsServer = await nursery.start(serve_hsms, talk, settings)
        print(f"listening on {server.address}", flush=True)
        lamp.show()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
