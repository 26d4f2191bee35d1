"""What goes over the wire and what the charts do, written to logs. It sees, and decides nothing.

``write_logs`` writes what a driver tells to the loggers ``hsms_engine.traffic`` (messages),
``hsms_engine.link`` (the life of a link) and ``hsms_engine.charts`` (steps).
"""

from hsms_engine.traffic.logs import write_logs

__all__ = ["write_logs"]
