"""What lives as long as an error: nothing of the engine, no call in which it was raised."""

from __future__ import annotations

import gc
import types

from hsms_engine.driver.driver import Driver
from hsms_engine.driver.tcp import DirectStream
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.epoch import Epoch

_HELD = (types.FrameType, types.TracebackType, Engine, Driver, Epoch, DirectStream)


def held_by(error: BaseException) -> list[str]:
    """What of the engine, and of the calls in which it raised, lives as long as ``error``."""
    found, seen, ahead = [], {id(error)}, [error]
    while ahead:
        for each in gc.get_referents(ahead.pop()):
            if id(each) in seen or isinstance(each, type | types.ModuleType | types.FunctionType):
                continue
            seen.add(id(each))
            if isinstance(each, _HELD):
                found.append(repr(each))
            else:
                ahead.append(each)
    return found
