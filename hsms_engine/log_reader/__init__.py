"""Messages out of logs: of this package, and of the engines, drivers and viewers of the trade.

::

    for each in read_log("tool.log"):
        match each:
            case LoggedMessage(time, direction, message, line):
                ...
            case NotUnderstood(line, column, text, why):
                ...

The page ``docs/logs.md`` has a table of what is read. ``reader`` finds what belongs together,
``stamps``, ``facts``, ``dumps`` and ``statement`` read its pieces, ``own`` reads the log of this
package, ``lines`` makes lines of any bytes.
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
