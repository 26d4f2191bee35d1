"""HSMS (SEMI E37) connections whose lifecycle is a statechart: run, drawn, proved from one source.

``open_hsms`` dials one connection, ``open_link`` keeps one for months, ``serve_hsms`` listens.
Reading order for the code: ``statecharts/hsms/rules.txt`` (every rule), then ``connected.py``,
``active.py`` and ``passive.py`` beside it (the charts), ``protocol/engine.py`` (charts and messages
without I/O), ``driver/driver.py`` (trio), ``messaging.py`` (what a user calls).
"""

# First, so that it acts during the imports below.
from hsms_engine import interrupt  # noqa: F401

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING

from hsms_engine import events
from hsms_engine.connection import HsmsConnection, open_hsms
from hsms_engine.driver.tls import PeerCertificate
from hsms_engine.driver.tls_files import TlsFiles
from hsms_engine.errors import (
    AbortedError,
    AttemptPhase,
    CircuitOpenError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    DefectError,
    HsmsError,
    LeaseError,
    LeaseSetupError,
    LinkDownError,
    LocalProtocolError,
    NotTaken,
    OwnerUnknownError,
    RejectedError,
    RemoteProtocolError,
    ReplyTimeoutError,
    RestoreError,
    SelectRefusedError,
    SettingsError,
    StreamNineError,
    TransactionError,
    WrongLoopError,
)
from hsms_engine.message import Message
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.leasing import Ownership
from hsms_engine.protocol.phases import Phase
from hsms_engine.protocol.statistics import Statistics
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.protocol.transfers import Transfer, Transfers
from hsms_engine.settings import Settings, SettingsChanges

if TYPE_CHECKING:
    from hsms_engine import bounds as bounds
    from hsms_engine import breaker as breaker
    from hsms_engine import health as health
    from hsms_engine import link as link
    from hsms_engine import log_reader as log_reader
    from hsms_engine import secs2 as secs2
    from hsms_engine import server as server
    from hsms_engine import server_statistics as server_statistics
    from hsms_engine import sml as sml
    from hsms_engine.breaker import CircuitBreaker
    from hsms_engine.health import Health, ServerHealth, serve_health
    from hsms_engine.link import HsmsLink, open_link
    from hsms_engine.log_reader import read_log
    from hsms_engine.server import HsmsServer, serve_hsms
    from hsms_engine.server_statistics import ServerStatistics
else:
    # What one connection does without: modules, and names of a module, imported when first named.
    _LATE = {
        "CircuitBreaker": "breaker",
        "Health": "health",
        "HsmsLink": "link",
        "HsmsServer": "server",
        "ServerHealth": "health",
        "ServerStatistics": "server_statistics",
        "open_link": "link",
        "read_log": "log_reader",
        "serve_health": "health",
        "serve_hsms": "server",
    }
    _MODULES = {"bounds", "secs2", "sml", *_LATE.values()}

    # A type checker that saw it would take any name for one of the package.
    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found: object = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
        # So that this is asked once for each name.
        globals()[name] = found
        return found


__version__ = "0.1.0"

__all__ = [
    "AbortedError",
    "AttemptPhase",
    "CircuitBreaker",
    "CircuitOpenError",
    "ClosedError",
    "ConnectError",
    "ConnectionLostError",
    "DefectError",
    "Health",
    "HsmsConnection",
    "HsmsError",
    "HsmsLink",
    "HsmsServer",
    "LeaseError",
    "LeaseSetupError",
    "LinkDownError",
    "LocalProtocolError",
    "OwnerUnknownError",
    "Message",
    "NotTaken",
    "PeerCertificate",
    "Ownership",
    "Phase",
    "Primary",
    "RejectedError",
    "RemoteProtocolError",
    "ReplyTimeoutError",
    "RestoreError",
    "SelectRefusedError",
    "ServerHealth",
    "ServerStatistics",
    "Settings",
    "SettingsChanges",
    "SettingsError",
    "Statistics",
    "StreamNineError",
    "TlsFiles",
    "Traffic",
    "TransactionError",
    "Transfer",
    "Transfers",
    "WrongLoopError",
    "__version__",
    "events",
    "open_hsms",
    "open_link",
    "read_log",
    "serve_health",
    "serve_hsms",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
