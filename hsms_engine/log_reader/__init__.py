"""Messages out of logs: of this package, and of the engines, drivers and viewers of the trade.

::

    for each in read_log("tool.log"):
        match each:
            case LoggedMessage(time, direction, message, line):
                ...
            case NotUnderstood(line, column, text, why):
                ...

The page ``docs/logs.md`` has a table of what is read. ``reader`` is the door. ``lines`` makes lines
of any bytes, ``scanner`` finds what each line is, ``open_message`` has what was begun, and
``collector`` has what was found. ``headers``, ``items``, ``statement``, ``dumps``, ``records``,
``stamps`` and ``facts`` know one piece of a message each, ``own`` the log of this package.
"""

from hsms_engine.log_reader.entries import (
    CutMessage,
    Entry,
    LogDirection,
    LoggedControl,
    LoggedMessage,
    LogTime,
    NotUnderstood,
)
from hsms_engine.log_reader.reader import LogReader, read_log

__all__ = [
    "CutMessage",
    "Entry",
    "LogDirection",
    "LogReader",
    "LogTime",
    "LoggedControl",
    "LoggedMessage",
    "NotUnderstood",
    "read_log",
]
