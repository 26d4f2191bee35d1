"""A host and an equipment in one process, to be run as on another system: `talk.py SYSTEM`.

Prints what a user of that system sees.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from hsms_engine import ConnectError, HsmsConnection, Message, Settings, open_hsms, open_link
from hsms_engine.driver.tcp import connect_unix, listen_tcp, listen_unix
from hsms_engine.server import serve_hsms


async def echo(connection: HsmsConnection) -> None:
    """Answer everything with its own body."""
    async for primary in connection:
        answer = Message(primary.stream, primary.function + 1, body=primary.body)
        await connection.reply(primary, answer)


async def refused(port: int) -> None:
    """Dial where nobody listens."""
    try:
        async with open_hsms("127.0.0.1", port):
            pass
    except ConnectError as error:
        print("refused:", error.cause)


async def unix(path: str) -> None:
    """Listen on a Unix socket and connect to it."""
    for call in (listen_unix, connect_unix):
        try:
            made = await call(path)
        except OSError as error:
            print(f"{call.__name__}:", error.strerror)
        else:
            print(f"{call.__name__}: done")
            made.close()


async def main() -> None:
    """Listen twice on one port, dial it by two doors, dial nobody, use a Unix socket."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_hsms, echo, Settings(port=0))
        try:
            await listen_tcp("127.0.0.1", server.port)
        except OSError as error:
            print("a second listener:", error.strerror)
        for host in ("127.0.0.1", "localhost"):
            async with open_hsms(host, server.port) as connection:
                reply = await connection.request(Message(2, 25, wait=True, body=b"\x41\x01A"))
                print("open_hsms:", reply.name, reply.body)
        async with open_link(Settings(port=server.port)) as link:
            await link.wait_selected()
            print("open_link:", (await link.request(Message(1, 1, wait=True))).name)
        await server.aclose()
    # At once, although connections over it have just ended.
    again = await listen_tcp("127.0.0.1", server.port)
    print("a listener after it: done")
    again.close()
    await refused(server.port)
    with TemporaryDirectory() as folder:
        await unix(str(Path(folder) / "hsms"))


if __name__ == "__main__":
    assert sys.platform == "linux"
    trio.run(main)
