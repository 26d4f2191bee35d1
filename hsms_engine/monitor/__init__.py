"""A page that shows what links do, live and in recordings: ``serve_monitor``.

With a link, or a server, and a nursery of trio::

    from hsms_engine.monitor import serve_monitor

    shown = await nursery.start(serve_monitor, [link, server, "yesterday.jsonl"])
    print(shown.link)  # open it in a browser

docs/monitor.md explains the page, and who may see it. It needs the extra ``monitor``.
"""

from __future__ import annotations

try:
    from hsms_engine.monitor.serve import MonitorServer, Watched, serve_monitor
except ModuleNotFoundError as error:
    if error.name != "h11":
        raise
    raise ModuleNotFoundError(
        "hsms_engine.monitor needs h11, which is not installed: in the folder of the source, "
        'pip install ".[monitor]"',
        name=error.name,
    ) from None

__all__ = ["MonitorServer", "Watched", "serve_monitor"]
