"""The API for asyncio.

Its names, errors and guarantees are those of ``hsms_engine``, and what is a coroutine there is one
here. ``enable``, ``configure`` and the like act a moment later; to know that it was done, or to get
its error, await what they return. ``save`` is a coroutine.
Cancelling a task, ``asyncio.timeout`` and Ctrl-C abandon this one call; the connection stays.

Everything runs in one trio thread behind the program, so a link answers its peer also while the
event loop is blocked. A block ends with its event loop.
"""

from hsms_engine.aio.breaker import CircuitBreaker
from hsms_engine.aio.connection import HsmsConnection, open_hsms
from hsms_engine.aio.events import EventReader
from hsms_engine.aio.health import serve_health
from hsms_engine.aio.link import HsmsLink, open_link
from hsms_engine.aio.monitor import serve_monitor
from hsms_engine.aio.server import HsmsServer, serve_hsms

__all__ = [
    "CircuitBreaker",
    "EventReader",
    "HsmsConnection",
    "HsmsLink",
    "HsmsServer",
    "open_hsms",
    "open_link",
    "serve_health",
    "serve_monitor",
    "serve_hsms",
]
