"""The protocol without I/O: bytes, reports and time go in; bytes, wishes and events come out."""
