"""Charts in other people's languages, and what those people's programs say about them.

``xstate`` writes a chart for XState v5 and Stately's tools, ``promela`` a chart or a system for
Spin: interpreters written by others that read the same declaration and can be asked for theirs.
"""

from .promela import to_promela
from .xstate import machine_config, to_json

__all__ = ["machine_config", "to_promela", "to_json"]
