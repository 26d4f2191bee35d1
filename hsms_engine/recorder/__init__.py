"""Records links and servers into a file: every frame, every step, every event.

``open_link(..., record="tool-7.jsonl")`` records one link. A ``Recorder`` can be shared::

    recorder = Recorder("all.jsonl", parts=4, mask=lambda message: None)
    recorder.add(link)
    recorder.add(server)
    ...
    recorder.close()

``hsms_engine.recording`` reads what is written. docs/recorder.md explains all of it.
"""

from __future__ import annotations

from hsms_engine.recorder.recorder import Observable, Recorder, RecordTo
from hsms_engine.recorder.tap import Mask

__all__ = ["Mask", "Observable", "RecordTo", "Recorder"]
