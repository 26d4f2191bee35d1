"""Whether links are ready, and why not: for programs, and for what looks after programs.

``HsmsLink.health`` and ``HsmsServer.health`` say it inside the program. ``serve_health`` opens, on
request, a port of this machine or a Unix socket that tells it to whoever asks (``ask_health``,
``hsms-engine health``). Who asks, asks the program that owns the links: nobody dials a tool, whose
only session that would take.
"""

from hsms_engine.health.ask import Answer, Told, ask_health
from hsms_engine.health.records import Health, ServerHealth
from hsms_engine.health.serve import HealthServer, serve_health

__all__ = [
    "Answer",
    "Health",
    "HealthServer",
    "ServerHealth",
    "Told",
    "ask_health",
    "serve_health",
]
