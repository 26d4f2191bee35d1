"""What each side answers when its user has not said how.

A host acknowledges what an equipment tells it. All that would have to be carried out is aborted
with SxF0.
"""

from __future__ import annotations

from typing import Final

from hsms_engine.answers import AnswerBook
from hsms_engine.message import Message

HOST: Final = AnswerBook.parse(
    "S1F2 <L> . S1F14 <L <B 0> <L>> . S5F2 <B 0> . S6F2 <B 0> . S6F12 <B 0> . S10F2 <B 0> ."
)
EQUIPMENT: Final = AnswerBook.parse(
    'S1F2 <L <A "hsms-engine"> <A "1.0">> . S1F14 <L <B 0> <L <A "hsms-engine"> <A "1.0">>> .'
)


def answer(book: AnswerBook, primary: Message) -> Message | None:
    """The reply to a primary; None when it wants none."""
    if not primary.wait:
        return None
    return book.answer(primary) or Message(primary.stream, 0)
