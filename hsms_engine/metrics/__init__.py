"""Metrics for Prometheus, of links, connections and servers. It needs the extra ``metrics``.

``Collector`` counts in the thread of each event loop, and is read from any other. It sees, and
decides nothing. Nobody else imports this package, so who has no collector pays nothing.
"""

try:
    from hsms_engine.metrics.collector import Collector
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "prometheus_client":
        raise
    raise ModuleNotFoundError(
        "hsms_engine.metrics needs prometheus_client, which is not installed: in the folder of the "
        'source, pip install ".[metrics]"',
        name=error.name,
    ) from None

__all__ = ["Collector"]
