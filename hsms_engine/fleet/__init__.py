"""Many tools and several processes: each tool has one owner, and all of them can be asked."""

from hsms_engine.fleet.asking import FleetClient, open_fleet_client
from hsms_engine.fleet.fleet import (
    Fleet,
    FleetEvent,
    FleetPrimary,
    FleetTool,
    ShareChanged,
    ToolHappened,
    open_fleet,
)
from hsms_engine.fleet.reader import (
    FleetStream,
    Gap,
    Published,
    PublishedEvent,
    Unreadable,
    fleet_stream,
)
from hsms_engine.fleet.store import FleetStore
from hsms_engine.fleet.streams import (
    Attendance,
    Entry,
    Member,
    MemoryStreams,
    NewEntry,
    Streams,
)
from hsms_engine.fleet.tools import Tools

__all__ = [
    "Attendance",
    "Entry",
    "Fleet",
    "FleetClient",
    "FleetEvent",
    "FleetPrimary",
    "FleetStore",
    "FleetStream",
    "FleetTool",
    "Gap",
    "Member",
    "MemoryStreams",
    "NewEntry",
    "Published",
    "PublishedEvent",
    "ShareChanged",
    "Streams",
    "ToolHappened",
    "Tools",
    "Unreadable",
    "fleet_stream",
    "open_fleet",
    "open_fleet_client",
]
