"""Records links and servers into a file: every frame, every step, every event.

``open_link(..., record="tool-7.jsonl")`` records one link. A ``Recorder`` can be shared::

    recorder = Recorder("all.jsonl", parts=4, mask=lambda message: None)
    recorder.add(link)
    recorder.add(server)
    ...
    recorder.close()

A ``BlackBox`` keeps the last seconds of each link in memory, and writes them when a link is lost.

``hsms_engine.recording`` reads what is written. docs/recorder.md explains all of it.
"""

from __future__ import annotations

from hsms_engine.recorder.black_box import BlackBox, BlackBoxIn
from hsms_engine.recorder.observed import Follower, Observable
from hsms_engine.recorder.recorder import OneRecord, Recorder, RecordTo
from hsms_engine.recorder.tap import Mask

__all__ = [
    "BlackBox",
    "BlackBoxIn",
    "Follower",
    "Mask",
    "Observable",
    "OneRecord",
    "RecordTo",
    "Recorder",
]
