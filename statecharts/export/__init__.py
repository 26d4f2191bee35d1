"""Charts in other people's languages, and what those people's programs say about them.

``xstate`` writes a chart for XState v5 and Stately's tools, ``promela`` a chart or a system for
Spin. ``agreement`` runs the real programs over all that can be reached and compares every answer
with ours: two interpreters written by others read the same declaration and must find the same.
"""

from .promela import to_promela
from .xstate import machine_config, to_json

__all__ = ["machine_config", "to_promela", "to_json"]
