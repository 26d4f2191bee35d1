"""The protocol without I/O: an ``Engine``, and everything that ``next_output`` can give."""

from hsms_engine.protocol.control import ControlTransaction
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.leasing import LeaseTimes, Ownership
from hsms_engine.protocol.outputs import Output, Step
from hsms_engine.protocol.owned import OwnedEngine
from hsms_engine.protocol.saving import Kept
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.protocol.transfers import Transfer, Transfers
from statecharts.hsms import ACTIVE_LINK, OWNED_LINK, PASSIVE_LINK
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    AskStore,
    CloseTcp,
    ContestSession,
    FinishTcp,
    OpenTcp,
    ReleaseLease,
    ResetTcp,
    StopAsking,
    StoreCall,
)

__all__ = [
    "ACTIVE_LINK",
    "OWNED_LINK",
    "PASSIVE_LINK",
    "AbandonTcp",
    "AskStore",
    "CloseTcp",
    "ContestSession",
    "ControlTransaction",
    "Engine",
    "Entity",
    "FinishTcp",
    "Kept",
    "LeaseTimes",
    "OpenTcp",
    "Output",
    "OwnedEngine",
    "Ownership",
    "Primary",
    "ReleaseLease",
    "ResetTcp",
    "Step",
    "StopAsking",
    "StoreCall",
    "Traffic",
    "Transaction",
    "Transfer",
    "Transfers",
]
