"""Ask all tools of a file whether they are there, all at the same time.

python links.py links.toml
"""

import sys

import trio

from hsms_engine import HsmsError, Settings, open_hsms
from hsms_engine.messages import S1F1


async def ask(name: str, settings: Settings) -> None:
    try:
        async with open_hsms(settings) as tool:
            reply = await tool.request(S1F1())
            print(f"{name}: {reply.item}")
    except HsmsError as error:
        print(f"{name}: {error}")


async def main(file: str) -> None:
    async with trio.open_nursery() as nursery:
        for name, settings in Settings.links_from_toml(file).items():
            nursery.start_soon(ask, name, settings)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
