"""What ``connect`` and ``listen`` do with a selected connection: send what is given, answer the
rest."""

from __future__ import annotations

from hsms_engine.answers import AnswerBook
from hsms_engine.cli.telling import Teller
from hsms_engine.connection import HsmsConnection
from hsms_engine.message import Message
from hsms_engine.scenario import courtesy


async def send_one(connection: HsmsConnection, message: Message, teller: Teller) -> Message | None:
    """Send a primary, and tell of it and of its reply, which is returned; None without W.

    Raises like ``HsmsConnection.request``.
    """
    if not message.wait:
        await connection.send(message)
        teller.happened("sent", connection.peer, message)
        return None
    reply = await connection.request(message)
    teller.happened("reply", connection.peer, reply)
    return reply


async def take_primaries(connection: HsmsConnection, book: AnswerBook, teller: Teller) -> None:
    """Tell of the primaries of the peer, and answer them. Raises the error of the connection."""
    async for primary in connection:
        teller.happened("received", connection.peer, primary)
        if (answer := courtesy.answer(book, primary)) is not None:
            await connection.reply(primary, answer)
