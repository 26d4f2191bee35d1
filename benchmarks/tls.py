"""What TLS costs: ``python -m benchmarks.tls``.

A request that is echoed with and without TLS, over loopback, both ends in one process: a small one,
and one of 1 MB; and how long it takes until a connection is selected. Both take turns in short
rounds, so that a busy machine is unfair to none. The certificates are made by ``trustme``.
"""

from __future__ import annotations

import argparse
import ssl
import statistics
import time
from functools import partial

import trio
import trustme

from hsms_engine import HsmsConnection, HsmsServer, Message, open_hsms, serve_hsms
from hsms_engine.driver.tls_files import Tls

ROUNDS, TRIPS, LARGE_TRIPS, DIALS = 5, 300, 10, 20
SMALL, LARGE = bytes(20), bytes(1_000_000)


def contexts() -> tuple[Tls, Tls]:
    """Of the end that listens and the end that dials, which check each other."""
    authority = trustme.CA()
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context, name in ((listening, "127.0.0.1"), (dialling, "host-1")):
        authority.issue_cert(name).configure_cert(context)
        authority.configure_trust(context)
    listening.verify_mode = ssl.CERT_REQUIRED
    return listening, dialling


async def echo(connection: HsmsConnection) -> None:
    async for primary in connection:
        await connection.reply(primary, Message(7, 4, body=primary.body))


async def trips(connection: HsmsConnection, body: bytes, count: int) -> float:
    """The median round trip, in seconds."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        await connection.request(Message(7, 3, wait=True, body=body))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def measure(tls: tuple[Tls, Tls] | None) -> dict[str, float]:
    """One round, in milliseconds."""
    listening, dialling = tls or (None, None)
    async with trio.open_nursery() as nursery:
        serve = partial(serve_hsms, echo, "127.0.0.1", 0, tls=listening)
        server: HsmsServer = await nursery.start(serve)
        selected = []
        for _ in range(DIALS):
            began = time.perf_counter()
            async with open_hsms("127.0.0.1", server.port, tls=dialling):
                selected.append(time.perf_counter() - began)
        async with open_hsms("127.0.0.1", server.port, tls=dialling) as connection:
            await trips(connection, SMALL, 50)
            small = await trips(connection, SMALL, TRIPS)
            large = await trips(connection, LARGE, LARGE_TRIPS)
        nursery.cancel_scope.cancel()
    found = {"until selected": statistics.median(selected), "20 B echo": small, "1 MB echo": large}
    return {name: seconds * 1_000 for name, seconds in found.items()}


async def main(rounds: int) -> None:
    tls = contexts()
    plain, secured = [], []
    for _ in range(rounds):
        plain.append(await measure(None))
        secured.append(await measure(tls))
    print("median, ms        without TLS   with TLS")
    for name in plain[0]:
        without, within = (statistics.median(each[name] for each in of) for of in (plain, secured))
        print(f"{name:16} {without:12.2f} {within:10.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    trio.run(main, parser.parse_args().rounds)
