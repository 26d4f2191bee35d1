"""Which secondaries answer a request, and what has to be tolerated for that."""

from __future__ import annotations

from hsms_engine.settings import Settings
from hsms_engine.tolerances import OTHER_FUNCTION, SYSTEM_BYTES_ALONE, W_IN_REPLY, Tolerance
from hsms_engine.wire import Frame


def deviations(
    frame: Frame, stream: int, function: int, settings: Settings
) -> tuple[Tolerance, ...] | None:
    """How a secondary deviates from the reply to S``stream``F``function``, or from its abort.

    It has the system bytes of that request. None when it does not answer it.
    """
    found: tuple[Tolerance, ...] = ()
    if frame.wait:
        if not settings.tolerate_w_in_reply:
            return None
        found = (W_IN_REPLY,)
    same_stream = frame.stream == stream
    if frame.function == 0 or (same_stream and frame.function == function + 1):
        return found
    if same_stream and settings.tolerate_other_function:
        return (*found, OTHER_FUNCTION)
    if settings.tolerate_system_bytes_alone:
        return (*found, SYSTEM_BYTES_ALONE)
    return None
