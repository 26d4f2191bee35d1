"""How much memory this process has had."""

from __future__ import annotations

import sys


def peak_megabytes() -> int:
    """The most memory that this process has had, in MiB; 0 on Windows, which Python cannot ask."""
    if sys.platform == "win32":
        return 0
    else:
        import resource

        # macOS counts in bytes, others in KiB.
        unit = 1024 * 1024 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
