"""A tool's model: what it has, and what it has now. Nothing here knows a connection or a clock.

``declared`` is what it has, ``reading`` reads that, ``live`` is what it has now, ``replies`` has
those to a host. The answers to the messages of a stream are in the module of that stream.
"""

from hsms_engine.fake.model.changes import (
    Change,
    IllegalData,
    Trace,
    TraceBegun,
    TraceOver,
    VariableChanged,
)
from hsms_engine.fake.model.declared import (
    Alarm,
    Command,
    Event,
    FormatError,
    Model,
    ModelError,
    Parameter,
    Program,
    RangeError,
    Report,
    Variable,
)
from hsms_engine.fake.model.ids import Id, parse_id
from hsms_engine.fake.model.live import Clock, LiveModel
from hsms_engine.fake.model.replies import Replies

__all__ = [
    "Alarm",
    "Change",
    "Clock",
    "Command",
    "Event",
    "FormatError",
    "Id",
    "IllegalData",
    "LiveModel",
    "Model",
    "ModelError",
    "Parameter",
    "Program",
    "RangeError",
    "Replies",
    "Report",
    "Trace",
    "TraceBegun",
    "TraceOver",
    "Variable",
    "VariableChanged",
    "parse_id",
]
