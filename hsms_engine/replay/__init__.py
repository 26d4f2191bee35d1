"""One side of a recording, played against a live endpoint: it sends, waits, and compares.

::

    conversation = await open_conversation("tool-7.jsonl", "host")
    await replay(conversation, dialling(conversation.settings(host="10.1.2.3", port=5000)))

It sends what that side has sent, in its order, and waits for what the other side had said before.
Raises ``ReplayError`` for the first difference. ``serve_replay`` is the side that listens, for
tests; ``replay_in_thread`` runs it beside plain and asyncio tests. The page ``docs/replay.md`` says
what is played and what is compared.
"""

from hsms_engine.replay.comparing import Ignored
from hsms_engine.replay.conversation import (
    Conversation,
    Role,
    Said,
    Separated,
    Turn,
    UnplayableError,
    open_conversation,
)
from hsms_engine.replay.errors import ReplayError
from hsms_engine.replay.player import Connect, Connected, Told, dialling, replay
from hsms_engine.replay.serving import Replayed, serve_replay
from hsms_engine.replay.threaded import ThreadedReplay, replay_in_thread

__all__ = [
    "Connect",
    "Connected",
    "Conversation",
    "Ignored",
    "ReplayError",
    "Replayed",
    "Role",
    "Said",
    "Separated",
    "ThreadedReplay",
    "Told",
    "Turn",
    "UnplayableError",
    "dialling",
    "open_conversation",
    "replay",
    "replay_in_thread",
    "serve_replay",
]
