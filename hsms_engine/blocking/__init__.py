"""The API for programs without an event loop: scripts, threads, GUIs.

Its names, errors and guarantees are those of ``hsms_engine``. What is a coroutine there is a plain
call here, ``async with`` is ``with`` and ``async for`` is ``for``; ``aclose`` is ``close``. Every
call that waits takes ``timeout`` in seconds, and raises ``TimeoutError`` when it is over. A timeout
or Ctrl-C abandons this one call; the connection stays.

Everything runs in one trio thread behind the program, so a link answers its peer also while the
program is busy. Any number of threads may use the same connection or link.
"""

from hsms_engine.blocking.breaker import CircuitBreaker
from hsms_engine.blocking.connection import HsmsConnection, open_hsms
from hsms_engine.blocking.events import EventReader
from hsms_engine.blocking.health import serve_health
from hsms_engine.blocking.link import HsmsLink, open_link
from hsms_engine.blocking.monitor import serve_monitor
from hsms_engine.blocking.server import HsmsServer, serve_hsms

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
