"""The driver: runs a protocol engine with trio, over sockets or any other byte stream."""
